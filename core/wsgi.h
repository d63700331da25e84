/* Shared by the WSGI files: a request while the app answers it. */
#ifndef SNAKE_WSGI_H
#define SNAKE_WSGI_H

#include "core.h"

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
/* Blocks without the GIL while *word of the slot equals value. Afterwards the slot may belong to
 * another request; check self->slot. */
void wsgi_wait(wsgi_exchange *self, uint32_t *word, uint32_t value);
/* Ends the response. First waits until threads of the app that block on the slot have left it. */
void wsgi_end(wsgi_exchange *self, uint32_t flags);
/* AssertionError unless start_response() has been called. */
int wsgi_check_started(wsgi_exchange *self);
/* Raises RuntimeError: the request is finished. */
int wsgi_refuse_late(void);
/* Sends one block of the app, cut to its Content-Length, and waits until Go has written it. last:
 * the block completes the response. Returns 1 when nothing more may follow, -1 with client_left or
 * an exception. */
int wsgi_send(wsgi_exchange *self, const char *data, size_t len, bool last);
/* Logs the current exception. False when the exception only says that the client left. */
bool wsgi_report(wsgi_exchange *self);

/* ---- wsgi_result.c */
/* Sends the app's result. -1 with client_left or an exception. */
int wsgi_send_result(wsgi_exchange *self, PyObject *result);

#endif
