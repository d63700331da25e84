/* The clock and futexes, used by every waiting thread. */
#include "core.h"
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

uint64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static bool wait_on(uint32_t *word, int operation, uint32_t value, uint64_t timeout_us) {
    struct timespec t = {(time_t)(timeout_us / 1000000), (long)(timeout_us % 1000000) * 1000};
    return syscall(SYS_futex, word, operation, value, timeout_us ? &t : NULL, NULL, 0) < 0 &&
           errno == ETIMEDOUT;
}

bool futex_wait(uint32_t *word, uint32_t value, uint64_t timeout_us) {
    return wait_on(word, FUTEX_WAIT_PRIVATE, value, timeout_us);
}

void futex_wake(uint32_t *word, int count) {
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

bool futex_wait_shared(uint32_t *word, uint32_t value, uint64_t timeout_us) {
    return wait_on(word, FUTEX_WAIT, value, timeout_us);
}

void futex_wake_shared(uint32_t *word, int count) {
    syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0);
}
