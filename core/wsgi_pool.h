/* What the files of the WSGI threads share. */
#ifndef SNAKE_POOL_H
#define SNAKE_POOL_H

#include "core.h"

/* A WSGI thread as it is between requests. */
typedef struct thread_state {
    PyObject *thread; /* threading.current_thread() */
    PyTypeObject *type;
    PyObject *attributes, *saved; /* its __dict__, and what was in it */
    PyObject *system;             /* what the bridge remembers of the rest */
    PyObject *trace, *profile;    /* of sys, when the request began; NULL: none */
    uint32_t app;                 /* whose request was the last; 0: there was none */
} thread_state;

typedef struct worker {
    struct worker *next; /* among the idle ones */
    uint32_t signal;     /* [atomic] futex: 1 when the worker got the hot role */
    header_cache *cache;
    /* For the watchdog, touched with the GIL. */
    struct worker *newer, *older; /* among all workers */
    unsigned long thread;
    uint64_t serial, since; /* of the request; since is 0 while there is none */
    snake_slot *slot;
    snake_app *app;
    bool interrupted;
    /* Touched by its thread alone. */
    place_returner back;
    bool aside; /* it waits for a client without a place */
    thread_state state;
} worker;

/* ---- wsgi_pool.c: which thread takes the next request */
/* The current thread is the pool's from here on; NULL: no more. */
void pool_enter(worker *w);
/* A thread that was asked for is there, or won't come. */
void pool_end_start(bool came);
/* Ends the request of finished (or NULL) and takes the next. NULL: the worker is parked on the idle
 * list and must wait for its role. */
snake_slot *pool_next_request(worker *w, snake_app *finished);
bool pool_has_work(void);
/* False when the worker must end: it was idle for long. Without the GIL. */
bool pool_wait_for_role(worker *w);
/* The worker ends although others may need it: another takes its part. */
void pool_leave(worker *w, snake_app *finished);

/* ---- wsgi_threads.c: all workers, with the GIL */
worker *worker_new(core *st);
void worker_free(core *st, worker *w);
/* What is between the two is the request that the watchdog sees. */
void worker_begin(worker *w, snake_slot *slot);
void worker_end(core *st, worker *w);

/* ---- wsgi_threadstate.c: on the worker's thread, with the GIL. False: an exception is set, or the
 * thread can't be put in order. */
bool thread_state_take(core *st, thread_state *state);
void thread_state_drop(thread_state *state);
/* Takes an exception that was sent to the thread. */
void thread_settle(core *st);
/* Around a request. */
bool thread_enter(core *st, worker *w, uint32_t app);
bool thread_leave(core *st, worker *w);

#endif
