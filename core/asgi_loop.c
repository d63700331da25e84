/* How an app's event loop sleeps. Our own asyncio loop sleeps in app.select(): on a futex, or, once
 * the app has files to watch, in poll() on an eventfd and on the files' epoll. A foreign loop
 * (uvloop) watches the eventfd itself. In a worker process, Caddy wakes every loop by the eventfd.
 */
#include "asgi.h"
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Bits of app->signal: how the loop sleeps, and LOOP_* reasons for waking it. */
enum { ASLEEP = 1, POLLING = 2, FOR_A_REASON = LOOP_TURN | LOOP_CALLED };

void asgi_loop_signal(snake_generation *app, uint32_t reason) {
    uint32_t before = __atomic_fetch_or(&app->signal, reason, __ATOMIC_SEQ_CST);
    if (before & FOR_A_REASON)
        return; /* already woken; the loop reads the reasons before it sleeps again */
    if (before & ASLEEP)
        futex_wake(&app->signal, 1);
    else if (before & POLLING)
        write_eventfd(app->efd);
}

static void read_eventfd(snake_generation *app) {
    uint64_t value;
    while (read(app->efd, &value, sizeof value) < 0 && errno == EINTR)
        ;
}

static int open_eventfd(snake_generation *app) {
    if (app->efd < 0)
        app->efd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (app->efd >= 0)
        return 0;
    PyErr_SetFromErrno(PyExc_OSError);
    return -1;
}

int asgi_loop_watch(snake_generation *app) {
    bool first = app->efd < 0;
    if (open_eventfd(app) < 0)
        return -1;
    if (first)
        __atomic_store_n(&app->signal, POLLING, __ATOMIC_SEQ_CST);
    return app->efd;
}

void asgi_loop_wakes(snake_generation *app) {
    read_eventfd(app);
    __atomic_store_n(&app->signal, POLLING, __ATOMIC_SEQ_CST);
}

/* ---- our own loop */

/* Sleeps until the loop is signalled or the timeout expires (µs; 0: none). files: an epoll's
 * descriptor or -1. Returns true if files may have events. Without the GIL. */
static bool sleep_on(snake_generation *app, uint64_t timeout, int files) {
    uint32_t none = 0;
    if (!__atomic_compare_exchange_n(&app->signal, &none, files < 0 ? ASLEEP : POLLING, false,
                                     __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
        return files >= 0;
    if (files < 0) {
        futex_wait(&app->signal, ASLEEP, timeout);
        return false;
    }
    struct pollfd watched[] = {{.fd = app->efd, .events = POLLIN}, {.fd = files, .events = POLLIN}};
    struct timespec t = {(time_t)(timeout / 1000000), (long)(timeout % 1000000) * 1000};
    int count = ppoll(watched, 2, timeout ? &t : NULL, NULL);
    if (count > 0 && watched[0].revents)
        read_eventfd(app);
    return count > 0 && watched[1].revents;
}

enum { FOREVER = 0 };

/* Sets *us to the time to sleep, or *now. Rounds up, so that the loop does not check a timer before
 * it is due. */
static int parse_timeout(PyObject *timeout, uint64_t *us, bool *now) {
    double seconds = timeout == Py_None ? 0 : PyFloat_AsDouble(timeout);
    if (seconds == -1.0 && PyErr_Occurred())
        return -1;
    *now = timeout != Py_None && seconds <= 0;
    *us = timeout == Py_None || *now ? FOREVER : (uint64_t)(seconds * 1e6) + 1;
    return 0;
}

bool asgi_loop_may_sleep(snake_generation *app, PyObject *timeout, int files,
                         asgi_loop_sleep *sleep, bool *failed) {
    bool now;
    *failed = parse_timeout(timeout, &sleep->timeout_us, &now) < 0 ||
              (files >= 0 && open_eventfd(app) < 0);
    if (*failed)
        return false;
    sleep->files = files;
    sleep->ready = files >= 0;
    sleep->reasons = __atomic_exchange_n(&app->signal, 0, __ATOMIC_SEQ_CST);
    return !sleep->reasons && !now;
}

void asgi_loop_sleep_now(snake_generation *app, asgi_loop_sleep *sleep) {
    sleep->ready = sleep_on(app, sleep->timeout_us, sleep->files);
    sleep->reasons = __atomic_exchange_n(&app->signal, 0, __ATOMIC_SEQ_CST);
}

PyObject *asgi_loop_awake(const asgi_loop_sleep *sleep) {
    return PyLong_FromLong((sleep->reasons & LOOP_TURN ? LOOP_TURN : 0) |
                           (sleep->ready ? LOOP_FILES : 0));
}
