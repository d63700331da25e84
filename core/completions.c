/* Completions: the list of slots with news for Go. Go takes the whole list when an eventfd wakes
 * its netpoller, so that a Python thread never enters Go's runtime (docs/decisions/0002). */
#include "core.h"
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Lives as long as the process. The list itself is in the first segment. */
static struct {
    int fd;
    uint64_t deferred_since; /* [atomic] µs; 0: no announcement is deferred */
} completions = {.fd = -1};

enum { LATE_US = 500 };

int completions_init(void) {
    completions.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return completions.fd < 0 ? -1 : 0;
}

void completions_use(int fd) { completions.fd = fd; }

int snake_completions(void) { return completions.fd; }

/* Go polls edge-triggered and never reads the eventfd: each write wakes Go; the value does not
 * matter. */
void write_eventfd(int fd) {
    uint64_t one = 1;
    while (write(fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

void completions_add(snake_slot *slot, uint32_t events) {
    snake_wire *wire = slot->wire;
    if (__atomic_fetch_or(&wire->to_go, events, __ATOMIC_ACQ_REL))
        return; /* still listed: Go takes all events of a slot at once */
    uint32_t *up = &segment_first()->up, head = __atomic_load_n(up, __ATOMIC_RELAXED);
    do
        wire->next_up = head;
    while (!__atomic_compare_exchange_n(up, &head, slot->id + 1, true, __ATOMIC_SEQ_CST,
                                        __ATOMIC_RELAXED));
}

void completions_announce(void) {
    snake_segment *segment = segment_first();
    __atomic_store_n(&completions.deferred_since, 0, __ATOMIC_SEQ_CST);
    if (segment && __atomic_load_n(&segment->up, __ATOMIC_SEQ_CST) &&
        !__atomic_exchange_n(&segment->rung, 1, __ATOMIC_SEQ_CST))
        write_eventfd(completions.fd);
}

void completions_announce_later(void) {
    uint64_t never = 0;
    if (__atomic_compare_exchange_n(&completions.deferred_since, &never, now_us(), false,
                                    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        monitor_wake();
}

bool completions_watch(uint64_t now) {
    uint64_t since = __atomic_load_n(&completions.deferred_since, __ATOMIC_SEQ_CST);
    if (since && now > since + LATE_US) {
        completions_announce();
        return false;
    }
    return since != 0;
}
