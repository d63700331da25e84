/* The functions that Go calls for a request: start, data written or read, client gone. Any thread,
 * no GIL. */
#include "asgi.h"
#include "wsgi.h"
#include <limits.h>
#include <stdlib.h>

/* Notifies the consumer of the request: a parked WSGI thread or the app's loop. */
static void notify(snake_slot *slot, uint32_t event, uint32_t *word) {
    if (slot->app && slot->app->kind == APP_ASGI)
        asgi_post(slot, event);
    else
        futex_wake(word, INT_MAX);
}

void snake_ack(snake_slot *slot) {
    if (slot->features & SNAKE_WEBSOCKET) { /* a websocket may be idle for long */
        free(slot->out);
        slot->out = NULL;
        slot->out_cap = 0;
    }
    if (__atomic_exchange_n(&slot->out_state, OUT_FREE, __ATOMIC_ACQ_REL) == OUT_BUSY_WANTED)
        notify(slot, TO_PY_WRITABLE, &slot->out_state);
}

void snake_body_ready(snake_slot *slot) {
    __atomic_store_n(&slot->body_state, SNAKE_CHUNK_READY, __ATOMIC_RELEASE);
    notify(slot, TO_PY_BODY, &slot->body_state);
}

void snake_gone(snake_slot *slot, uint32_t why) {
    __atomic_store_n(&slot->gone, why, __ATOMIC_RELEASE);
    if (slot->app && slot->app->kind == APP_ASGI) {
        asgi_post(slot, TO_PY_GONE);
    } else if (why != SNAKE_STOPPED_SENDING) { /* a WSGI app must stop waiting in both directions */
        __atomic_exchange_n(&slot->out_state, OUT_FREE, __ATOMIC_ACQ_REL);
        futex_wake(&slot->out_state, INT_MAX);
        __atomic_store_n(&slot->body_state, SNAKE_CHUNK_LOST, __ATOMIC_RELEASE);
        futex_wake(&slot->body_state, INT_MAX);
    }
}

void snake_push(snake_generation *app, snake_slot *slot) {
    slot->app = app;
    slot->owner = NULL;
    slot->ticket = 0;
    slot->done_next = NULL;
    slot->to_go = 0;
    slot->gone = 0;
    slot->out_state = OUT_FREE;
    slot->body_state = SNAKE_CHUNK_NONE;
    slot->chunk_end = SNAKE_MORE;
    slot_out_reset(slot);
    if (!app) {
        slot->to_py = 0;
        command_push(slot);
        return;
    }
    __atomic_fetch_add(&app->inflight, 1, __ATOMIC_RELAXED);
    if (app->kind == APP_ASGI) {
        slot->to_py = TO_PY_NEW;
        asgi_push(slot);
    } else {
        slot->to_py = 0;
        wsgi_pool_push(slot);
    }
}
