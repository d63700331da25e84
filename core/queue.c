/* A queue with many producers and one consumer at a time. Producers push with one compare-and-swap;
 * the consumer takes the whole list and reverses it. */
#include "core.h"

void queue_push(queue *q, snake_slot *slot) {
    uint32_t head = __atomic_load_n(&q->incoming, __ATOMIC_RELAXED);
    do
        slot->wire->next_down = head;
    while (!__atomic_compare_exchange_n(&q->incoming, &head, slot->id + 1, true, __ATOMIC_SEQ_CST,
                                        __ATOMIC_RELAXED));
}

snake_slot *queue_pop(queue *q) {
    if (!q->pending) {
        uint32_t link = __atomic_exchange_n(&q->incoming, 0, __ATOMIC_ACQUIRE);
        for (snake_slot *slot; link && (slot = slot_at(link - 1));) {
            link = slot->wire->next_down;
            slot->next = q->pending;
            q->pending = slot;
        }
    }
    snake_slot *slot = q->pending;
    if (slot)
        q->pending = slot->next;
    return slot;
}
