/* Chunks with records of any bytes are received by a websocket's app. */
#include "fuzz.h"
#include <string.h>

static asgi_exchange *open_websocket(snake_slot *slot) {
    static const unsigned char head[14 * sizeof(uint32_t)]; /* every field is empty */
    slot->features = SNAKE_WEBSOCKET;
    fuzz_fill(&slot->in, &slot->in_cap, &slot->in_len, head, sizeof head);
    asgi_exchange *self = asgi_exchange_new(fuzz_app, slot, &asgi_websocket_protocol);
    if (!self)
        fuzz_fail("no exchange");
    self->phase = WS_OPEN;
    self->body_received = self->head_sent = true;
    return self;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    cursor c = {data, data + size, false};
    snake_slot *slot = fuzz_slot();
    asgi_exchange *self = open_websocket(slot);
    while (self->slot && cursor_left(&c)) {
        unsigned flags = cursor_byte(&c);
        uint32_t wanted = cursor_uint32(&c);
        span chunk = cursor_take(&c, wanted < cursor_left(&c) ? wanted : cursor_left(&c));
        fuzz_fill(&slot->chunk, &slot->chunk_cap, &slot->chunk_len, chunk.p, (size_t)chunk.n);
        slot->chunk_len += flags >> 7; /* longer than its buffer */
        slot->chunk_end = flags & 3;
        slot->body_state = SNAKE_CHUNK_READY;
        if (flags & 4)
            self->protocol->on_chunk(self);
        for (PyObject *message;
             (message = self->protocol->receive_now(self)) || PyErr_Occurred();) {
            fuzz_check(message);
            if (self->phase == WS_CLOSED || !self->slot)
                break;
        }
    }
    Py_CLEAR(self->receive);
    Py_CLEAR(self->send);
    Py_DECREF((PyObject *)self);
    return 0;
}
