/* How busy the core is, for Caddy's metrics. */
#include "asgi.h"
#include "wsgi.h"

static uint32_t measures;  /* [atomic] snake_measure */
static uint64_t lock_wait; /* [atomic] microseconds */

void snake_measure(int on) { __atomic_store_n(&measures, (uint32_t)on, __ATOMIC_RELAXED); }

uint64_t snake_lock_wait(void) { return __atomic_load_n(&lock_wait, __ATOMIC_RELAXED); }

uint64_t lock_wait_begins(void) {
    return __atomic_load_n(&measures, __ATOMIC_RELAXED) ? now_us() : 0;
}

void lock_wait_ends(uint64_t began) {
    if (began)
        __atomic_fetch_add(&lock_wait, now_us() - began, __ATOMIC_RELAXED);
}

snake_load snake_load_of(snake_generation *app) {
    if (app->kind == APP_WSGI)
        return (snake_load){.running = wsgi_pool_running(app)};
    uint64_t since = __atomic_load_n(&app->probed_at, __ATOMIC_RELAXED), now = now_us();
    return (snake_load){.loop_lag = __atomic_load_n(&app->lag, __ATOMIC_RELAXED),
                        .loop_silent = since && now > since ? now - since : 0};
}
