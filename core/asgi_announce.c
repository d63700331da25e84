/* When Go hears of what a loop's round has listed: once, as late as nobody waits for it. On the
 * loop's thread, except asgi_announce. */
#include "asgi.h"

enum { ASGI_BATCH = 16 };

/* With others at the gate, they have Go woken once for all. */
void asgi_announce_round(void) {
    static uint32_t rounds; /* [atomic] that Go has not been told about */
    if (asgi_gate_is_crowded() && __atomic_add_fetch(&rounds, 1, __ATOMIC_RELAXED) < ASGI_BATCH) {
        completions_announce_later();
    } else {
        __atomic_store_n(&rounds, 0, __ATOMIC_RELAXED);
        completions_announce();
    }
}

void asgi_end_round(snake_generation *app) {
    app->announced = false;
    asgi_announce_round();
    if (app->round_began)
        asgi_gate_leave(app, app->round_began);
    app->round_began = 0;
}

/* Has asgi_flush called once the steps that are due now have been taken. */
bool asgi_flush_soon(snake_generation *app) {
    if (!app->flush_soon) {
        PyObject *handle = PyObject_CallFunctionObjArgs(app->call_soon, app->flush, NULL);
        app->flush_soon = handle != NULL;
        if (!handle) /* the loop is closed */
            PyErr_Clear();
        Py_XDECREF(handle);
    }
    return app->flush_soon;
}

void asgi_go_on(snake_generation *app) {
    if (app->announced)
        asgi_announce_round();
    app->announced = false;
}

void asgi_announce(snake_generation *app) {
    app->announced = true;
    if (PyThread_get_thread_ident() != app->thread) {
        completions_announce(); /* the loop is another thread's, and not to be called from here */
        return;
    }
    if (app->draining || app->flush_soon)
        return;
    if (app->selects || asgi_flush_soon(app))
        completions_announce_later();
    else
        completions_announce();
}

PyObject *asgi_flush(PyObject *object, PyObject *ignored) {
    (void)ignored;
    ((snake_generation *)object)->flush_soon = false;
    asgi_end_round((snake_generation *)object);
    Py_RETURN_NONE;
}
