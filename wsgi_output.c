/* Pieces of a WSGI response on their way to Go. */
#include "wsgi.h"
#include <limits.h>
#include <sched.h>
#include <string.h>

void wsgi_wait(wsgi_exchange *self, uint32_t *word, uint32_t value) {
    __atomic_fetch_add(&self->waiters, 1, __ATOMIC_RELAXED);
    Py_BEGIN_ALLOW_THREADS;
    pool_wait_for_client(word, value);
    __atomic_fetch_sub(&self->waiters, 1, __ATOMIC_RELEASE);
    pool_come_back();
    Py_END_ALLOW_THREADS;
}

/* The slot is about to be used again, so nobody may block on it. */
void wsgi_end(wsgi_exchange *self, uint32_t flags) {
    snake_slot *slot = self->slot;
    if (!slot)
        return;
    self->slot = NULL;
    while (__atomic_load_n(&self->waiters, __ATOMIC_ACQUIRE)) {
        __atomic_store_n(&slot->body_state, SNAKE_CHUNK_LOST, __ATOMIC_RELEASE);
        futex_wake(&slot->body_state, INT_MAX);
        Py_BEGIN_ALLOW_THREADS;
        sched_yield();
        Py_END_ALLOW_THREADS;
    }
    /* Free already, unless another thread of the app called write(). */
    while (!slot_is_lost(slot) && !slot_out_free_or_wanted(slot))
        wsgi_wait(self, &slot->out_state, OUT_BUSY_WANTED);
    slot_close(slot, flags);
}

/* Waits until Go has written out. -1: client_left or an exception. */
static int wait_until_sent(wsgi_exchange *self) {
    snake_slot *slot = self->slot;
    while (!slot_is_lost(slot)) {
        if (slot_out_free_or_wanted(slot))
            return 0;
        wsgi_wait(self, &slot->out_state, OUT_BUSY_WANTED);
        if (self->slot != slot) {
            PyErr_SetString(PyExc_RuntimeError, "another thread has ended the response");
            return -1;
        }
    }
    self->client_left = true;
    return -1;
}

/* Sends one block and waits until Go has written it: nothing is held back and nothing piles up.
 * last completes the response with it. Returns 0, or -1: client_left or an exception. */
static int send_block(wsgi_exchange *self, const char *data, size_t len, bool last) {
    snake_slot *slot = self->slot;
    do {
        if (wait_until_sent(self) < 0)
            return -1;
        size_t n = len < PIECE_AT_MOST ? len : PIECE_AT_MOST;
        uint32_t flags = 0;
        if (self->head_sent) {
            slot_out_reset(slot);
        } else {
            slot->out_head_len = slot->out_len;
            flags = SNAKE_OUT_HEAD;
        }
        unsigned char *room = slot_out_room(slot, n);
        if (!room)
            return -1;
        memcpy(room, data, n);
        data += n;
        len -= n;
        self->head_sent = true;
        if (last && !len) {
            wsgi_end(self, flags | SNAKE_OUT_END);
            return 0;
        }
        slot_out_send(slot, flags);
        ring_now();
        if (wait_until_sent(self) < 0)
            return -1;
    } while (len);
    return 0;
}

bool wsgi_report(wsgi_exchange *self) {
    bool left = self->client_left || (self->slot && slot_is_lost(self->slot));
    return report_exception(self->st, self->app_id, "WSGI", self->environ, left);
}

int wsgi_send(wsgi_exchange *self, const char *data, size_t len, bool last) {
    if (!self->slot)
        return 1; /* write() has completed the response */
    if (self->no_body)
        return send_block(self, "", 0, true) < 0 ? -1 : 1;
    int64_t length = self->head.content_length;
    if (length >= 0) {
        uint64_t left = (uint64_t)length - self->sent;
        if (len > left) {
            PyErr_Format(PyExc_ValueError,
                         "the app sent more than its Content-Length of %lld bytes",
                         (long long)length);
            wsgi_report(self);
            len = (size_t)left;
        }
        if (len == left)
            last = true;
        else if (last) { /* too short: what there is, then a broken connection */
            PyErr_Format(PyExc_ValueError, "the app sent %llu bytes but a Content-Length of %lld",
                         (unsigned long long)(self->sent + len), (long long)length);
            wsgi_report(self);
            if (send_block(self, data, len, false) < 0)
                return -1;
            wsgi_end(self, SNAKE_OUT_ABORT);
            return 1;
        }
    }
    self->sent += len;
    if (send_block(self, data, len, last) < 0)
        return -1;
    return last;
}
