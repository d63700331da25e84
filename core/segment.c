/* The segments of this process: plain memory, or a worker's, which Caddy has mapped as well. Slots
 * are numbered through them. */
#include "core.h"
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { SEGMENTS_AT_MOST = 4096 };

/* Slots are never freed: both sides refer to them by index as long as the process lives. Only
 * snake_segment_add changes these; Go calls it under a lock. */
static snake_slot *private_halves[SEGMENTS_AT_MOST];
static uint32_t segment_count;       /* [atomic] */
static snake_segment *first_segment; /* [atomic] */
static bool is_shared;               /* set before the first request */

static void slot_place(snake_slot *slot, unsigned char *segment, uint32_t i) {
    snake_wire *wire = (snake_wire *)(segment + snake_slot_offset(i));
    slot->wire = wire;
    slot->in = (ring){segment + snake_ring_offset(i, 0), &wire->in_made, &wire->in_used, 0};
    slot->out = (ring){segment + snake_ring_offset(i, 1), &wire->out_made, &wire->out_used, 0};
}

/* Maps and numbers the next segment: plain memory, or Caddy's (fd). NULL when memory is out. */
static snake_segment *segment_add(int fd) {
    uint32_t n = __atomic_load_n(&segment_count, __ATOMIC_RELAXED);
    if (n == SEGMENTS_AT_MOST)
        return NULL;
    size_t size = snake_segment_size();
    int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE : MAP_SHARED;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (memory == MAP_FAILED)
        return NULL;
    /* Else a slot could occupy 2 MiB. Kernels without huge pages refuse. */
    madvise(memory, size, MADV_NOHUGEPAGE);
    snake_slot *slots = calloc(SNAKE_SEGMENT_SLOTS, sizeof *slots);
    if (!slots) {
        munmap(memory, size);
        return NULL;
    }
    for (uint32_t i = 0; i < SNAKE_SEGMENT_SLOTS; i++) {
        slots[i].id = n * SNAKE_SEGMENT_SLOTS + i;
        slot_place(&slots[i], memory, i);
    }
    private_halves[n] = slots;
    if (!n)
        __atomic_store_n(&first_segment, (snake_segment *)memory, __ATOMIC_RELEASE);
    __atomic_store_n(&segment_count, n + 1, __ATOMIC_RELEASE);
    return memory;
}

snake_segment *snake_segment_add(void) { return segment_add(-1); }

int segment_map(int fd) {
    struct stat about;
    if (fstat(fd, &about) < 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    if ((size_t)about.st_size != snake_segment_size()) {
        PyErr_SetString(PyExc_ValueError, "a segment has another size");
        return -1;
    }
    if (!segment_add(fd)) {
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    is_shared = true;
    return 0;
}

bool segment_is_shared(void) { return is_shared; }

snake_segment *segment_first(void) { return __atomic_load_n(&first_segment, __ATOMIC_ACQUIRE); }

snake_slot *slot_at(uint32_t id) {
    uint32_t segment = id / SNAKE_SEGMENT_SLOTS;
    if (segment >= __atomic_load_n(&segment_count, __ATOMIC_ACQUIRE))
        return NULL;
    return &private_halves[segment][id % SNAKE_SEGMENT_SLOTS];
}
