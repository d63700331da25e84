/* A queue with many producers and one consumer at a time. Producers push with one compare-and-swap;
 * the consumer takes the whole list and reverses it. */
#include "core.h"

void queue_init(queue *q) { q->incoming = &q->own; }

void queue_init_shared(queue *q, snake_generation *app) {
    q->incoming = &segment_first()->down;
    q->app = app;
}

void queue_push(queue *q, snake_slot *slot) {
    uint32_t head = __atomic_load_n(q->incoming, __ATOMIC_RELAXED);
    do
        slot->wire->next_down = head;
    while (!__atomic_compare_exchange_n(q->incoming, &head, slot->id + 1, true, __ATOMIC_SEQ_CST,
                                        __ATOMIC_RELAXED));
}

/* Caddy has pushed a slot from its own process: it may be a new request. */
static void receive(queue *q, snake_slot *slot) {
    if (!(__atomic_load_n(&slot->wire->to_py, __ATOMIC_ACQUIRE) & SNAKE_TO_PY_NEW))
        return;
    slot_open(slot, q->app);
    __atomic_fetch_add(&q->app->inflight, 1, __ATOMIC_RELAXED);
    if (q->app->kind == APP_WSGI) /* its threads wait on the slot, and get no events */
        __atomic_fetch_and(&slot->wire->to_py, ~(uint32_t)SNAKE_TO_PY_NEW, __ATOMIC_ACQ_REL);
}

void queue_return(queue *q, snake_slot *slot) {
    slot->next = q->pending;
    __atomic_store_n(&q->pending, slot, __ATOMIC_SEQ_CST);
}

snake_slot *queue_pop(queue *q) {
    if (!q->pending) {
        uint32_t link = __atomic_exchange_n(q->incoming, 0, __ATOMIC_ACQUIRE);
        for (snake_slot *slot; link && (slot = slot_at(link - 1));) {
            link = slot->wire->next_down;
            if (q->app)
                receive(q, slot);
            slot->next = q->pending;
            __atomic_store_n(&q->pending, slot, __ATOMIC_RELAXED);
        }
    }
    snake_slot *slot = q->pending;
    if (slot)
        __atomic_store_n(&q->pending, slot->next, __ATOMIC_RELAXED);
    return slot;
}
