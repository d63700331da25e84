/* What the files of the WSGI threads share. */
#ifndef SNAKE_POOL_H
#define SNAKE_POOL_H

#include "core.h"

typedef struct worker {
    struct worker *next; /* among the idle ones */
    uint32_t signal;     /* [atomic] futex: 1 when the worker got the hot role */
    header_cache *cache;
    /* For the watchdog, touched with the GIL. */
    struct worker *newer, *older; /* among all workers */
    unsigned long thread;
    uint64_t serial, since; /* of the request; since is 0 while there is none */
    snake_slot *slot;
    snake_app *app;
    bool interrupted;
    /* Touched by its thread alone. */
    place_returner back;
    bool aside; /* it waits for a client without a place */
} worker;

/* ---- workers.c: all workers, with the GIL */
worker *worker_new(core *st);
void worker_free(core *st, worker *w);
/* What is between the two is the request that the watchdog sees. */
void worker_begin(worker *w, snake_slot *slot);
void worker_end(worker *w);

#endif
