/* Places: how many requests of a WSGI app run at once (its `threads`).
 *
 * A request holds a place while its Python code runs. A thread that waits for its client gives its
 * place to another request, and asks for a place again before it continues, behind earlier waiters.
 * An app with one thread may rely on strict order, so its thread keeps the place
 * (docs/decisions/0051).
 *
 * The caller of every function here holds the pool's mutex. */
#include "wsgi.h"

/* The number of threads of an app that may wait for their clients without a place. */
enum { ASIDE_AT_MOST = 256 };

static uint32_t last_ticket;

static uint32_t next_ticket(void) {
    if (!++last_ticket)
        last_ticket = 1;
    return last_ticket;
}

uint32_t wsgi_places_open(snake_generation *app, uint32_t threads) {
    app->threads = threads;
    app->aside_limit = threads > 1 ? ASIDE_AT_MOST : 0;
    return threads + app->aside_limit;
}

bool wsgi_place_take(snake_generation *app, snake_slot *slot) {
    if (slot->ticket) /* it has waited, and received the place of a finished request */
        return true;
    if (app->running < app->threads) {
        app->running++;
        return true;
    }
    slot->ticket = next_ticket();
    slot->next = NULL;
    if (app->deferred_last)
        app->deferred_last->next = slot;
    else
        app->deferred_first = slot;
    app->deferred_last = slot;
    return false;
}

static void admit_returner(snake_generation *app) {
    wsgi_place_returner *first = app->returners_first;
    app->returners_first = first->next;
    if (!first->next)
        app->returners_last = NULL;
    app->aside--;
    __atomic_store_n(&first->signal, 1, __ATOMIC_RELEASE);
    futex_wake(&first->signal, 1);
}

static void admit_request(snake_generation *app, queue *queue) {
    snake_slot *slot = app->deferred_first;
    app->deferred_first = slot->next;
    if (!app->deferred_first)
        app->deferred_last = NULL;
    queue_return(queue, slot);
}

void wsgi_place_give(snake_generation *app, queue *queue) {
    snake_slot *slot = app->deferred_first;
    wsgi_place_returner *returner = app->returners_first;
    if (returner && (!slot || (int32_t)(returner->ticket - slot->ticket) < 0))
        admit_returner(app);
    else if (slot)
        admit_request(app, queue);
    else
        app->running--;
}

bool wsgi_place_leave(snake_generation *app, queue *queue) {
    if (app->aside < app->aside_limit) {
        app->aside++;
        wsgi_place_give(app, queue);
        return true;
    }
    if (!app->returners_first)
        return false;
    app->aside++; /* for this thread; admit_returner subtracts the other */
    admit_returner(app);
    return true;
}

bool wsgi_place_ask(snake_generation *app, wsgi_place_returner *returner) {
    if (app->running < app->threads) {
        app->running++;
        app->aside--;
        return true;
    }
    *returner = (wsgi_place_returner){.ticket = next_ticket()};
    if (app->returners_last)
        app->returners_last->next = returner;
    else
        app->returners_first = returner;
    app->returners_last = returner;
    return false;
}
