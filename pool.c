/* The WSGI threads: one pool for all apps.
 *
 * Exactly one thread at a time has the hot role and takes requests. When its
 * request is older than STUCK_US and others wait, the monitor passes the role
 * to an idle thread; a thread that comes back takes it again only when the
 * holder is stuck. CPU-bound apps therefore run on one thread without fighting
 * for the GIL, sleeping ones on many (docs/decisions/0003).
 *
 * One idle thread is kept as a spare, so that passing the role never needs the
 * GIL: whoever becomes hot and leaves no idle thread starts the next spare, unless
 * one is on its way. */
#include "core.h"
#include <pthread.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { STUCK_US = 1000, BACK_US = 200, BATCH = 16 };
static const uint64_t IDLE_US = 30 * 1000000;

typedef struct worker {
    struct worker *next; /* among the idle ones */
    uint32_t signal;     /* [atomic] futex: 1 when the worker got the hot role */
    header_cache *cache;
    /* For the watchdog, touched with the GIL. */
    struct worker *newer, *older; /* among all workers */
    unsigned long thread;
    uint64_t serial, since; /* of the request; since is 0 while there is none */
    snake_slot *slot;
    uint32_t app;
    bool interrupted;
} worker;

/* Owned by the mutex, except hot and hot_since, which the lock-free fast paths read. */
static struct {
    pthread_mutex_t mutex;
    queue queue;
    worker *hot;        /* [atomic] NULL: everybody is idle */
    uint64_t hot_since; /* [atomic] when it took what it runs now */
    worker *idle;       /* last in, first out */
    uint32_t idle_count;
    uint32_t thread_count; /* beside the first, which the bridge starts */
    uint32_t thread_limit;
    bool starting;  /* a spare is on its way: it may take long to get the GIL */
    worker *newest; /* of all; touched with the GIL, like the next one */
    uint64_t last_serial;
} pool = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void lock(void) { pthread_mutex_lock(&pool.mutex); }
static void unlock(void) { pthread_mutex_unlock(&pool.mutex); }

static void set_hot(worker *w) {
    __atomic_store_n(&pool.hot_since, now_us(), __ATOMIC_RELAXED);
    __atomic_store_n(&pool.hot, w, __ATOMIC_SEQ_CST);
}

/* Gives the role to an idle thread if from still holds it. */
static void pass_role(worker *from) {
    lock();
    worker *w = __atomic_load_n(&pool.hot, __ATOMIC_SEQ_CST) == from ? pool.idle : NULL;
    if (w) {
        pool.idle = w->next;
        pool.idle_count--;
        set_hot(w);
    }
    unlock();
    if (w) {
        __atomic_store_n(&w->signal, 1, __ATOMIC_RELEASE);
        futex_wake(&w->signal, 1);
    }
}

void pool_push(snake_slot *slot) {
    queue_push(&pool.queue, slot);
    if (!__atomic_load_n(&pool.hot, __ATOMIC_SEQ_CST))
        pass_role(NULL);
    else
        monitor_wake(); /* the holder may be stuck */
}

static bool has_work(void) { return !queue_is_empty(&pool.queue); }

void pool_announce(void) {
    if (has_work())
        ring_later();
    else
        ring_now();
}

bool pool_watch(uint64_t now) {
    if (!has_work())
        return false;
    worker *hot = __atomic_load_n(&pool.hot, __ATOMIC_SEQ_CST);
    if (hot && now > __atomic_load_n(&pool.hot_since, __ATOMIC_RELAXED) + STUCK_US)
        pass_role(hot);
    return true;
}

/* ---- limits per app; all with the mutex */

static void defer_request(snake_app *app, snake_slot *slot) {
    slot->queue_next = NULL;
    if (app->deferred_last)
        app->deferred_last->queue_next = slot;
    else
        app->deferred_first = slot;
    app->deferred_last = slot;
}

