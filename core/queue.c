/* A queue with many producers and one consumer at a time. Producers push with one compare-and-swap;
 * the consumer takes the whole list and reverses it. */
#include "core.h"

void queue_push(queue *q, snake_slot *slot) {
    snake_slot *head = __atomic_load_n(&q->incoming, __ATOMIC_RELAXED);
    do
        slot->queue_next = head;
    while (!__atomic_compare_exchange_n(&q->incoming, &head, slot, true, __ATOMIC_SEQ_CST,
                                        __ATOMIC_RELAXED));
}

snake_slot *queue_pop(queue *q) {
    if (!q->pending) {
        snake_slot *slot = __atomic_exchange_n(&q->incoming, NULL, __ATOMIC_ACQUIRE);
        while (slot) {
            snake_slot *next = slot->queue_next;
            slot->queue_next = q->pending;
            q->pending = slot;
            slot = next;
        }
    }
    snake_slot *slot = q->pending;
    if (slot)
        q->pending = slot->queue_next;
    return slot;
}
