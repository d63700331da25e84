/* A ring of framed records (caddysnake.h, "records"): one side writes, the other reads. Needs no
 * lock: each side moves one counter, and keeps its own copy of it. */
#ifndef SNAKE_RING_H
#define SNAKE_RING_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "../caddysnake.h"

/* One side of a ring. */
typedef struct ring {
    unsigned char *data;   /* SNAKE_RING bytes */
    uint32_t *made, *used; /* [atomic] in the wire part */
    uint32_t at;           /* this side's counter; a writer's may be ahead of *made */
} ring;

/* A record that is in the ring. A payload that wraps has a second part. */
typedef struct ring_record {
    uint32_t kind;
    uint32_t size; /* of the record with its head and padding */
    const unsigned char *part[2];
    uint32_t len[2];
} ring_record;

static inline uint32_t ring_padded(uint32_t len) { return (len + 7u) & ~7u; }

/* ---- the writer */

/* Bytes that the writer may put in. 0 if the counters contradict each other. */
static inline uint32_t ring_free(const ring *r) {
    uint32_t filled = r->at - __atomic_load_n(r->used, __ATOMIC_SEQ_CST);
    return filled <= SNAKE_RING ? SNAKE_RING - filled : 0;
}

/* The longest payload that an ordinary record may have now; -1 if not even an empty one fits. */
static inline int32_t ring_room(const ring *r) {
    return (int32_t)ring_free(r) - SNAKE_RESERVED - SNAKE_RECORD_HEAD;
}

/* Copies bytes to a place in the ring, which may wrap. */
static inline void ring_copy_in(const ring *r, uint32_t at, const void *from, uint32_t len) {
    uint32_t begin = at % SNAKE_RING, first = SNAKE_RING - begin;
    if (first > len)
        first = len;
    if (first)
        memcpy(r->data + begin, from, first);
    if (len > first)
        memcpy(r->data, (const unsigned char *)from + first, len - first);
}

static inline void ring_copy_out(const ring *r, uint32_t at, void *to, uint32_t len) {
    uint32_t begin = at % SNAKE_RING, first = SNAKE_RING - begin;
    if (first > len)
        first = len;
    if (first)
        memcpy(to, r->data + begin, first);
    if (len > first)
        memcpy((unsigned char *)to + first, r->data, len - first);
}

static inline void ring_put_head(ring *r, uint32_t kind, uint32_t len) {
    uint32_t head[2] = {kind, len};
    memcpy(r->data + r->at % SNAKE_RING, head, sizeof head);
    r->at += SNAKE_RECORD_HEAD;
}

/* Goes back to the start of an empty ring, so that a slot with little traffic occupies few pages,
 * if size bytes and the reserve fit there until the reader has passed the gap. */
static inline void ring_rewind(ring *r, uint32_t size) {
    uint32_t place = r->at % SNAKE_RING, rest = SNAKE_RING - place;
    if (place < SNAKE_PAGE || place < size + SNAKE_RESERVED ||
        r->at != __atomic_load_n(r->used, __ATOMIC_ACQUIRE))
        return;
    ring_put_head(r, SNAKE_SKIP, rest - SNAKE_RECORD_HEAD);
    r->at += rest - SNAKE_RECORD_HEAD;
}

/* Puts in a record of two parts. The caller has checked the room. The reader sees it after
 * ring_publish. */
static inline void ring_put(ring *r, uint32_t kind, const void *prefix, uint32_t prefix_len,
                            const void *data, uint32_t len) {
    uint32_t all = prefix_len + len, size = SNAKE_RECORD_HEAD + ring_padded(all);
    if (size <= SNAKE_PAGE)
        ring_rewind(r, size);
    ring_put_head(r, kind, all);
    ring_copy_in(r, r->at, prefix, prefix_len);
    ring_copy_in(r, r->at + prefix_len, data, len);
    r->at += ring_padded(all);
}

static inline void ring_publish(ring *r) { __atomic_store_n(r->made, r->at, __ATOMIC_SEQ_CST); }

/* ---- the reader */

/* 1: *record is the next one, until ring_next or ring_done is called. 0: there is none. -1: what is
 * in the ring contradicts itself. The load keeps its place behind a fetch_or of waits: an acquire
 * could overtake it on aarch64, and miss the record that nobody announces. */
static inline int ring_next(ring *r, ring_record *record) {
    for (;;) {
        uint32_t filled = __atomic_load_n(r->made, __ATOMIC_SEQ_CST) - r->at;
        if (!filled)
            return 0;
        uint32_t head[2];
        if (filled > SNAKE_RING || filled < sizeof head || r->at % 8)
            return -1;
        memcpy(head, r->data + r->at % SNAKE_RING, sizeof head);
        if (head[1] > filled - SNAKE_RECORD_HEAD ||
            ring_padded(head[1]) > filled - SNAKE_RECORD_HEAD)
            return -1;
        uint32_t begin = (r->at + SNAKE_RECORD_HEAD) % SNAKE_RING, first = SNAKE_RING - begin;
        if (first > head[1])
            first = head[1];
        *record = (ring_record){head[0],
                                SNAKE_RECORD_HEAD + ring_padded(head[1]),
                                {r->data + begin, r->data},
                                {first, head[1] - first}};
        if (record->kind != SNAKE_SKIP)
            return 1;
        r->at += record->size;
        __atomic_store_n(r->used, r->at, __ATOMIC_SEQ_CST);
    }
}

/* Gives the record's place back to the writer. */
static inline void ring_done(ring *r, const ring_record *record) {
    r->at += record->size;
    __atomic_store_n(r->used, r->at, __ATOMIC_SEQ_CST);
}

/* Bytes that wait for the reader. */
static inline uint32_t ring_filled(const ring *r) {
    return __atomic_load_n(r->made, __ATOMIC_ACQUIRE) - r->at;
}

static inline size_t ring_len(const ring_record *record) {
    return (size_t)record->len[0] + record->len[1];
}

#endif
