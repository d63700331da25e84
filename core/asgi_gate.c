/* The gate in front of the event loops: which app's loop is woken for requests.
 *
 * A loop that wakes while another loop runs Python contends for the GIL, which costs both more than
 * most requests. Therefore one app at a time holds the gate, from the wakeup of its loop until the
 * end of its round; other apps with requests wait in order of arrival. The monitor passes the gate
 * on when its holder is stuck. A loop that was stuck bypasses the gate until one of its rounds is
 * short again: loops that block gain nothing from waiting for each other.
 *
 * Timers and sockets wake loops without the gate. */
#include "asgi.h"
#include <pthread.h>

enum { GATE_STUCK_US = 1000 };

/* Guarded by the mutex; first is also read without it. */
static struct {
    pthread_mutex_t mutex;
    snake_generation *holder;
    uint64_t since;                 /* time of the holder's wakeup */
    snake_generation *first, *last; /* waiting apps */
} gate = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void gate_lock(void) { pthread_mutex_lock(&gate.mutex); }
static void gate_unlock(void) { pthread_mutex_unlock(&gate.mutex); }

static void append(snake_generation *app) {
    app->gate_next = NULL;
    if (gate.last)
        gate.last->gate_next = app;
    else
        __atomic_store_n(&gate.first, app, __ATOMIC_SEQ_CST);
    gate.last = app;
}

/* Makes the next app the holder. Wakes its loop with the mutex held, so that the app is not freed
 * meanwhile. */
static void pass_on(uint64_t now) {
    snake_generation *app = gate.first;
    gate.holder = app;
    gate.since = now;
    if (!app)
        return;
    __atomic_store_n(&gate.first, app->gate_next, __ATOMIC_SEQ_CST);
    if (!gate.first)
        gate.last = NULL;
    asgi_loop_signal(app, LOOP_TURN);
}

bool asgi_gate_is_crowded(void) { return __atomic_load_n(&gate.first, __ATOMIC_SEQ_CST) != NULL; }

void asgi_gate_enter(snake_generation *app) {
    bool at_once = true;
    gate_lock();
    if (!app->gate_stuck) {
        if (gate.holder) {
            append(app);
            at_once = false;
        } else {
            gate.holder = app;
            gate.since = now_us();
        }
    }
    gate_unlock();
    if (at_once)
        asgi_loop_signal(app, LOOP_TURN);
    else
        monitor_wake();
}

void asgi_gate_leave(snake_generation *app, uint64_t round_began) {
    uint64_t now = now_us();
    gate_lock();
    if (now < round_began + GATE_STUCK_US)
        app->gate_stuck = false;
    if (gate.holder == app)
        pass_on(now);
    gate_unlock();
}

void asgi_gate_forget(snake_generation *app) {
    gate_lock();
    for (snake_generation **link = &gate.first, *before = NULL; *link;
         before = *link, link = &before->gate_next) {
        if (*link != app)
            continue;
        __atomic_store_n(link, app->gate_next, __ATOMIC_SEQ_CST);
        if (gate.last == app)
            gate.last = before;
        break;
    }
    if (gate.holder == app)
        pass_on(now_us());
    gate_unlock();
}

bool asgi_gate_watch(uint64_t now) {
    if (!asgi_gate_is_crowded())
        return false;
    gate_lock();
    if (gate.first && now > gate.since + GATE_STUCK_US) {
        gate.holder->gate_stuck = true;
        pass_on(now);
    }
    gate_unlock();
    return true;
}
