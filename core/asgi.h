/* Shared by the ASGI files: one exchange, for either protocol. */
#ifndef SNAKE_ASGI_H
#define SNAKE_ASGI_H

#include "http.h"

/* ---- asgi_loop.c: how an app's event loop sleeps and wakes */
/* TURN: start queued requests. CALLED: look at scheduled calls. FILES: files may have events. */
enum { LOOP_TURN = 4, LOOP_CALLED = 8, LOOP_FILES = 16 };
/* Wakes the loop. Any thread. */
void asgi_loop_signal(snake_generation *app, uint32_t reason);
/* One sleep of our own event loop. */
typedef struct asgi_loop_sleep {
    uint64_t timeout_us; /* 0: none */
    int files;           /* an epoll's descriptor or -1 */
    bool ready;          /* files may have events */
    uint32_t reasons;    /* why the loop was woken: LOOP_* */
} asgi_loop_sleep;
/* True if the loop may sleep, false if it has more to do. Sets *failed with an exception. */
bool asgi_loop_may_sleep(snake_generation *app, PyObject *timeout, int files,
                         asgi_loop_sleep *sleep, bool *failed);
/* Without the GIL. */
void asgi_loop_sleep_now(snake_generation *app, asgi_loop_sleep *sleep);
/* LOOP_TURN and LOOP_FILES, as an int. */
PyObject *asgi_loop_awake(const asgi_loop_sleep *sleep);
/* For a foreign loop: the descriptor that it watches, or -1 with OSError; and the callback for when
 * the descriptor is readable. */
int asgi_loop_watch(snake_generation *app);
void asgi_loop_wakes(snake_generation *app);

/* ---- asgi_gate.c: which app's loop is woken for requests */
/* Wakes the loop as soon as waking it is useful. Any thread. The caller has cleared app->armed. */
void asgi_gate_enter(snake_generation *app);
/* The loop's round is over; the gate passes to the next app. */
void asgi_gate_leave(snake_generation *app, uint64_t round_began);
/* Call before the app is freed. With the GIL. */
void asgi_gate_forget(snake_generation *app);
bool asgi_gate_is_crowded(void);
/* For the monitor: passes the gate on when its holder is stuck. True while apps wait. */
bool asgi_gate_watch(uint64_t now);

/* ---- asgi.c, asgi_exchange.c, asgi_await.c */
extern PyType_Spec asgi_spec, asgi_await_spec;
void asgi_push(snake_slot *slot);
void asgi_post(snake_slot *slot, uint32_t event);
/* Starts the queued requests. On the loop's thread. */
void asgi_start_round(snake_generation *app);
/* select() of our own loop: ends the round and waits. Returns LOOP_TURN and LOOP_FILES. */
PyObject *asgi_select(snake_generation *app, PyObject *timeout, int files);
PyObject *asgi_flush(PyObject *app, PyObject *ignored);
/* Cancels the requests that still run. Cancels requests with a complete response only if answered
 * is set. */
int asgi_cancel(snake_generation *app, bool answered);
/* The scopes of the requests whose response is complete, as a list. */
PyObject *asgi_answered(snake_generation *app);
/* What runs: [(slot, serial, coroutine, thread of the loop)]. Any thread, with the GIL. */
PyObject *asgi_coroutines(snake_generation *app);
uint64_t asgi_probe(snake_generation *app);
/* On the loop's thread: it is alive. */
void asgi_answer_probe(snake_generation *app);

typedef struct asgi_exchange asgi_exchange;
/* AWAIT_DONE has nothing to wait for. AWAIT_ROUND waits for the loop's next round. AWAIT_ENDED was
 * awaited already. */
