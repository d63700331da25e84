/* The WSGI threads: one pool for all apps.
 *
 * Exactly one thread at a time has the hot role and takes requests; without requests it sleeps with
 * the role, and each push wakes it. When its request is older than POOL_STUCK_US and other requests
 * wait, the monitor passes the role to an idle thread. A thread that finishes its request takes the
 * role back only when the holder is stuck. CPU-bound apps
 * therefore run on one thread without GIL contention, and sleeping apps on many threads
 * (docs/decisions/0003).
 *
 * One idle thread is kept as a spare, so that passing the role never needs the GIL. A thread that
 * becomes hot and leaves no idle thread requests the next spare, unless one is starting. A thread
 * of the bridge starts all pool threads, so that none inherits thread state that an app has
 * changed. */
#include "wsgi_pool.h"
#include <pthread.h>
#include <unistd.h>

enum { POOL_STUCK_US = 1000, BACK_US = 200 };
/* The time that a thread waits for its client before it gives up its place, and the time before it
 * retries. */
enum { PATIENCE_US = 2000, RETRY_US = 100000 };
/* The number of idle threads to keep, the time to keep them, and the time to keep surplus ones. */
enum { KEPT_IDLE = 32 };
static const uint64_t IDLE_US = 30 * 1000000, SURPLUS_US = 1000000;

static __thread wsgi_thread *current_thread_of_pool;

/* Guarded by the mutex, except hot and hot_since, which the lock-free fast paths read. */
static struct {
    pthread_mutex_t mutex;
    queue queue;
    uint32_t *armed;    /* [atomic] futex: 1 while the hot thread sleeps */
    uint32_t own_armed; /* armed, unless a segment has it */
    wsgi_thread *hot;   /* [atomic] NULL until an idle thread gets the role */
    uint64_t hot_since; /* [atomic] start time of the hot thread's request; 0: it has none */
    wsgi_thread *idle;  /* last in, first out */
    uint32_t idle_count;
    uint32_t thread_count;
    uint64_t thread_limit; /* maximum number of threads, without the spare */
    bool starting;         /* a spare is starting, which may take long without the GIL */
    uint32_t wanted;       /* [atomic] futex: 1 until the starter thread takes the request */
} pool = {.mutex = PTHREAD_MUTEX_INITIALIZER,
          .queue = {.incoming = &pool.queue.own},
          .armed = &pool.own_armed};

static void pool_lock(void) { pthread_mutex_lock(&pool.mutex); }
static void pool_unlock(void) { pthread_mutex_unlock(&pool.mutex); }

static void set_hot(wsgi_thread *w) {
    __atomic_store_n(&pool.hot_since, now_us(), __ATOMIC_RELAXED);
    __atomic_store_n(&pool.hot, w, __ATOMIC_SEQ_CST);
}

/* Passes the role to an idle thread if from still holds it, with the request that it has had since
 * this time: a holder that sleeps must keep it. Two sleepers would wait for one wake-up. False if
 * it can't. */
static bool pass_role(wsgi_thread *from, uint64_t since) {
    pool_lock();
    bool stays = __atomic_load_n(&pool.hot, __ATOMIC_SEQ_CST) == from &&
                 (!from || __atomic_load_n(&pool.hot_since, __ATOMIC_RELAXED) == since);
    wsgi_thread *w = stays ? pool.idle : NULL;
    if (w) {
        pool.idle = w->next;
        pool.idle_count--;
        set_hot(w);
    }
    pool_unlock();
    if (w) {
        __atomic_store_n(&w->signal, 1, __ATOMIC_RELEASE);
        futex_wake(&w->signal, 1);
    }
    return w != NULL;
}

/* With the mutex. */
static void want_spare(void) {
    if (pool.idle || pool.starting || pool.thread_count > pool.thread_limit)
        return;
    pool.thread_count++;
    pool.starting = true;
    __atomic_store_n(&pool.wanted, 1, __ATOMIC_RELEASE);
    futex_wake(&pool.wanted, 1);
}

/* Wakes the hot thread if it sleeps. */
static bool wake_hot(void) {
    if (!__atomic_load_n(pool.armed, __ATOMIC_SEQ_CST) ||
        !__atomic_exchange_n(pool.armed, 0, __ATOMIC_SEQ_CST))
        return false;
    futex_wake_shared(pool.armed, 1);
    return true;
}

void wsgi_pool_push(snake_slot *slot) {
    queue_push(&pool.queue, slot);
    if (!wake_hot())
        monitor_wake(); /* the holder may be stuck */
}

