/* The life of one request slot: its buffers, and their owners over time.
 *
 * out belongs to C (OUT_FREE) or to Go (OUT_BUSY, from slot_out_send to snake_ack). When C needs a
 * notification that out is free again, it changes OUT_BUSY to OUT_BUSY_WANTED; snake_ack then wakes
 * the WSGI thread or posts to the ASGI loop.
 *
 * to_py is 0 while the slot is not in an app's queue. TO_PY_CLOSED forbids further posts. If a slot
 * is closed while it is queued, the loop releases it when it takes the slot from the queue. */
#include "core.h"
#include <limits.h>
#include <stdlib.h>

enum {
    IN_FIRST = 8 << 10,
    OUT_FIRST = 4 << 10,
    KEEP_AT_MOST = 256 << 10
}; /* as keepBuffer in slot.go */

snake_slot *snake_slot_new(uint32_t id) {
    snake_slot *slot = calloc(1, sizeof *slot);
    if (!slot)
        return NULL;
    slot->id = id;
    slot->file_fd = -1;
    slot->in = malloc(IN_FIRST);
    slot->out = malloc(OUT_FIRST);
    if (!slot->in || !slot->out) {
        free(slot->in);
        free(slot->out);
        free(slot);
        return NULL;
    }
    slot->in_cap = IN_FIRST;
    slot->out_cap = OUT_FIRST;
    return slot;
}

static int reserve(unsigned char **buffer, size_t *cap, size_t wanted) {
    if (*cap >= wanted)
        return 0;
    unsigned char *bigger = malloc(wanted);
    if (!bigger)
        return -1;
    free(*buffer);
    *buffer = bigger;
    *cap = wanted;
    return 0;
}

int snake_slot_reserve_in(snake_slot *slot, size_t cap) {
    return reserve(&slot->in, &slot->in_cap, cap < IN_FIRST ? IN_FIRST : cap);
}

int snake_slot_reserve_chunk(snake_slot *slot, size_t cap) {
    return reserve(&slot->chunk, &slot->chunk_cap, cap);
}

static void shrink(unsigned char **buffer, size_t *cap, size_t to) {
    if (*cap <= KEEP_AT_MOST)
        return;
    unsigned char *smaller = malloc(to);
    if (!smaller)
        return; /* keep the large buffer */
    free(*buffer);
    *buffer = smaller;
    *cap = to;
}

void snake_slot_trim(snake_slot *slot) {
    shrink(&slot->in, &slot->in_cap, IN_FIRST);
    shrink(&slot->out, &slot->out_cap, OUT_FIRST);
    /* A stream's chunk buffer is the largest buffer and rarely needed. */
    free(slot->chunk);
    slot->chunk = NULL;
    slot->chunk_cap = 0;
}

void slot_out_reset(snake_slot *slot) {
    slot->out_len = slot->out_head_len = slot->out_body_end = 0;
    slot->out_header_count = slot->out_trailer_count = 0;
    slot->out_status = slot->out_flags = 0;
}

unsigned char *slot_out_room(snake_slot *slot, size_t n) {
    size_t needed = slot->out_len + n;
    if (!slot->out || needed > slot->out_cap) {
        size_t cap = slot->out_cap ? slot->out_cap * 2 : 512;
        if (cap < needed)
            cap = needed;
        unsigned char *bigger = realloc(slot->out, cap);
        if (!bigger) {
            PyErr_Format(PyExc_MemoryError, "no memory for %zu bytes of a response", needed);
            return NULL;
        }
        slot->out = bigger;
        slot->out_cap = cap;
    }
    unsigned char *room = slot->out + slot->out_len;
    slot->out_len = needed;
    return room;
}

void slot_out_send(snake_slot *slot, uint32_t flags) {
    slot->out_flags = flags;
    __atomic_store_n(&slot->out_state, OUT_BUSY, __ATOMIC_RELEASE);
    completions_add(slot, SNAKE_GO_RESPONSE);
}

bool slot_out_free_or_wanted(snake_slot *slot) {
    uint32_t state = OUT_BUSY;
    if (__atomic_compare_exchange_n(&slot->out_state, &state, OUT_BUSY_WANTED, false,
                                    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        return false;
    return state == OUT_FREE;
}

void slot_close(snake_slot *slot, uint32_t flags) {
    if (!(flags & SNAKE_OUT_END))
        slot_out_reset(slot); /* the last piece has been sent */
    slot->out_flags = flags;
    uint32_t queued = __atomic_fetch_or(&slot->to_py, TO_PY_CLOSED, __ATOMIC_ACQ_REL);
    completions_add(slot, queued ? SNAKE_GO_RESPONSE : SNAKE_GO_RESPONSE | SNAKE_GO_RELEASED);
}

void slot_release(snake_slot *slot) {
    uint32_t queued = __atomic_fetch_or(&slot->to_py, TO_PY_CLOSED, __ATOMIC_ACQ_REL);
    if (!queued)
        completions_add(slot, SNAKE_GO_RELEASED);
}

void slot_send_hint(snake_slot *slot, snake_hint *hint) {
    hint->next = __atomic_load_n(&slot->hints, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&slot->hints, &hint->next, hint, true, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED))
        ;
    completions_add(slot, SNAKE_GO_HINT);
}

void snake_hints_free(snake_hint *newest) {
    while (newest) {
        snake_hint *next = newest->next;
        free(newest);
        newest = next;
    }
}

void slot_free_in(snake_slot *slot) {
    free(slot->in);
    slot->in = NULL;
    slot->in_cap = slot->in_len = 0;
}
