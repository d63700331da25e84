/* A thread without a Python state that looks after what must not wait for the GIL: a hot WSGI
 * thread or a loop at the gate that is stuck, and finished answers whose announcement was put off.
 * It sleeps while there is nothing to monitor_look after. */
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

static bool monitor_look(uint64_t now) {
    bool pool = pool_watch(now), gate = gate_watch(now);
    return pool || gate || ring_is_deferred();
}

static void *watch(void *unused) {
    (void)unused;
    int quiet = 0;
    for (;;) {
        uint64_t now = now_us();
        ring_if_overdue(now);
        quiet = monitor_look(now) ? 0 : quiet + 1;
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
