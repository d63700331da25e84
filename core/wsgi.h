/* Shared by the WSGI files: a request while the app answers it. */
#ifndef SNAKE_WSGI_H
#define SNAKE_WSGI_H

#include "http.h"

/* ---- wsgi_threadstate.c */
PyObject *wsgi_thread_touched(PyObject *module, PyObject *spoiled);

/* ---- wsgi.c, wsgi_pool.c */
extern PyType_Spec wsgi_spec;
void wsgi_run(core *st, header_cache *cache, snake_generation *app, snake_slot *slot);
void wsgi_pool_push(snake_slot *slot);
/* Blocks while the bit is set in *waits; Go clears it when the client reads or sends. If the wait
 * lasts, a pool thread gives its place in the app to another thread and must call
 * wsgi_pool_come_back before it continues. Both functions: any thread, without the GIL. */
void wsgi_pool_wait_for_client(uint32_t *waits, uint32_t bit);
void wsgi_pool_come_back(void);
/* Announces the completions: at once when no request waits for a thread. With the GIL. */
void wsgi_pool_announce(void);
void wsgi_pool_add_app(snake_generation *app, uint32_t threads);
void wsgi_pool_remove_app(snake_generation *app);
/* The number of occupied places. */
uint32_t wsgi_pool_running(const snake_generation *app);
PyObject *wsgi_serve(PyObject *module, PyObject *ignored);
PyObject *wsgi_pool_next_thread(PyObject *module, PyObject *ignored);
PyObject *wsgi_pool_thread_failed(PyObject *module, PyObject *ignored);
PyObject *wsgi_threads_running(PyObject *module, PyObject *ignored);
PyObject *wsgi_threads_requests(PyObject *module, PyObject *ignored);
PyObject *wsgi_thread_interrupt(PyObject *module, PyObject *args);
/* For the monitor: moves the hot role to another thread when its holder is stuck. True while
 * requests wait. */
bool wsgi_pool_watch(uint64_t now);

/* ---- wsgi_places.c: which requests of an app may run. The caller holds the pool's mutex. */
/* A thread that has waited for its client and now waits for a place. */
typedef struct wsgi_place_returner {
    struct wsgi_place_returner *next;
    uint32_t ticket;
    uint32_t signal; /* [atomic] futex: 1 when the thread has a place */
} wsgi_place_returner;
/* Returns the number of threads that the app may use. */
uint32_t wsgi_places_open(snake_generation *app, uint32_t threads);
/* False: the request is deferred until wsgi_place_give puts it back on the queue. */
bool wsgi_place_take(snake_generation *app, snake_slot *slot);
/* Gives the place to the request or thread that has waited longest. */
void wsgi_place_give(snake_generation *app, queue *queue);
/* The same for a thread that waits for its client. False: the thread must keep its place. */
bool wsgi_place_leave(snake_generation *app, queue *queue);
/* A place for a thread that wants to continue. False: returner is listed, and its signal tells when
 * the thread may continue. */
bool wsgi_place_ask(snake_generation *app, wsgi_place_returner *returner);

enum { PIECE_AT_MOST = 256 << 10 };

/* The state of a request; start_response, write and the input's read are bound to it. App code may
 * call them from anywhere: other threads, iterators, close(), __del__. Therefore a function that
 * ran app code or waited must check slot again. The end of the request drops all references, so the
 * garbage collector need not know this type. */
typedef struct wsgi_exchange {
    PyObject_HEAD
    core *st;
    snake_slot *slot;             /* NULL once the response is complete or given up */
    PyObject *environ, *callable; /* NULL once the request has ended */
    response_head head;
    uint64_t sent; /* body bytes handed to Go */
    uint32_t app_id;
    uint32_t waiters; /* [atomic] threads that block on the slot without the GIL */
    uint32_t writing; /* futex: 1 while a thread sends a block */
    uint32_t queued;  /* number of threads that wait to send */
    unsigned long writer;
    bool head_sent;
    bool no_body; /* HEAD, 204, 304 */
    bool is_head_request;
    bool client_left;
} wsgi_exchange;

/* ---- wsgi_output.c: pieces of the response, sent to Go */
/* Blocks without the GIL while the bit (SNAKE_WAIT_*) is set in the slot's waits. Afterwards the
 * slot may belong to another request; check self->slot. */
void wsgi_wait(wsgi_exchange *self, uint32_t bit);
/* Ends the response with SNAKE_END, FAIL or ABORT. First waits until threads of the app that block
 * on the slot have left it. */
void wsgi_end(wsgi_exchange *self, uint32_t kind);
/* AssertionError unless start_response() has been called. */
int wsgi_check_started(wsgi_exchange *self);
/* Raises RuntimeError: the request is finished. */
int wsgi_refuse_late(void);
/* Sends one block of the app, cut to its Content-Length, and waits while Go has much to write.
 * last: the block completes the response. Returns 1 when nothing more may follow, -1 with
 * client_left or an exception. */
int wsgi_send(wsgi_exchange *self, const char *data, size_t len, bool last);
/* Logs the current exception. False when the exception only says that the client left. */
bool wsgi_report(wsgi_exchange *self);

/* ---- wsgi_result.c */
/* Sends the app's result. -1 with client_left or an exception. */
int wsgi_send_result(wsgi_exchange *self, PyObject *result);

#endif
