/* C's half of a request slot: what is read from `in` and written to `out`.
 *
 * to_py is 0 while the slot is not in an app's queue. SNAKE_TO_PY_CLOSED forbids further posts. If
 * a slot is closed while it is queued, the loop releases it when it takes the slot from the queue.
 */
#include "core.h"
#include <stdlib.h>
#include <sys/mman.h>

/* ---- the request */

void slot_open(snake_slot *slot, snake_generation *app) {
    slot->app = app;
    slot->owner = NULL;
    slot->ticket = 0;
    slot->next = NULL;
    slot->told_gone = 0;
    slot->in.at = slot->out.at = 0;
    slot->header_count = slot->features = 0;
    slot->body_end = 0;
    slot->body_asked = slot->is_begun = false;
    slot->head = (span){"", 0};
    slot->head_at = slot->head_len = 0;
    ring_record record;
    uint32_t facts[2];
    if (ring_next(&slot->in, &record) != 1 || record.kind != SNAKE_HEAD || record.len[1] ||
        record.len[0] < sizeof facts)
        return; /* every reader of the head finds that it does not fit */
    memcpy(facts, record.part[0], sizeof facts);
    slot->header_count = facts[0];
    slot->features = facts[1];
    slot->head = (span){(const char *)record.part[0] + sizeof facts,
                        (Py_ssize_t)(record.len[0] - sizeof facts)};
}

void slot_begin(snake_slot *slot) {
    if (slot->features & SNAKE_TIMED)
        slot->wire->begun_at = (uint32_t)now_us();
    __atomic_store_n(&slot->wire->begun, 1, __ATOMIC_RELEASE);
}

void slot_head_done(snake_slot *slot) {
    ring_record record;
    if (slot->head.n && ring_next(&slot->in, &record) == 1)
        ring_done(&slot->in, &record);
    slot->head = (span){"", 0};
}

uint32_t slot_next_in(snake_slot *slot, ring_record *record) {
    if (slot->body_end)
        return slot->body_end;
    int rc = ring_next(&slot->in, record);
    if (rc < 0)
        return slot->body_end = SNAKE_LOST;
    if (!rc)
        return 0;
    switch (record->kind) {
    case SNAKE_END:
    case SNAKE_LOST:
    case SNAKE_TOO_LARGE:
        return slot->body_end = record->kind;
    default:
        return record->kind;
    }
}

bool slot_in_is_ready_or_wanted(snake_slot *slot) {
    ring_record record;
    if (slot_next_in(slot, &record))
        return true;
    if (!slot->body_asked && slot->features & SNAKE_BODY_STREAM) {
        slot->body_asked = true;
        completions_add(slot, SNAKE_GO_WANT_BODY);
        completions_announce();
    }
    __atomic_fetch_or(&slot->wire->waits, SNAKE_WAIT_IN, __ATOMIC_SEQ_CST);
    return slot_next_in(slot, &record) != 0;
}

void slot_in_done(snake_slot *slot, const ring_record *record) {
    ring_done(&slot->in, record);
    if (ring_filled(&slot->in) <= SNAKE_RING / 2 &&
        __atomic_load_n(&slot->wire->room_wanted, __ATOMIC_SEQ_CST) &&
        __atomic_exchange_n(&slot->wire->room_wanted, 0, __ATOMIC_SEQ_CST)) {
        completions_add(slot, SNAKE_GO_WANT_BODY);
        completions_announce();
    }
}

/* ---- the response */

/* Rewrites the length and the count of the head that is not sent yet. */
static void head_rewrite(snake_slot *slot, uint32_t count) {
    uint32_t record[2] = {SNAKE_HEAD, slot->head_len};
    memcpy(slot->out.data + slot->head_at % SNAKE_RING, record, sizeof record);
    ring_copy_in(&slot->out, slot->head_at + SNAKE_RECORD_HEAD + sizeof count, &count,
                 sizeof count);
    slot->out.at = slot->head_at + SNAKE_RECORD_HEAD + ring_padded(slot->head_len);
}

static int head_too_long(size_t len) {
    PyErr_Format(PyExc_ValueError,
                 "a response head can't have more than %u bytes; this one has %zu",
                 SNAKE_RING - SNAKE_RESERVED - SNAKE_RECORD_HEAD, len);
    return -1;
}

static void head_drop(snake_slot *slot) {
    if (slot->head_len)
        slot->out.at = slot->head_at;
    slot->head_len = 0;
}

int slot_head_set(snake_slot *slot, uint32_t status, uint32_t count, const void *fields,
                  size_t len) {
    head_drop(slot);
    uint32_t facts[2] = {status, count};
    if ((int64_t)(len + sizeof facts) > ring_room(&slot->out))
        return head_too_long(len);
    ring_put(&slot->out, SNAKE_HEAD, facts, sizeof facts, fields, (uint32_t)len);
    slot->head_len = (uint32_t)(sizeof facts + len);
    slot->head_at = slot->out.at - ring_padded(slot->head_len) - SNAKE_RECORD_HEAD;
    slot->head_count = count;
    return 0;
}

