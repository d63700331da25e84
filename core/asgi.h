/* What the ASGI files share: one exchange, whatever it speaks. */
#ifndef SNAKE_ASGI_H
#define SNAKE_ASGI_H

#include "core.h"

/* Above this many bytes that Go has not been given yet, send() waits, until no more than so many
 * are being written. */
enum { HIGH_WATER = 64 << 10, ON_ITS_WAY = 1 << 20 };

/* What differs between HTTP and WebSocket. All run on the loop's thread. */
typedef struct asgi_protocol {
    /* The next message: new reference, NULL with an exception, or NULL without one. */
    PyObject *(*receive_now)(asgi_exchange *self);
    /* Handles a message of the app; returns what it awaits. */
    PyObject *(*send)(asgi_exchange *self, PyObject *type, PyObject *message);
    /* The same when the client has left. */
    PyObject *(*send_late)(asgi_exchange *self, PyObject *type, PyObject *message);
    /* The app has returned, or raised; failed: that was an error. Completes what it left open. */
    void (*end)(asgi_exchange *self, bool returned, bool failed);
    /* A chunk that was asked for is there. */
    void (*on_chunk)(asgi_exchange *self);
    /* slot->gone has been set. */
    void (*on_gone)(asgi_exchange *self);
    /* Packs what follows the body behind the last piece of it, in out. The flag SNAKE_OUT_* that
     * says so, or 0. NULL: nothing follows. */
    uint32_t (*pack_end)(asgi_exchange *self);
} asgi_protocol;
extern const asgi_protocol asgi_http_protocol, asgi_websocket_protocol;

enum websocket_phase { WS_CONNECTING, WS_DENYING, WS_OPEN, WS_CLOSED };

struct asgi_exchange {
    PyObject_HEAD
    core *st;
    const asgi_protocol *protocol;
    snake_generation *app;            /* strong */
    snake_slot *slot;                 /* NULL once the response is complete or given up */
    PyObject *scope, *receive, *send; /* until the coroutine has ended */
    PyObject *coroutine;              /* of the app */
    PyObject *task;
    asgi_await_object *waiting;
    asgi_exchange *prev, *next; /* among the app's active ones */
    response_head head;
    uint64_t sent;
    unsigned char *pending; /* body bytes for which out is not free yet */
    size_t pending_len, pending_cap;
    uint32_t close_flags; /* how to close once out is free; 0: not yet */
    bool pending_last;
    bool head_sent, no_body, complete; /* complete: the app has sent its last message */
    bool body_received, too_large;
    bool client_left, client_stopped_sending;
    bool listeners_turn; /* to cancel what still sends, since receive() has told that it left */
    uint32_t late_sends; /* in that time */
    bool excused;        /* one more piece of a stream is taken in silence */
    bool ended;          /* the coroutine */
    bool settled, cancelled;
    bool running;               /* a step of it is under way: the app's code, or the end of it */
    snake_abandoned *abandoned; /* where it is counted since its client has left, or NULL */
    PyObject *overdue;          /* the timer that looks whether there are too many such */
    /* HTTP */
    bool trailers_promised, body_complete;
    bool all_sent;           /* by the app: what it sends after that can't be cut off any more */
    packed_fields *trailers; /* that follow the body, or NULL */
    /* WebSocket */
    enum websocket_phase phase;
    unsigned char *inbox; /* records taken from the slot's chunk */
    size_t inbox_len, inbox_read;
    PyObject *peer_reason;        /* NULL: empty */
    uint16_t app_code, peer_code; /* with which they closed, 0: not yet */
};

/* ---- asgi_exchange.c: the request's coroutine and its life */
/* Whether a message may still be sent; to be asked after what runs code of the app, such as reading
 * its message, which may send others. -1 with an exception. */
int asgi_exchange_check_open(asgi_exchange *self);
asgi_exchange *asgi_exchange_new(snake_generation *app, snake_slot *slot,
                                 const asgi_protocol *protocol);
/* Puts it among the active ones. */
void asgi_exchange_activate(asgi_exchange *self);
/* Ends it when it could not even be started. */
void asgi_exchange_fail_start(asgi_exchange *self);
/* Cancels its task, once: what an app does because of that is not for another one to disturb. */
int asgi_exchange_cancel(asgi_exchange *self);
/* Lets go of it once nothing of it is left to do. */
void asgi_exchange_settle(asgi_exchange *self);

/* ---- asgi_abandoned.c: an exchange that has lost its client */
/* Gives the slot back, since nobody is there for the response; the app may run on. */
void asgi_exchange_abandon(asgi_exchange *self);
/* The app has ended. */
void asgi_exchange_end_abandoned(asgi_exchange *self);

/* ---- asgi_output.c: pieces of the response on their way to Go */
snake_slot *asgi_exchange_detach(asgi_exchange *self);
void asgi_output_close(asgi_exchange *self, uint32_t flags);
/* Ends a response that the app will not complete. failed: that is the app's fault. */
void asgi_output_abandon(asgi_exchange *self, bool failed);
typedef struct span_of_bytes {
    const void *p;
    size_t len;
} span_of_bytes;
/* Sends prefix and data after the head, or as soon as out is free. */
int asgi_output_write(asgi_exchange *self, span_of_bytes prefix, span_of_bytes data, bool last);
/* Ends the response after what was written. */
int asgi_output_end(asgi_exchange *self);
/* out is free again. */
void asgi_output_resume(asgi_exchange *self);
/* What send() returns: at once, or when the client has read more. */
PyObject *asgi_output_sent(asgi_exchange *self);

/* ---- asgi_http.c */
PyObject *asgi_http_send_start(asgi_exchange *self, PyObject *message);
PyObject *asgi_http_send_body(asgi_exchange *self, PyObject *message);
void asgi_http_end(asgi_exchange *self, bool returned, bool failed);

/* ---- asgi_announce.c */
/* Go hears of what was listed at the end of the drain, or else at the end of the loop's round. Any
 * thread, with the GIL. */
void asgi_announce(snake_generation *app);
/* Go hears of what is listed: at once, or together with the next apps' rounds when they wait at the
 * gate. */
void asgi_announce_round(void);
/* Go hears of what is listed, and the gate goes to the next app. It needs no GIL. */
void asgi_end_round(snake_generation *app);
/* The loop has more to do before it ends the round. */
void asgi_go_on(snake_generation *app);
/* Has asgi_flush called once the steps that are due now have been taken. */
bool asgi_flush_soon(snake_generation *app);

static inline bool text_is(PyObject *text, PyObject *name) {
    return text == name || (PyUnicode_Check(text) && PyUnicode_Compare(text, name) == 0);
}
PyObject *unexpected_message(PyObject *type);

/* A flag of a message, false when it is not there; -1 with an exception. */
static inline int message_flag(PyObject *message, PyObject *key) {
    PyObject *value;
    int rc = dict_item(message, key, &value);
    if (rc > 0)
        rc = PyObject_IsTrue(value);
    Py_XDECREF(value);
    return rc;
}

#endif
