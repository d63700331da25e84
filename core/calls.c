/* The functions that Go calls for a request: start, data written or read, client gone. Any thread,
 * no GIL. */
#include "asgi.h"
#include "wsgi.h"
#include <limits.h>

void snake_push(snake_generation *app, uint32_t id) {
    snake_slot *slot = slot_at(id);
    if (!slot)
        return;
    slot_open(slot, app);
    __atomic_fetch_add(&app->inflight, 1, __ATOMIC_RELAXED);
    if (app->kind == APP_ASGI) {
        slot->wire->to_py = SNAKE_TO_PY_NEW;
        asgi_push(slot);
    } else {
        wsgi_pool_push(slot);
    }
}

void snake_notify(uint32_t id, uint32_t waits) {
    snake_slot *slot = slot_at(id);
    if (!slot)
        return;
    if (slot->app->kind != APP_ASGI) {
        futex_wake_shared(&slot->wire->waits, INT_MAX);
        return;
    }
    uint32_t gone = slot_gone(slot), events = waits & SNAKE_WAIT_IN ? SNAKE_TO_PY_IN : 0;
    if (waits & SNAKE_WAIT_ROOM)
        events |= SNAKE_TO_PY_ROOM;
    if (waits & SNAKE_IDLE)
        events |= SNAKE_TO_PY_IDLE;
    if (__atomic_exchange_n(&slot->told_gone, gone, __ATOMIC_ACQ_REL) != gone)
        events |= SNAKE_TO_PY_GONE;
    if (events)
        asgi_post(slot, events);
}