int slot_head_add(snake_slot *slot, const void *field, size_t len) {
    if ((int64_t)len + 8 > ring_room(&slot->out))
        return head_too_long(slot->head_len + len);
    ring_copy_in(&slot->out, slot->head_at + SNAKE_RECORD_HEAD + slot->head_len, field,
                 (uint32_t)len);
    slot->head_len += (uint32_t)len;
    head_rewrite(slot, ++slot->head_count);
    return 0;
}

int32_t slot_room(const snake_slot *slot) { return ring_room(&slot->out); }

void slot_put(snake_slot *slot, uint32_t kind, const void *prefix, uint32_t prefix_len,
              const void *data, uint32_t len) {
    ring_put(&slot->out, kind, prefix, prefix_len, data, len);
}

void slot_put_file(snake_slot *slot, int fd, int64_t offset, int64_t len, bool shared) {
    struct {
        int64_t offset, len;
        uint32_t shared, zero;
    } part = {offset, len, shared, 0};
    if (segment_is_shared())
        worker_send_file(slot, fd); /* without it, Caddy ends the response */
    else
        slot->wire->file = fd;
    ring_put(&slot->out, SNAKE_FILE, NULL, 0, &part, sizeof part);
}

void slot_send(snake_slot *slot) {
    slot->is_begun = slot->is_begun || slot->head_len;
    slot->head_len = 0;
    ring_publish(&slot->out);
    completions_add(slot, SNAKE_GO_OUT);
}

bool slot_has_room_or_wants(snake_slot *slot, int32_t wanted) {
    if (slot_room(slot) >= wanted)
        return true;
    __atomic_fetch_or(&slot->wire->waits, SNAKE_WAIT_ROOM, __ATOMIC_SEQ_CST);
    if (slot_room(slot) < wanted)
        return false;
    __atomic_fetch_and(&slot->wire->waits, ~(uint32_t)SNAKE_WAIT_ROOM, __ATOMIC_SEQ_CST);
    return true;
}

bool slot_is_delivered(const snake_slot *slot) {
    return slot->out.at == __atomic_load_n(&slot->wire->out_used, __ATOMIC_SEQ_CST);
}

bool slot_is_delivered_or_wants(snake_slot *slot) {
    if (slot_is_delivered(slot))
        return true;
    __atomic_fetch_or(&slot->wire->waits, SNAKE_WAIT_ROOM, __ATOMIC_SEQ_CST);
    return slot_is_delivered(slot);
}

int slot_send_hint(snake_slot *slot, const void *links, size_t len) {
    uint32_t waiting = slot->head_len ? slot->out.at - slot->head_at : 0;
    if ((int64_t)len + SNAKE_RECORD_HEAD > ring_room(&slot->out))
        return 0; /* a hint that can't be sent is dropped */
    unsigned char *head = NULL;
    if (waiting) { /* the hint goes before it */
        head = malloc(waiting);
        if (!head) {
            PyErr_NoMemory();
            return -1;
        }
        ring_copy_out(&slot->out, slot->head_at, head, waiting);
        slot->out.at = slot->head_at;
    }
    ring_put(&slot->out, SNAKE_HINT, NULL, 0, links, (uint32_t)len);
    ring_publish(&slot->out);
    completions_add(slot, SNAKE_GO_OUT);
    if (head) {
        slot->head_at = slot->out.at;
        ring_copy_in(&slot->out, slot->out.at, head, waiting);
        slot->out.at += waiting;
        free(head);
    }
    return 0;
}

void slot_close(snake_slot *slot, uint32_t kind) {
    if (kind != SNAKE_END)
        head_drop(slot);
    else if (slot->is_begun && !slot->head_len &&
             !(slot->features &
               SNAKE_WEBSOCKET)) /* Go must not take a stream for a whole response */
        ring_put(&slot->out, SNAKE_DATA, NULL, 0, NULL, 0);
    slot->head_len = 0;
    ring_put(&slot->out, kind, NULL, 0, NULL, 0);
    ring_publish(&slot->out);
    uint32_t queued = __atomic_fetch_or(&slot->wire->to_py, SNAKE_TO_PY_CLOSED, __ATOMIC_ACQ_REL);
    completions_add(slot, queued ? SNAKE_GO_OUT : SNAKE_GO_OUT | SNAKE_GO_RELEASED);
}

void slot_release(snake_slot *slot) {
    uint32_t queued = __atomic_fetch_or(&slot->wire->to_py, SNAKE_TO_PY_CLOSED, __ATOMIC_ACQ_REL);
    if (!queued)
        completions_add(slot, SNAKE_GO_RELEASED);
}

void slot_trim(snake_slot *slot) {
    if (slot_is_delivered(slot))
        madvise(slot->out.data, SNAKE_RING, segment_is_shared() ? MADV_REMOVE : MADV_DONTNEED);
}
