/* Pieces of a WSGI response, sent to Go. */
#include "wsgi.h"
#include <limits.h>
#include <sched.h>
#include <string.h>

void wsgi_wait(wsgi_exchange *self, uint32_t bit) {
    uint32_t *waits = &self->slot->wire->waits;
    __atomic_fetch_add(&self->waiters, 1, __ATOMIC_RELAXED);
    Py_BEGIN_ALLOW_THREADS;
    wsgi_pool_wait_for_client(waits, bit);
    __atomic_fetch_sub(&self->waiters, 1, __ATOMIC_RELEASE);
    wsgi_pool_come_back();
    Py_END_ALLOW_THREADS;
}

int wsgi_refuse_late(void) {
    PyErr_SetString(PyExc_RuntimeError, "the request is finished");
    return -1;
}

int wsgi_check_started(wsgi_exchange *self) {
    if (self->head.status)
        return 0;
    PyErr_SetString(PyExc_AssertionError,
                    "the app gave a response without calling start_response() (PEP 3333)");
    return -1;
}

/* After this the slot is reused, so no thread may still block on it. */
void wsgi_end(wsgi_exchange *self, uint32_t kind) {
    snake_slot *slot = self->slot;
    if (!slot)
        return;
    self->slot = NULL;
    while (__atomic_load_n(&self->waiters, __ATOMIC_ACQUIRE)) {
        __atomic_store_n(&slot->wire->waits, 0, __ATOMIC_SEQ_CST);
        futex_wake_shared(&slot->wire->waits, INT_MAX);
        Py_BEGIN_ALLOW_THREADS;
        sched_yield();
        Py_END_ALLOW_THREADS;
    }
    slot_close(slot, kind);
}

/* Waits until there is room for wanted bytes, or, with -1, until Go has written everything to the
 * client. -1: client_left, or an exception when another thread has completed the response. */
static int wait_for_client(wsgi_exchange *self, int32_t wanted) {
    snake_slot *slot = self->slot;
    if (!slot)
        return wsgi_refuse_late();
    while (!slot_is_lost(slot)) {
        if (wanted < 0 ? slot_is_delivered_or_wants(slot) : slot_has_room_or_wants(slot, wanted))
            return 0;
        if (slot_is_lost(slot)) /* since before Go could see that the thread waits */
            break;
        wsgi_wait(self, SNAKE_WAIT_ROOM);
        if (self->slot != slot) /* another thread has sent the last piece */
            return wsgi_refuse_late();
    }
    self->client_left = true;
    return -1;
}

/* Sends one block and waits until Go has written it, so data is neither delayed nor accumulated.
 * last: the block completes the response. Returns 0, or -1 with client_left or an exception. */
static int send_block(wsgi_exchange *self, const char *data, size_t len, bool last) {
    for (;;) {
        if (wait_for_client(self, len < ROOM_WORTH ? (int32_t)len : ROOM_WORTH) < 0)
            return -1;
        snake_slot *slot = self->slot; /* no app code runs before slot_send() */
        size_t room = (size_t)slot_room(slot), n = len < room ? len : room;
        if (n)
            slot_put(slot, SNAKE_DATA, NULL, 0, data, (uint32_t)n);
        data += n;
        len -= n;
        self->head_sent = true;
        if (last && !len) {
            wsgi_end(self, SNAKE_END);
            return 0;
        }
        slot_send(slot);
        completions_announce();
        if (!len)
            return wait_for_client(self, -1);
    }
}

bool wsgi_report(wsgi_exchange *self) {
    bool left = self->client_left || (self->slot && slot_is_lost(self->slot));
    PyObject *environ =
        Py_XNewRef(self->environ); /* another thread may end the request meanwhile */
    bool is_error = report_exception(self->st, self->app_id, "WSGI", environ, left);
    Py_XDECREF(environ);
    return is_error;
}

/* Serialises the blocks of several threads. Returns 1 when the response is complete, -1 with an
 * exception. No app code runs until end_turn(). */
static int take_turn(wsgi_exchange *self) {
    unsigned long thread = PyThread_get_thread_ident();
    while (self->slot && self->writing) {
        if (self->writer == thread) { /* called from a finalizer */
            PyErr_SetString(PyExc_RuntimeError, "write() was called within write()");
            return -1;
        }
        self->queued++;
        Py_BEGIN_ALLOW_THREADS;
        futex_wait(&self->writing, 1, 0);
        Py_END_ALLOW_THREADS;
        self->queued--;
    }
    if (!self->slot)
        return 1; /* write() has completed the response */
    if (wsgi_check_started(self) < 0)
        return -1;
    self->writing = 1;
    self->writer = thread;
    return 0;
}

static void end_turn(wsgi_exchange *self) {
    __atomic_store_n(&self->writing, 0, __ATOMIC_RELEASE);
    if (self->queued)
        futex_wake(&self->writing, INT_MAX);
}

/* Logs that the body does not match the Content-Length, after any exception that the app raised
 * itself. */
static void report_length(wsgi_exchange *self, bool too_long, uint64_t sent, int64_t length) {
    if (too_long)
        PyErr_Format(PyExc_ValueError, "the app sent more than its Content-Length of %lld bytes",
                     (long long)length);
    else
        PyErr_Format(PyExc_ValueError, "the app sent %llu bytes but a Content-Length of %lld",
                     (unsigned long long)sent, (long long)length);
    wsgi_report(self);
}

int wsgi_send(wsgi_exchange *self, const char *data, size_t len, bool last) {
    int rc = take_turn(self);
    if (rc)
        return rc;
    int64_t length = self->no_body ? -1 : self->head.content_length;
    bool too_long = false, too_short = false;
    if (self->no_body) {
        len = 0;
        last = true;
    } else if (length >= 0) {
        uint64_t left = (uint64_t)length - self->sent;
        too_long = len > left;
        if (too_long)
            len = (size_t)left;
        too_short = last && len < left;
        last = len == left;
    }
    self->sent += len;
    uint64_t sent = self->sent;
    rc = send_block(self, data, len, last);
    if (!rc && too_short) /* send the data, then break the connection */
        wsgi_end(self, SNAKE_ABORT);
    end_turn(self);
    if (rc < 0)
        return -1;
    if (too_long || too_short)
        report_length(self, too_long, sent, length);
    return last || too_short;
}