enum asgi_await_kind { AWAIT_DONE, AWAIT_ROUND, AWAIT_RECEIVE, AWAIT_DRAIN, AWAIT_ENDED };
/* The awaitable that receive() and send() return: finished, or waiting on a future. */
typedef struct asgi_await_object {
    PyObject_HEAD
    core *st;
    enum asgi_await_kind kind;
    bool running;            /* true while a step runs */
    asgi_exchange *exchange; /* strong; NULL for one made as AWAIT_DONE */
    PyObject *future, *iterator;
    struct asgi_await_object *prev, *next; /* links of exchange->waiting */
} asgi_await_object;
PyObject *asgi_await_done(core *st); /* awaiting it returns None at once */
PyObject *asgi_await_on(asgi_exchange *exchange, enum asgi_await_kind kind);
/* Wakes all awaits of this kind on the exchange. Runs app code. */
void asgi_await_wake(asgi_exchange *exchange, enum asgi_await_kind kind);
/* Whether an await of this kind waits. */
bool asgi_await_waits(const asgi_exchange *exchange, enum asgi_await_kind kind);
/* The errors of a coroutine; each returns NULL. */
PyObject *coroutine_runs(void);
PyObject *coroutine_has_ended(void);
/* Raises the exception given to throw(type[, value[, traceback]]), or TypeError. */
PyObject *coroutine_raise(PyObject *args);
/* iterator.throw(*args), or raises the exception if the iterator has no throw(). */
PyObject *coroutine_throw(core *st, PyObject *iterator, PyObject *args);

/* send() waits while more than this many bytes don't fit into the ring yet. */
enum { HIGH_WATER = 64 << 10 };

/* The functions that differ between HTTP and WebSocket. All run on the loop's thread. */
typedef struct asgi_protocol {
    /* The next message: new reference, NULL with an exception, or NULL without one. */
    PyObject *(*receive_now)(asgi_exchange *self);
    /* Handles a message of the app. Returns the awaitable for send(). */
    PyObject *(*send)(asgi_exchange *self, PyObject *type, PyObject *message);
    /* The same, after the client has left. */
    PyObject *(*send_late)(asgi_exchange *self, PyObject *type, PyObject *message);
    /* The app has returned or raised; failed: with an error. Completes an unfinished response. */
    void (*end)(asgi_exchange *self, bool returned, bool failed);
    /* The client is gone, or has stopped sending. */
    void (*on_gone)(asgi_exchange *self);
} asgi_protocol;
extern const asgi_protocol asgi_http_protocol, asgi_websocket_protocol;

enum websocket_phase { WS_CONNECTING, WS_DENYING, WS_OPEN, WS_CLOSED };

struct asgi_exchange {
    PyObject_HEAD
    core *st;
    const asgi_protocol *protocol;
    snake_generation *app;            /* strong */
    snake_slot *slot;                 /* NULL once the response is complete or given up */
    PyObject *scope, *receive, *send; /* NULL once the coroutine has ended */
    PyObject *coroutine;              /* the app's coroutine */
    PyObject *task;
    asgi_await_object *waiting;
    asgi_exchange *prev, *next; /* links of app->active */
    response_head head;
    uint64_t sent;
    unsigned char
        *pending; /* records that wait for room in the ring: u32 kind, u32 length, bytes */
    size_t pending_read, pending_len, pending_cap; /* read: what is in the ring already */
    bool pending_last;                             /* the response ends with them */
    bool head_sent, no_body, complete;             /* complete: the app has sent its last message */
    bool body_received, too_large;
    bool client_left, client_stopped_sending;
    bool listeners_turn; /* after a disconnect, the app has time to cancel its senders */
    uint32_t late_sends; /* sends during listeners_turn */
    bool excused;        /* the next send of a stream gets no error */
    bool ended;          /* the coroutine has ended */
    bool settled, cancelled;
    bool running;     /* true while a step or the end of the coroutine runs app code */
    snake_slot *kept; /* the slot that Go gets back when the coroutine ends, as its client left; or
                         NULL */
    /* HTTP */
    bool trailers_promised, body_complete;
    bool all_sent; /* the app has sent its last body piece; later sends can't be cut off */
    bool is_head_request;
    packed_fields *trailers; /* trailers to send after the body, or NULL */
    /* WebSocket */
    enum websocket_phase phase;
    unsigned char *inbox; /* the parts of a message whose rest is to come */
    size_t inbox_len;
    PyObject *peer_reason;        /* NULL: no reason */
    uint16_t app_code, peer_code; /* close codes; 0: not closed yet */
};

