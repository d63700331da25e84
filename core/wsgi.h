/* What the WSGI files share: a request while it is answered. */
#ifndef SNAKE_WSGI_H
#define SNAKE_WSGI_H

#include "core.h"

enum { PIECE_AT_MOST = 256 << 10 };

/* The state of a request; start_response, write and the input's read are bound to it. The app may
 * call these from everywhere: other threads, iterators, close(), __del__. So whoever has run code
 * of the app, or has waited, looks again whether the slot is still there. What it refers to is let
 * go when the request ends, so that the collector need not know of it. */
typedef struct wsgi_exchange {
    PyObject_HEAD
    core *st;
    snake_slot *slot;             /* NULL once the response is complete or given up */
    PyObject *environ, *callable; /* NULL once the request has ended */
    response_head head;
    uint64_t sent; /* body bytes handed to Go */
    uint32_t app_id;
    uint32_t waiters; /* [atomic] threads that block on the slot without the GIL */
    uint32_t writing; /* futex: 1 while a thread sends a block, */
    uint32_t queued;  /* for which so many wait */
    unsigned long writer;
    bool head_sent;
    bool no_body; /* HEAD, 204, 304 */
    bool is_head_request;
    bool client_left;
} wsgi_exchange;

/* ---- wsgi_output.c: pieces of the response on their way to Go */
/* Blocks without the GIL while *word of the slot is value. The slot may be another request's by
 * then: self->slot tells. */
void wsgi_wait(wsgi_exchange *self, uint32_t *word, uint32_t value);
/* Marks the response as over. Threads of the app that still block on the slot leave it first. */
void wsgi_end(wsgi_exchange *self, uint32_t flags);
/* AssertionError unless start_response() has been called. */
int wsgi_check_started(wsgi_exchange *self);
/* RuntimeError: nothing can be done for a request that is finished. */
int wsgi_refuse_late(void);
/* Sends one block of the app, cut to its Content-Length, and waits until Go has written it. last
 * completes the response with it. 1 when nothing more may follow; -1: client_left or an exception.
 */
int wsgi_send(wsgi_exchange *self, const char *data, size_t len, bool last);
/* Logs the current exception. False when that is only the client's leaving. */
bool wsgi_report(wsgi_exchange *self);

/* ---- wsgi_result.c */
/* Sends what the app has returned. -1: client_left or an exception. */
int wsgi_send_result(wsgi_exchange *self, PyObject *result);

#endif
