/* A ring with any bytes is read as a request's body, and as a websocket's messages. */
#include "fuzz.h"
#include <string.h>

static asgi_exchange *open_exchange(snake_slot *slot, bool websocket) {
    static const unsigned char head[14 * sizeof(uint32_t)]; /* every field is empty */
    slot->features = websocket ? SNAKE_WEBSOCKET : SNAKE_BODY_STREAM;
    fuzz_head(slot, head, sizeof head);
    asgi_exchange *self = asgi_exchange_new(
        fuzz_app, slot, websocket ? &asgi_websocket_protocol : &asgi_http_protocol);
    if (!self)
        fuzz_fail("no exchange");
    self->phase = WS_OPEN;
    self->body_received = websocket;
    self->head_sent = true;
    return self;
}

static bool has_ended(const asgi_exchange *self) {
    return !self->slot || self->phase == WS_CLOSED || self->client_stopped_sending ||
           (self->body_received && self->protocol == &asgi_http_protocol);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    cursor c = {data, data + size, false};
    snake_slot *slot = fuzz_slot();
    unsigned flags = cursor_byte(&c);
    asgi_exchange *self = open_exchange(slot, flags & 1);
    uint32_t begin = (cursor_uint32(&c) & ~7u), made = begin;
    slot->in.at = begin;
    while (!has_ended(self) && cursor_left(&c)) {
        uint32_t wanted = cursor_uint32(&c);
        span bytes = cursor_take(&c, wanted < cursor_left(&c) ? wanted : cursor_left(&c));
        uint32_t n = bytes.n < SNAKE_RING ? (uint32_t)bytes.n : SNAKE_RING;
        ring_copy_in(&slot->in, made, bytes.p, n);
        made += flags & 2 ? wanted : n; /* or more than was written */
        slot->wire->in_made = made;
        for (PyObject *message;
             (message = self->protocol->receive_now(self)) || PyErr_Occurred();) {
            fuzz_check(message);
            if (has_ended(self))
                break;
        }
    }
    if (self->slot)
        slot_release(asgi_exchange_detach(self));
    Py_CLEAR(self->receive);
    Py_CLEAR(self->send);
    Py_DECREF((PyObject *)self);
    return 0;
}
