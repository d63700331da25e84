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
/* A worker's segments; set before the first request. */
static unsigned char *shared_memory;
static uint32_t shared_count;

static void slot_place(snake_slot *slot, unsigned char *segment, uint32_t i) {
    snake_wire *wire = (snake_wire *)(segment + snake_slot_offset(i));
    slot->wire = wire;
    slot->in = (ring){segment + snake_ring_offset(i, 0), &wire->in_made, &wire->in_used, 0};
    slot->out = (ring){segment + snake_ring_offset(i, 1), &wire->out_made, &wire->out_used, 0};
}

/* Numbers the next segment. -1 when memory is out. */
static int segment_number(unsigned char *memory) {
    uint32_t n = __atomic_load_n(&segment_count, __ATOMIC_RELAXED);
    snake_slot *slots = calloc(SNAKE_SEGMENT_SLOTS, sizeof *slots);
    if (!slots)
        return -1;
    for (uint32_t i = 0; i < SNAKE_SEGMENT_SLOTS; i++) {
        slots[i].id = n * SNAKE_SEGMENT_SLOTS + i;
        slot_place(&slots[i], memory, i);
    }
    private_halves[n] = slots;
    if (!n)
        __atomic_store_n(&first_segment, (snake_segment *)memory, __ATOMIC_RELEASE);
    __atomic_store_n(&segment_count, n + 1, __ATOMIC_RELEASE);
    return 0;
}

static void *map_memory(size_t size, int flags, int fd) {
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (memory == MAP_FAILED)
        return NULL;
    /* Else a slot could occupy 2 MiB. Kernels without huge pages refuse. */
    madvise(memory, size, MADV_NOHUGEPAGE);
    return memory;
}

snake_segment *snake_segment_add(void) {
    if (__atomic_load_n(&segment_count, __ATOMIC_RELAXED) == SEGMENTS_AT_MOST)
        return NULL;
    size_t size = snake_segment_size();
    void *memory = map_memory(size, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    if (memory && segment_number(memory) < 0) {
        munmap(memory, size);
        memory = NULL;
    }
    return memory;
}

int segment_map(int fd) {
    struct stat about;
    if (fstat(fd, &about) < 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    size_t size = (size_t)about.st_size, count = size / snake_segment_size();
    if (!count || size % snake_segment_size() || count > SEGMENTS_AT_MOST) {
        PyErr_SetString(PyExc_ValueError, "segments have another size");
        return -1;
    }
    shared_memory = map_memory(size, MAP_SHARED, fd);
    if (!shared_memory) {
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    shared_count = (uint32_t)count;
    if (segment_number(shared_memory) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

bool segment_is_shared(void) { return shared_count != 0; }

snake_segment *segment_first(void) { return __atomic_load_n(&first_segment, __ATOMIC_ACQUIRE); }

snake_slot *slot_at(uint32_t id) {
    uint32_t segment = id / SNAKE_SEGMENT_SLOTS;
    /* Caddy may use any of its segments. Only the queue's consumer meets a new one. */
    while (segment < shared_count && segment >= __atomic_load_n(&segment_count, __ATOMIC_ACQUIRE))
        if (segment_number(shared_memory + segment_count * snake_segment_size()) < 0)
            return NULL;
    if (segment >= __atomic_load_n(&segment_count, __ATOMIC_ACQUIRE))
        return NULL;
    return &private_halves[segment][id % SNAKE_SEGMENT_SLOTS];
}
