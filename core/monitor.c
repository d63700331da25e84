/* The monitor: a thread without a Python thread state. Its watchers do work that must not wait for
 * the GIL. It sleeps while they have nothing to watch. */
#include "core.h"
#include <pthread.h>
#include <unistd.h>

enum { TICK_US = 1000, QUIET_TICKS = 20 };

static uint32_t monitor_asleep; /* [atomic] futex */

void monitor_wake(void) {
    if (__atomic_load_n(&monitor_asleep, __ATOMIC_SEQ_CST) &&
        __atomic_exchange_n(&monitor_asleep, 0, __ATOMIC_SEQ_CST))
        futex_wake(&monitor_asleep, 1);
}

/* Set before the thread starts. */
static monitor_watcher watchers[3];
static size_t watcher_count;

void monitor_add(monitor_watcher watcher) {
    if (watcher_count < sizeof watchers / sizeof *watchers)
        watchers[watcher_count++] = watcher;
}

/* The last look before sleeping must see what was done before a monitor_wake() that came too early:
 * both sides touch what a watcher looks at by sequentially consistent operations. */
static bool monitor_look(uint64_t now) {
    bool busy = false;
    for (size_t i = 0; i < watcher_count; i++)
        busy |= watchers[i](now);
    return busy;
}

static void *watch(void *unused) {
    (void)unused;
    int quiet = 0;
    for (;;) {
        quiet = monitor_look(now_us()) ? 0 : quiet + 1;
        if (quiet <= QUIET_TICKS) {
            usleep(TICK_US);
            continue;
        }
        __atomic_store_n(&monitor_asleep, 1, __ATOMIC_SEQ_CST);
        if (!monitor_look(now_us()))
            futex_wait(&monitor_asleep, 1, 0);
        __atomic_store_n(&monitor_asleep, 0, __ATOMIC_SEQ_CST);
        quiet = 0;
    }
    return NULL;
}

int monitor_start(void) {
    pthread_t thread;
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes))
        return -1;
    int rc = pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    if (!rc)
        rc = pthread_create(&thread, &attributes, watch, NULL);
    pthread_attr_destroy(&attributes);
    if (!rc)
        pthread_setname_np(thread, "snake-monitor");
    return rc ? -1 : 0;
}