bool wsgi_pool_has_work(void) { return !queue_is_empty(&pool.queue); }

void wsgi_pool_announce(void) {
    if (wsgi_pool_has_work())
        completions_announce_later();
    else
        completions_announce();
}

bool wsgi_pool_watch(uint64_t now) {
    wsgi_thread *hot = __atomic_load_n(&pool.hot, __ATOMIC_SEQ_CST);
    if (!wsgi_pool_has_work())
        return worker_down() >= 0 && __atomic_load_n(&pool.hot_since, __ATOMIC_SEQ_CST);
    uint64_t since = __atomic_load_n(&pool.hot_since, __ATOMIC_RELAXED);
    if (!hot && !pass_role(NULL, 0)) { /* no thread was idle, and starting one may have failed */
        pool_lock();
        want_spare();
        pool_unlock();
    } else if (hot && since && now > since + POOL_STUCK_US) {
        pass_role(hot, since);
    } else if (hot && !since) {
        wake_hot();
    }
    return true;
}

/* ---- apps, and their places */

static snake_slot *take_request(void) {
    snake_slot *slot;
    while ((slot = queue_pop(&pool.queue)) && !wsgi_place_take(slot->app, slot))
        ;
    return slot;
}

void wsgi_pool_add_app(snake_generation *app, uint32_t threads) {
    pool_lock();
    if (worker_down() >= 0) {
        queue_init_shared(&pool.queue, app);
        pool.armed = &segment_first()->armed;
    }
    pool.thread_limit += wsgi_places_open(app, threads);
    want_spare();
    pool_unlock();
}

void wsgi_pool_remove_app(snake_generation *app) {
    pool_lock();
    pool.thread_limit -= (uint64_t)app->threads + app->aside_limit;
    pool_unlock();
}

uint32_t wsgi_pool_running(const snake_generation *app) {
    pool_lock();
    uint32_t running = app->running;
    pool_unlock();
    return running;
}

/* After a thread has left the role or given requests back to the queue. */
static void find_hot(wsgi_thread *hot) {
    bool found = hot ? !wsgi_pool_has_work() || wake_hot() : pass_role(NULL, 0);
    if (!found)
        monitor_wake();
}

/* Gives this thread's place and the hot role to others. False if it must keep them. */
static bool step_aside(wsgi_thread *w) {
    pool_lock();
    w->aside = wsgi_place_leave(w->app, &pool.queue);
    wsgi_thread *hot = __atomic_load_n(&pool.hot, __ATOMIC_SEQ_CST);
    if (w->aside && hot == w) {
        hot = NULL;
        __atomic_store_n(&pool.hot, hot, __ATOMIC_SEQ_CST);
    }
    pool_unlock();
    if (w->aside)
        find_hot(hot);
    return w->aside;
}

void wsgi_pool_wait_for_client(uint32_t *waits, uint32_t bit) {
    wsgi_thread *w = current_thread_of_pool;
    uint64_t timeout = w && w->app && !w->aside ? PATIENCE_US : 0;
    for (uint32_t value; (value = __atomic_load_n(waits, __ATOMIC_SEQ_CST)) & bit;) {
        if (futex_wait_shared(waits, value, timeout))
            timeout = step_aside(w) ? 0 : RETRY_US;
    }
}

void wsgi_pool_come_back(void) {
    wsgi_thread *w = current_thread_of_pool;
    if (!w || !w->aside)
        return;
    pool_lock();
    bool has_place = wsgi_place_ask(w->app, &w->back);
    pool_unlock();
    while (!has_place && !__atomic_load_n(&w->back.signal, __ATOMIC_ACQUIRE))
        futex_wait(&w->back.signal, 0, 0);
    w->aside = false;
}

/* ---- a thread's life */

void wsgi_pool_enter(wsgi_thread *w) { current_thread_of_pool = w; }

/* The hot thread runs a request for long while others wait. With the mutex. */
static bool is_stuck(void) {
    uint64_t since = __atomic_load_n(&pool.hot_since, __ATOMIC_RELAXED);
    return since && wsgi_pool_has_work() && now_us() > since + BACK_US;
}

