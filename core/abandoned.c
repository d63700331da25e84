/* Counts the requests of a connection that still run after their client left (docs/decisions/0054).
 * Any thread, no GIL. */
#include "core.h"
#include <stdlib.h>

uint32_t snake_abandoned_total;

snake_abandoned *snake_abandoned_new(void) { return calloc(1, sizeof(snake_abandoned)); }

void snake_abandoned_free(snake_abandoned *counter) { free(counter); }

void snake_abandoned_begin(snake_abandoned *counter) {
    __atomic_fetch_add(&counter->running, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&snake_abandoned_total, 1, __ATOMIC_RELAXED);
}

void snake_abandoned_end(snake_abandoned *counter) {
    __atomic_fetch_sub(&snake_abandoned_total, 1, __ATOMIC_RELAXED);
    __atomic_fetch_sub(&counter->running, 1, __ATOMIC_RELEASE);
}
