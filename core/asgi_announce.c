/* Decides when to announce the completions of a loop's round: once, as late as possible without
 * delaying a client. On the loop's thread, except asgi_announce. */
#include "asgi.h"

enum { ASGI_BATCH = 16 };

/* While other apps wait at the gate, wake Go once per batch of rounds. */
void asgi_announce_round(void) {
    static uint32_t rounds; /* [atomic] rounds not announced yet */
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

/* Schedules asgi_flush after the callbacks that are due now. */
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
        completions_announce(); /* another thread runs the loop: don't call it from here */
        return;
    }
    if (app->draining || app->flush_soon) {
        completions_announce_later(); /* should the app block its loop first */
        return;
    }
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
