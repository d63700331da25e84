/* What the files of the WSGI threads share. */
#ifndef SNAKE_POOL_H
#define SNAKE_POOL_H

#include "core.h"

/* A WSGI thread as it is between requests. */
typedef struct wsgi_thread_state {
    PyObject *thread; /* threading.current_thread() */
    PyTypeObject *type;
    PyObject *attributes, *saved; /* its __dict__, and what was in it */
    PyObject *system;             /* what the bridge remembers of the rest */
    PyObject *trace, *profile;    /* of sys, when the request began; NULL: none */
    uint32_t app;                 /* whose request was the last; 0: there was none */
} wsgi_thread_state;

typedef struct wsgi_thread {
    struct wsgi_thread *next; /* among the idle ones */
    uint32_t signal;          /* [atomic] futex: 1 when the wsgi_thread got the hot role */
    header_cache *cache;
    /* For the watchdog, touched with the GIL. */
    struct wsgi_thread *newer, *older; /* among all workers */
    unsigned long thread;
    uint64_t serial, since; /* of the request; since is 0 while there is none */
    snake_slot *slot;
    snake_generation *app;
    bool interrupted;
    /* Touched by its thread alone. */
    wsgi_place_returner back;
    bool aside; /* it waits for a client without a place */
    wsgi_thread_state state;
} wsgi_thread;

/* ---- wsgi_pool.c: which thread takes the next request */
/* The current thread is the pool's from here on; NULL: no more. */
void wsgi_pool_enter(wsgi_thread *w);
/* A thread that was asked for is there, or won't come. */
void wsgi_pool_end_start(bool came);
/* Ends the request of finished (or NULL) and takes the next. NULL: the wsgi_thread is parked on the
 * idle list and must wait for its role. */
snake_slot *wsgi_pool_next_request(wsgi_thread *w, snake_generation *finished);
bool wsgi_pool_has_work(void);
/* False when the wsgi_thread must end: it was idle for long. Without the GIL. */
bool wsgi_pool_wait_for_role(wsgi_thread *w);
/* The wsgi_thread ends although others may need it: another takes its part. */
void wsgi_pool_leave(wsgi_thread *w, snake_generation *finished);

/* ---- wsgi_threads.c: all workers, with the GIL */
wsgi_thread *wsgi_thread_new(core *st);
void wsgi_thread_free(core *st, wsgi_thread *w);
/* What is between the two is the request that the watchdog sees. */
void wsgi_thread_begin(wsgi_thread *w, snake_slot *slot);
void wsgi_thread_end(core *st, wsgi_thread *w);

/* ---- wsgi_threadstate.c: on the wsgi_thread's thread, with the GIL. False: an exception is set,
 * or the thread can't be put in order. */
bool wsgi_thread_state_take(core *st, wsgi_thread_state *state);
void wsgi_thread_state_drop(wsgi_thread_state *state);
/* Takes an exception that was sent to the thread. */
void wsgi_thread_settle(core *st);
/* Around a request. */
bool wsgi_thread_enter(core *st, wsgi_thread *w, uint32_t app);
bool wsgi_thread_leave(core *st, wsgi_thread *w);

#endif
