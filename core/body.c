/* The streamed request body. Go reads one chunk at a time, and only when the app asks, so a client
 * can send no faster than the app reads. */
#include "http.h"

void body_want(snake_slot *slot) {
    uint32_t state = SNAKE_CHUNK_NONE;
    if (__atomic_compare_exchange_n(&slot->body_state, &state, SNAKE_CHUNK_WANTED, false,
                                    __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
        completions_add(slot, SNAKE_GO_WANT_BODY);
        completions_announce();
    }
}

PyObject *body_inline(const snake_slot *slot) {
    if (!slot_in_fits(slot) || slot->body_offset > slot->in_len ||
        slot->body_len > slot->in_len - slot->body_offset) {
        PyErr_SetString(PyExc_SystemError, "a request's body does not fit into its buffer");
        return NULL;
    }
    return PyBytes_FromStringAndSize((const char *)slot->in + slot->body_offset,
                                     (Py_ssize_t)slot->body_len);
}

PyObject *body_take(snake_slot *slot, uint32_t *end) {
    *end = SNAKE_LOST;
    if (slot->chunk_len > slot->chunk_cap) {
        PyErr_SetString(PyExc_SystemError, "a chunk of a body does not fit into its buffer");
        return NULL;
    }
    PyObject *bytes =
        PyBytes_FromStringAndSize((const char *)slot->chunk, (Py_ssize_t)slot->chunk_len);
    if (!bytes)
        return NULL;
    *end = slot->chunk_end;
    uint32_t ready = SNAKE_CHUNK_READY; /* LOST stays */
    __atomic_compare_exchange_n(&slot->body_state, &ready, SNAKE_CHUNK_NONE, false,
                                __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
    return bytes;
}