/* A request of app has ended: its oldest deferred one is next in the queue. */
static void end_request(snake_app *app) {
    app->running--;
    snake_slot *slot = app->deferred_first;
    if (!slot)
        return;
    app->deferred_first = slot->queue_next;
    if (!app->deferred_first)
        app->deferred_last = NULL;
    slot->queue_next = pool.queue.pending;
    pool.queue.pending = slot;
}

static snake_slot *take_request(void) {
    snake_slot *slot;
    while ((slot = queue_pop(&pool.queue))) {
        snake_app *app = slot->app;
        if (app->running < app->threads) {
            app->running++;
            return slot;
        }
        defer_request(app, slot);
    }
    return NULL;
}

void pool_add_app(snake_app *app, uint32_t threads) {
    lock();
    app->threads = threads;
    pool.thread_limit += threads;
    unlock();
}

void pool_remove_app(snake_app *app) {
    lock();
    pool.thread_limit -= app->threads;
    unlock();
}

/* ---- a worker's life */

/* Ends the request of finished (or NULL) and takes the next. NULL: the worker is parked on the
 * idle list and must wait for its signal. *spare: the worker must start the next spare, which is
 * counted already, because it leaves no idle thread. */
static snake_slot *next_request(worker *w, snake_app *finished, bool *spare) {
    snake_slot *slot = NULL;
    lock();
    if (finished)
        end_request(finished);
    worker *hot = __atomic_load_n(&pool.hot, __ATOMIC_SEQ_CST);
    if (hot != w && (!hot || (has_work() && now_us() > pool.hot_since + BACK_US))) {
        set_hot(w);
        hot = w;
    }
    while (hot == w) {
        slot = take_request();
        if (slot) {
            __atomic_store_n(&pool.hot_since, now_us(), __ATOMIC_RELAXED);
            break;
        }
        /* Whoever pushes after this sees that nobody is hot. */
        __atomic_store_n(&pool.hot, NULL, __ATOMIC_SEQ_CST);
        if (!has_work())
            break;
        set_hot(w);
    }
    if (!slot) {
        __atomic_store_n(&w->signal, 0, __ATOMIC_RELAXED);
        w->next = pool.idle;
        pool.idle = w;
        pool.idle_count++;
    }
    *spare = slot && !pool.idle && !pool.starting && pool.thread_count < pool.thread_limit;
    if (*spare) {
        pool.thread_count++;
        pool.starting = true;
    }
    unlock();
    if (finished)
        app_finished_one(finished); /* the app may be gone from here on */
    return slot;
}

/* False when the worker should end: it was idle for long and is not the only spare. */
static bool wait_for_role(worker *w) {
    while (!__atomic_load_n(&w->signal, __ATOMIC_ACQUIRE)) {
        uint64_t since = now_us();
        futex_wait(&w->signal, 0, IDLE_US);
        if (now_us() < since + IDLE_US)
            continue;
        bool retire = false;
        lock();
        if (!__atomic_load_n(&w->signal, __ATOMIC_ACQUIRE) && pool.idle_count > 2) {
            worker **link = &pool.idle;
            while (*link && *link != w)
                link = &(*link)->next;
            if (*link) { /* else the role is on its way */
                *link = w->next;
                pool.idle_count--;
                pool.thread_count--;
                retire = true;
            }
        }
        unlock();
        if (retire)
            return false;
    }
    return true;
}

/* The spare that next_request counted is there, or won't come. */
static void end_start(bool came) {
    lock();
    if (pool.starting && !came)
        pool.thread_count--;
    pool.starting = false;
    unlock();
}

/* Starts the spare that next_request counted. Needs the GIL. */
static void start_spare(core *st) {
    PyObject *started = PyObject_CallNoArgs(st->hooks[HOOK_WORKER]);
    if (!started) {
        end_start(false);
        report_exception(st, 0, "starting a WSGI thread", NULL, false);
    }
    Py_XDECREF(started);
}

/* ---- what the watchdog sees and does, with the GIL */