snake_slot *wsgi_pool_next_request(wsgi_thread *w, snake_generation *finished) {
    snake_slot *slot = NULL;
    pool_lock();
    if (finished)
        wsgi_place_give(finished, &pool.queue);
    wsgi_thread *hot = __atomic_load_n(&pool.hot, __ATOMIC_SEQ_CST);
    if (hot != w && (!hot || is_stuck())) {
        set_hot(w);
        hot = w;
    }
    __atomic_store_n(&w->signal, 0, __ATOMIC_RELAXED); /* it has the role, or waits for it anew */
    if (hot == w && (slot = take_request())) {
        __atomic_store_n(&pool.hot_since, now_us(), __ATOMIC_SEQ_CST);
        want_spare();
    } else if (hot == w) {
        __atomic_store_n(&pool.hot_since, 0, __ATOMIC_RELAXED);
    } else {
        wsgi_thread **link = &pool.idle;
        while (!w->serial &&
               *link) /* new threads go to the end: threads that have served are warm */
            link = &(*link)->next;
        w->next = *link;
        *link = w;
        pool.idle_count++;
    }
    pool_unlock();
    if (hot != w)
        find_hot(hot); /* for requests that got this thread's place */
    else if (slot && worker_down() >= 0)
        monitor_wake(); /* Caddy's pushes can't */
    if (finished)
        generation_finished_one(finished); /* the app may be freed from here on */
    return slot;
}

/* Removes a surplus idle thread from the list. idle_us: how long it has been idle. */
static bool retire(wsgi_thread *w, uint64_t idle_us) {
    bool retires = false;
    pool_lock();
    uint32_t keep = idle_us < IDLE_US ? KEPT_IDLE : 2;
    if (!__atomic_load_n(&w->signal, __ATOMIC_ACQUIRE) && pool.idle_count > keep) {
        wsgi_thread **link = &pool.idle;
        while (*link && *link != w)
            link = &(*link)->next;
        if (*link) { /* otherwise the thread is getting the role */
            *link = w->next;
            pool.idle_count--;
            pool.thread_count--;
            retires = true;
        }
    }
    pool_unlock();
    return retires;
}

/* Sleeps with the hot role until there is a request. */
static void sleep_hot(void) {
    for (;;) {
        __atomic_store_n(pool.armed, 1, __ATOMIC_SEQ_CST);
        if (wsgi_pool_has_work())
            break;
        futex_wait_shared(pool.armed, 1, 0);
        if (!__atomic_load_n(pool.armed, __ATOMIC_SEQ_CST))
            return;
    }
    __atomic_store_n(pool.armed, 0, __ATOMIC_SEQ_CST);
}

bool wsgi_pool_wait_for_role(wsgi_thread *w) {
    if (__atomic_load_n(&pool.hot, __ATOMIC_SEQ_CST) == w &&
        !__atomic_load_n(&w->signal, __ATOMIC_ACQUIRE)) {
        sleep_hot();
        return true;
    }
    uint64_t since = now_us(), idle_us = 0;
    while (!__atomic_load_n(&w->signal, __ATOMIC_ACQUIRE)) {
        futex_wait(&w->signal, 0, idle_us < SURPLUS_US ? SURPLUS_US : IDLE_US);
        idle_us = now_us() - since;
        if (idle_us >= SURPLUS_US && retire(w, idle_us))
            return false;
    }
    return true;
}

void wsgi_pool_end_start(bool came) {
    pool_lock();
    if (pool.starting && !came)
        pool.thread_count--;
    pool.starting = false;
    pool_unlock();
}

/* wsgi_next_thread(): returns when another WSGI thread must be started. */
PyObject *wsgi_pool_next_thread(PyObject *module, PyObject *ignored) {
    (void)module;
    (void)ignored;
    Py_BEGIN_ALLOW_THREADS;
    while (!__atomic_exchange_n(&pool.wanted, 0, __ATOMIC_ACQ_REL))
        futex_wait(&pool.wanted, 0, 0);
    Py_END_ALLOW_THREADS;
    Py_RETURN_NONE;
}

/* wsgi_thread_failed(): the requested thread can't be started. */
PyObject *wsgi_pool_thread_failed(PyObject *module, PyObject *ignored) {
    (void)module;
    (void)ignored;
    wsgi_pool_end_start(false);
    Py_RETURN_NONE;
}

void wsgi_pool_leave(wsgi_thread *w, snake_generation *finished) {
    pool_lock();
    if (finished)
        wsgi_place_give(finished, &pool.queue);
    pool.thread_count--;
    if (__atomic_load_n(&pool.hot, __ATOMIC_SEQ_CST) == w)
        __atomic_store_n(&pool.hot, NULL, __ATOMIC_SEQ_CST);
    want_spare();
    pool_unlock();
    find_hot(__atomic_load_n(&pool.hot, __ATOMIC_SEQ_CST));
    if (finished)
        generation_finished_one(finished);
}
