/* Pieces of an ASGI response, sent to Go. One piece is in the slot's out; data that the app sends
 * while Go writes that piece accumulates in pending. */
#include "asgi.h"
#include <stdlib.h>
#include <string.h>

snake_slot *asgi_exchange_detach(asgi_exchange *self) {
    snake_slot *slot = self->slot;
    self->slot = NULL;
    return slot;
}

void asgi_output_close(asgi_exchange *self, uint32_t flags) {
    slot_close(asgi_exchange_detach(self), flags);
    asgi_announce(self->app);
}

void asgi_output_abandon(asgi_exchange *self, bool failed) {
    if (!self->slot || self->close_flags)
        return;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback); /* may be the reason for abandoning the response */
    self->complete = true;
    self->pending_len = 0;
    self->pending_last = false;
    if (!self->head_sent)
        asgi_output_close(self, failed ? SNAKE_OUT_FAIL : SNAKE_OUT_ABORT);
    else if (slot_out_free_or_wanted(self->slot))
        asgi_output_close(self, SNAKE_OUT_ABORT);
    else
        self->close_flags = SNAKE_OUT_ABORT; /* closed when Go returns out */
    PyErr_Restore(type, value, traceback);
}

/* Hands the filled out to Go. */
static void send_piece(asgi_exchange *self, bool last) {
    uint32_t flags = self->head_sent ? 0 : SNAKE_OUT_HEAD;
    self->head_sent = true;
    if (last && self->protocol->pack_end)
        flags |= self->protocol->pack_end(self);
    if (last) {
        asgi_output_close(self, flags | SNAKE_OUT_END);
    } else {
        slot_out_send(self->slot, flags);
        asgi_announce(self->app);
    }
}

/* Sends the pending data, now that out is free, by swapping the buffers. */
static void flush_pending(asgi_exchange *self) {
    if (!self->pending_len && !self->pending_last)
        return;
    snake_slot *slot = self->slot;
    unsigned char *out = slot->out;
    size_t cap = slot->out_cap;
    slot_out_reset(slot);
    if (self->pending_len) {
        slot->out = self->pending;
        slot->out_cap = self->pending_cap;
        slot->out_len = self->pending_len;
        self->pending = out;
        self->pending_cap = cap;
        self->pending_len = 0;
    }
    send_piece(self, self->pending_last);
}

static int append_pending(asgi_exchange *self, const void *data, size_t len) {
    size_t needed = self->pending_len + len;
    if (needed > self->pending_cap) {
        size_t cap = needed + needed / 2;
        unsigned char *bigger = realloc(self->pending, cap);
        if (!bigger) {
            PyErr_Format(PyExc_MemoryError, "no memory for %zu bytes of a response", needed);
            return -1;
        }
        self->pending = bigger;
        self->pending_cap = cap;
    }
    if (len)
        memcpy(self->pending + self->pending_len, data, len);
    self->pending_len = needed;
    return 0;
}

int asgi_output_write(asgi_exchange *self, span_of_bytes prefix, span_of_bytes data, bool last) {
    snake_slot *slot = self->slot;
    if (!self->pending_len && slot_out_free_or_wanted(slot)) {
        if (self->head_sent)
            slot_out_reset(slot);
        else
            slot->out_head_len = slot->out_len;
        unsigned char *room = slot_out_room(slot, prefix.len + data.len);
        if (!room)
            return -1;
        if (prefix.len)
            memcpy(room, prefix.p, prefix.len);
        if (data.len)
            memcpy(room + prefix.len, data.p, data.len);
        if (prefix.len + data.len || last || !self->head_sent)
            send_piece(self, last);
        return 0;
    }
    size_t before = self->pending_len;
    if (append_pending(self, prefix.p, prefix.len) < 0 ||
        append_pending(self, data.p, data.len) < 0) {
        self->pending_len = before;
        return -1;
    }
    self->pending_last = last;
    if (slot_out_free_or_wanted(slot))
        flush_pending(self);
    return 0;
}

int asgi_output_end(asgi_exchange *self) {
    span_of_bytes nothing = {NULL, 0};
    return asgi_output_write(self, nothing, nothing, true);
}

void asgi_output_resume(asgi_exchange *self) {
    if (!slot_out_free_or_wanted(self->slot))
        return; /* a send() has used out first */
    size_t piled_up = self->pending_len;
    if (self->close_flags)
        asgi_output_close(self, self->close_flags);
    else
        flush_pending(self);
    /* After many concurrent sends, wait until Go has written a large pending buffer. A small one
     * may be in flight while the app produces more. */
    if (piled_up > ON_ITS_WAY && self->slot && !slot_out_free_or_wanted(self->slot))
        return;
    asgi_await_wake(self, AWAIT_DRAIN);
}

PyObject *asgi_output_sent(asgi_exchange *self) {
    if (self->pending_len > HIGH_WATER)
        return asgi_await_on(self, AWAIT_DRAIN);
    return asgi_await_done(self->st);
}