static void begin_watch(worker *w, snake_slot *slot) {
    w->serial = ++pool.last_serial;
    w->since = now_us();
    w->slot = slot;
    w->app = slot->app->id;
    slot->owner = w;
}

/* Go has answered the request itself. Its slot may serve another one already, if the app has
 * completed its response and is still in close(). */
static bool has_timed_out(const worker *w) {
    return w->slot->owner == w && slot_gone(w->slot) == SNAKE_TIMED_OUT;
}

static void end_watch(worker *w) {
    w->since = 0;
    w->slot = NULL;
    if (w->interrupted) { /* it must not hit the next request */
        PyThreadState_SetAsyncExc(w->thread, NULL);
        w->interrupted = false;
    }
}

/* wsgi_running() -> [(thread, app, serial, seconds, timed out)] */
PyObject *pool_running(PyObject *module, PyObject *ignored) {
    (void)module;
    (void)ignored;
    PyObject *list = PyList_New(0);
    uint64_t now = now_us();
    for (worker *w = pool.newest; list && w; w = w->older) {
        if (!w->since)
            continue;
        PyObject *entry =
            Py_BuildValue("kIKdO", w->thread, w->app, (unsigned long long)w->serial,
                          (double)(now - w->since) / 1e6, has_timed_out(w) ? Py_True : Py_False);
        if (!entry || PyList_Append(list, entry) < 0)
            Py_CLEAR(list);
        Py_XDECREF(entry);
    }
    return list;
}

/* wsgi_interrupt(thread, serial, exception) -> bool */
PyObject *pool_interrupt(PyObject *module, PyObject *args) {
    (void)module;
    unsigned long thread;
    unsigned long long serial;
    PyObject *exception;
    if (!PyArg_ParseTuple(args, "kKO:wsgi_interrupt", &thread, &serial, &exception))
        return NULL;
    worker *w = pool.newest;
    while (w && (w->thread != thread || w->serial != serial || !w->since || w->interrupted))
        w = w->older;
    if (!w)
        Py_RETURN_FALSE;
    w->interrupted = true;
    PyThreadState_SetAsyncExc(thread, exception);
    Py_RETURN_TRUE;
}

static worker *worker_new(core *st) {
    worker *w = calloc(1, sizeof *w);
    if (!w || !(w->cache = header_cache_new(st))) {
        free(w);
        return NULL;
    }
    w->thread = PyThread_get_thread_ident();
    w->older = pool.newest;
    if (w->older)
        w->older->newer = w;
    pool.newest = w;
    return w;
}

static void worker_free(core *st, worker *w) {
    if (w->newer)
        w->newer->older = w->older;
    else
        pool.newest = w->older;
    if (w->older)
        w->older->newer = w->newer;
    header_cache_free(st, w->cache);
    free(w);
}

/* wsgi_worker(): the body of a WSGI thread; the bridge starts it as a threading.Thread. */
PyObject *pool_worker(PyObject *module, PyObject *ignored) {
    (void)ignored;
    core *st = PyModule_GetState(module);
    worker *w = worker_new(st);
    end_start(w != NULL);
    if (!w)
        return PyErr_NoMemory();
    prctl(PR_SET_NAME, "wsgi");
    snake_app *finished = NULL;
    int listed = 0; /* answers that Go has not been told about */
    for (;;) {
        bool spare;
        snake_slot *slot = next_request(w, finished, &spare);
        if (slot) {
            if (spare)
                start_spare(st);
            finished = slot->app;
            begin_watch(w, slot);
            wsgi_run(st, w->cache, finished, slot);
            end_watch(w);
            if (++listed >= BATCH || !has_work()) {
                ring_now();
                listed = 0;
            } else {
                ring_later();
            }
            continue;
        }
        finished = NULL;
        if (listed) {
            ring_now();
            listed = 0;
        }
        bool stay;
        Py_BEGIN_ALLOW_THREADS;
        stay = wait_for_role(w);
        Py_END_ALLOW_THREADS;
        if (!stay)
            break;
    }
    worker_free(st, w);
    Py_RETURN_NONE;
}
