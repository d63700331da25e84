/* The streamed request body: one chunk at a time, read by Go only when the app
 * asks, so that a client can send no faster than the app reads. */
#include "core.h"

void body_want(snake_slot *slot) {
    uint32_t state = SNAKE_CHUNK_NONE;
    if (__atomic_compare_exchange_n(&slot->body_state, &state, SNAKE_CHUNK_WANTED, false,
                                    __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
        ring_list(slot, SNAKE_GO_WANT_BODY);
        ring_now();
    }
}

PyObject *body_take(snake_slot *slot, uint32_t *end) {
    PyObject *bytes = PyBytes_FromStringAndSize((const char *)slot->chunk, slot->chunk_len);
    if (!bytes)
        return NULL;
    *end = slot->chunk_end;
    uint32_t ready = SNAKE_CHUNK_READY; /* LOST stays */
    __atomic_compare_exchange_n(&slot->body_state, &ready, SNAKE_CHUNK_NONE, false,
                                __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
    return bytes;
}
