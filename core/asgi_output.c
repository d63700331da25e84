/* An ASGI response, sent to Go. Records that don't fit into the ring wait in pending. */
#include "asgi.h"
#include <stdlib.h>
#include <string.h>

enum { PENDING_HEAD = 2 * sizeof(uint32_t), RECORD_AT_MOST = 1 << 30 };

snake_slot *asgi_exchange_detach(asgi_exchange *self) {
    snake_slot *slot = self->slot;
    self->slot = NULL;
    return slot;
}

void asgi_output_close(asgi_exchange *self, uint32_t kind) {
    slot_close(asgi_exchange_detach(self), kind);
    asgi_announce(self->app);
}

void asgi_output_drop(asgi_exchange *self) {
    self->pending_len = self->pending_read = 0;
    self->pending_last = false;
}

void asgi_output_abandon(asgi_exchange *self, bool failed) {
    if (!self->slot)
        return;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback); /* may be the reason for abandoning the response */
    self->complete = true;
    asgi_output_drop(self);
    asgi_output_close(self, !self->head_sent && failed ? SNAKE_FAIL : SNAKE_ABORT);
    PyErr_Restore(type, value, traceback);
}

static size_t pending_left(const asgi_exchange *self) {
    return self->pending_len - self->pending_read;
}

static bool is_divisible(uint32_t kind) {
    return kind == SNAKE_DATA || kind == SNAKE_TEXT || kind == SNAKE_BINARY;
}

/* Writes as much of a record as there is room for. Returns the number of bytes that are left; an
 * indivisible record is written whole or not at all. *whole: the record is written. */
static size_t write_some(snake_slot *slot, uint32_t kind, const unsigned char *p, size_t len,
                         bool *whole) {
    int32_t room = slot_room(slot);
    size_t n = room < 0 ? 0 : len < (size_t)room ? len : (size_t)room;
    *whole = room >= 0 && n == len;
    if (!*whole && (!is_divisible(kind) || !n))
        return len;
    bool part = !*whole && kind != SNAKE_DATA;
    slot_put(slot, part ? kind | SNAKE_PART : kind, NULL, 0, p, (uint32_t)n);
    return len - n;
}

/* Makes room for a record in pending. -1 with MemoryError. */
static int reserve_pending(asgi_exchange *self, size_t len) {
    if (self->pending_read > self->pending_len / 2) {
        memmove(self->pending, self->pending + self->pending_read, pending_left(self));
        self->pending_len -= self->pending_read;
        self->pending_read = 0;
    }
    size_t needed = self->pending_len + PENDING_HEAD + len;
    if (needed <= self->pending_cap)
        return 0;
    size_t cap = needed + needed / 2;
    unsigned char *bigger = realloc(self->pending, cap);
    if (!bigger) {
        PyErr_Format(PyExc_MemoryError, "no memory for %zu bytes of a response", needed);
        return -1;
    }
    self->pending = bigger;
    self->pending_cap = cap;
    return 0;
}

static void append_pending(asgi_exchange *self, uint32_t kind, const unsigned char *data,
                           uint32_t len) {
    uint32_t head[2] = {kind, len};
    memcpy(self->pending + self->pending_len, head, sizeof head);
    if (len)
        memcpy(self->pending + self->pending_len + sizeof head, data, len);
    self->pending_len += sizeof head + len;
}

/* Moves pending records to the ring as long as there is room. */
static void move_pending(asgi_exchange *self) {
    while (pending_left(self)) {
        uint32_t head[2];
        unsigned char *record = self->pending + self->pending_read;
        memcpy(head, record, sizeof head);
        bool whole;
        size_t left = write_some(self->slot, head[0], record + PENDING_HEAD, head[1], &whole);
        if (whole) {
            self->pending_read += PENDING_HEAD + head[1];
            continue;
        }
        if (left < head[1]) { /* the rest becomes a record of its own, over what is sent */
            self->pending_read += head[1] - left;
            head[1] = (uint32_t)left;
            memcpy(self->pending + self->pending_read, head, sizeof head);
        }
        return;
    }
}

static int32_t first_wants(const asgi_exchange *self) {
    uint32_t head[2];
    memcpy(head, self->pending + self->pending_read, sizeof head);
    return head[1] > ROOM_WORTH ? ROOM_WORTH : (int32_t)head[1]; /* others are never longer */
}

/* Sends what is in the ring, and what is pending as far as it fits. */
static void flush(asgi_exchange *self) {
    do
        move_pending(self);
    while (pending_left(self) && slot_has_room_or_wants(self->slot, first_wants(self)));
    self->head_sent = true;
    if (!pending_left(self)) {
        free(self->pending);
        self->pending = NULL;
        self->pending_read = self->pending_len = self->pending_cap = 0;
        if (self->pending_last) {
            self->pending_last = false;
            asgi_output_close(self, SNAKE_END);
            return;
        }
    }
    slot_send(self->slot);
    asgi_announce(self->app);
}

/* Writes a record of at most 4 GiB to the ring or to pending. */
static int write_record(asgi_exchange *self, uint32_t kind, const unsigned char *data, size_t len) {
    bool direct = !pending_left(self), whole = false;
    /* Memory comes first: a record that is partly in the ring must not fail. */
    if ((!direct || (int64_t)len > slot_room(self->slot)) && reserve_pending(self, len) < 0)
        return -1;
    size_t left = direct ? write_some(self->slot, kind, data, len, &whole) : len;
    if (!whole)
        append_pending(self, kind, data + (len - left), (uint32_t)left);
    return 0;
}

int asgi_output_write(asgi_exchange *self, uint32_t kind, span_of_bytes data, bool last) {
    const unsigned char *p = data.p;
    size_t left = data.len;
    if (kind != SNAKE_DATA && left > (is_divisible(kind) ? UINT32_MAX : ROOM_WORTH)) {
        PyErr_Format(PyExc_ValueError, "a message of %zu bytes is too long", left);
        return -1;
    }
    bool send = kind != SNAKE_DATA || left || last || !self->head_sent;
    if (kind != SNAKE_DATA && write_record(self, kind, p, left) < 0)
        return -1;
    for (size_t n; kind == SNAKE_DATA && left; p += n, left -= n) {
        n = left < RECORD_AT_MOST ? left : RECORD_AT_MOST;
        if (write_record(self, kind, p, n) < 0)
            return -1;
    }
    self->pending_last = last;
    if (send)
        flush(self);
    return 0;
}

int asgi_output_end(asgi_exchange *self) {
    return asgi_output_write(self, SNAKE_DATA, (span_of_bytes){NULL, 0}, true);
}

bool asgi_output_is_low(const asgi_exchange *self) { return pending_left(self) <= HIGH_WATER; }

bool asgi_output_is_empty(const asgi_exchange *self) { return !pending_left(self); }

void asgi_output_resume(asgi_exchange *self) {
    if (pending_left(self))
        flush(self);
    if (asgi_output_is_low(self))
        asgi_await_wake(self, AWAIT_DRAIN);
}

PyObject *asgi_output_sent(asgi_exchange *self) {
    return asgi_output_is_low(self) ? asgi_await_done(self->st) : asgi_await_on(self, AWAIT_DRAIN);
}
