/* Shared by the files of the WSGI thread pool. */
#ifndef SNAKE_POOL_H
#define SNAKE_POOL_H

#include "wsgi.h"

/* The state of a WSGI thread between requests. */
typedef struct wsgi_thread_state {
    PyObject *thread; /* threading.current_thread() */
    PyTypeObject *type;
    PyObject *attributes, *saved; /* its __dict__, and the saved contents */
    PyObject *system;             /* the rest, as saved by the bridge */
    PyObject *trace,
        *profile; /* trace and profile functions at the start of the request; NULL: none */
    uint32_t app; /* the app of the last request; 0: none */
} wsgi_thread_state;

typedef struct wsgi_thread {
    struct wsgi_thread *next; /* link of the idle list */
    uint32_t signal;          /* [atomic] futex: 1 when this thread has the hot role */
    header_cache *cache;
    /* For the watchdog; touched with the GIL. */
    struct wsgi_thread *newer, *older; /* links of the list of all threads */
    unsigned long thread;
    uint64_t serial, since; /* of the request; since is 0 between requests */
    snake_slot *slot;
    snake_generation *app;
    bool interrupted;
    /* Touched only by its own thread. */
    wsgi_place_returner back;
    bool aside; /* the thread waits for a client without a place */
    wsgi_thread_state state;
} wsgi_thread;

/* ---- wsgi_pool.c: which thread takes the next request */
/* The current thread joins the pool; w NULL: it leaves the pool. */
void wsgi_pool_enter(wsgi_thread *w);
/* A requested thread has started, or could not start. */
void wsgi_pool_end_start(bool came);
/* Ends a request of finished (or NULL) and takes the next request. NULL: the thread is on the idle
 * list and must wait for its role. */
snake_slot *wsgi_pool_next_request(wsgi_thread *w, snake_generation *finished);
bool wsgi_pool_has_work(void);
/* False when the thread must end because it was idle for long. Without the GIL. */
bool wsgi_pool_wait_for_role(wsgi_thread *w);
/* The thread ends although others may need it: another thread takes its part. */
void wsgi_pool_leave(wsgi_thread *w, snake_generation *finished);

/* ---- wsgi_threads.c: all threads of the pool, with the GIL */
wsgi_thread *wsgi_thread_new(core *st);
void wsgi_thread_free(core *st, wsgi_thread *w);
/* The watchdog sees the request between these two calls. */
void wsgi_thread_begin(wsgi_thread *w, snake_slot *slot);
void wsgi_thread_end(core *st, wsgi_thread *w);

/* ---- wsgi_threadstate.c: on the thread itself, with the GIL. False: an exception is set, or the
 * thread's state can't be restored. */
bool wsgi_thread_state_take(core *st, wsgi_thread_state *state);
void wsgi_thread_state_drop(wsgi_thread_state *state);
/* Consumes an exception that was sent to the thread. */
void wsgi_thread_settle(core *st);
/* Called before and after a request. */
bool wsgi_thread_enter(core *st, wsgi_thread *w, uint32_t app);
bool wsgi_thread_leave(core *st, wsgi_thread *w);

#endif
