/* The streamed request body. Go reads nothing before the app asks for the first time; then it reads
 * ahead, as far as the ring has room. */
#include "http.h"

PyObject *record_bytes(const ring_record *record) {
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)ring_len(record));
    char *p = bytes ? PyBytes_AsString(bytes) : NULL;
    if (!p)
        return NULL;
    memcpy(p, record->part[0], record->len[0]);
    memcpy(p + record->len[0], record->part[1], record->len[1]);
    return bytes;
}

PyObject *body_take(snake_slot *slot, uint32_t *end) {
    ring_record record;
    *end = slot_next_in(slot, &record);
    if (*end != SNAKE_DATA) {
        if (*end != SNAKE_END && *end != SNAKE_TOO_LARGE)
            *end = SNAKE_LOST;
        return PyBytes_FromStringAndSize(NULL, 0);
    }
    PyObject *bytes = record_bytes(&record);
    if (!bytes) {
        *end = SNAKE_LOST;
        return NULL;
    }
    slot_in_done(slot, &record);
    if (slot_next_in(slot, &record) == SNAKE_END)
        *end = SNAKE_END; /* known already: the app need not ask again */
    return bytes;
}