/* ---- asgi_exchange.c: the request's coroutine and its lifetime */
/* Whether the app may still send a message. Call it again after any step that runs app code, such
 * as reading a message, because app code may send other messages. -1 with an exception. */
int asgi_exchange_check_open(asgi_exchange *self);
asgi_exchange *asgi_exchange_new(snake_generation *app, snake_slot *slot,
                                 const asgi_protocol *protocol);
/* Adds the exchange to the app's active list. */
void asgi_exchange_activate(asgi_exchange *self);
/* Ends an exchange that could not be started. */
void asgi_exchange_fail_start(asgi_exchange *self);
/* Cancels the task, once: a second cancellation would disturb the app's handling of the first. */
int asgi_exchange_cancel(asgi_exchange *self);
/* Drops the active list's reference once the exchange has nothing left to do. */
void asgi_exchange_settle(asgi_exchange *self);
/* The client is gone; the app may run on. Go gets the slot back now or, so that it can count what a
 * client leaves behind, when the coroutine ends (docs/decisions/0054). */
void asgi_exchange_abandon(asgi_exchange *self);

/* ---- asgi_output.c: the response, sent to Go */
snake_slot *asgi_exchange_detach(asgi_exchange *self);
/* Closes the slot with SNAKE_END, FAIL or ABORT. */
void asgi_output_close(asgi_exchange *self, uint32_t kind);
/* Ends a response that the app will not complete. failed: it is the app's fault. */
void asgi_output_abandon(asgi_exchange *self, bool failed);
/* Drops the records that wait for room. */
void asgi_output_drop(asgi_exchange *self);
typedef struct span_of_bytes {
    const void *p;
    size_t len;
} span_of_bytes;
/* Sends a record after the head, now or as soon as the ring has room. Data and messages may become
 * several records. -1 with MemoryError or ValueError. */
int asgi_output_write(asgi_exchange *self, uint32_t kind, span_of_bytes data, bool last);
/* Ends the response after the data written so far. */
int asgi_output_end(asgi_exchange *self);
/* Whether send() need not wait; whether everything is in the ring. */
bool asgi_output_is_low(const asgi_exchange *self);
bool asgi_output_is_empty(const asgi_exchange *self);
/* There is room in the ring again. */
void asgi_output_resume(asgi_exchange *self);
/* The awaitable for send(): done, or waiting until the client has read more. */
PyObject *asgi_output_sent(asgi_exchange *self);

/* ---- asgi_http.c */
PyObject *asgi_http_send_start(asgi_exchange *self, PyObject *message);
PyObject *asgi_http_send_body(asgi_exchange *self, PyObject *message);
void asgi_http_end(asgi_exchange *self, bool returned, bool failed);

/* ---- asgi_announce.c */
/* Announces the completions at the end of the drain, or else at the end of the loop's round. Any
 * thread, with the GIL. */
void asgi_announce(snake_generation *app);
/* Announces the completions: at once, or together with the next apps' rounds while other apps wait
 * at the gate. */
void asgi_announce_round(void);
/* Announces the completions and passes the gate to the next app. Needs no GIL. */
void asgi_end_round(snake_generation *app);
/* The loop has more to do before its round ends. */
void asgi_go_on(snake_generation *app);
/* Schedules asgi_flush after the callbacks that are due now. */
bool asgi_flush_soon(snake_generation *app);

static inline bool text_is(PyObject *text, PyObject *name) {
    return text == name || (PyUnicode_Check(text) && PyUnicode_Compare(text, name) == 0);
}
PyObject *unexpected_message(PyObject *type);

/* A boolean item of a message; false if missing, -1 with an exception. */
static inline int message_flag(PyObject *message, PyObject *key) {
    PyObject *value;
    int rc = dict_item(message, key, &value);
    if (rc > 0)
        rc = PyObject_IsTrue(value);
    Py_XDECREF(value);
    return rc;
}

#endif
