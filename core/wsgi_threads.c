/* The WSGI threads as the watchdog sees them. Everything here needs the GIL. */
#include "wsgi_pool.h"
#include <stdlib.h>

static worker *newest; /* of all */
static uint64_t last_serial;

void worker_begin(worker *w, snake_slot *slot) {
    w->serial = ++last_serial;
    w->since = now_us();
    w->slot = slot;
    w->app = slot->app;
    slot->owner = w;
}

/* Go has answered the request itself. Its slot may serve another one already, if the app has
 * completed its response and is still in close(). */
static bool has_timed_out(const worker *w) {
    return w->slot->owner == w && slot_gone(w->slot) == SNAKE_TIMED_OUT;
}

void worker_end(core *st, worker *w) {
    w->since = 0;
    w->slot = NULL;
    w->app = NULL;
    if (w->interrupted) { /* it must not hit the next request */
        w->interrupted = false;
        thread_settle(st);
    }
}

/* wsgi_running() -> [(thread, app, serial, seconds, timed out)] */
PyObject *pool_running(PyObject *module, PyObject *ignored) {
    (void)module;
    (void)ignored;
    PyObject *list = PyList_New(0);
    uint64_t now = now_us();
    for (worker *w = newest; list && w; w = w->older) {
        if (!w->since)
            continue;
        PyObject *entry =
            Py_BuildValue("kIKdO", w->thread, w->app->id, (unsigned long long)w->serial,
                          (double)(now - w->since) / 1e6, has_timed_out(w) ? Py_True : Py_False);
        if (!entry || PyList_Append(list, entry) < 0)
            Py_CLEAR(list);
        Py_XDECREF(entry);
    }
    return list;
}

/* wsgi_interrupt(thread, serial, exception) -> bool */
PyObject *pool_interrupt(PyObject *module, PyObject *args) {
    (void)module;
    unsigned long thread;
    unsigned long long serial;
    PyObject *exception;
    if (!PyArg_ParseTuple(args, "kKO:wsgi_interrupt", &thread, &serial, &exception))
        return NULL;
    worker *w = newest;
    while (w && (w->thread != thread || w->serial != serial || !w->since || w->interrupted))
        w = w->older;
    if (!w)
        Py_RETURN_FALSE;
    w->interrupted = true;
    PyThreadState_SetAsyncExc(thread, exception);
    Py_RETURN_TRUE;
}

worker *worker_new(core *st) {
    worker *w = calloc(1, sizeof *w);
    if (!w)
        return (worker *)PyErr_NoMemory();
    if (!(w->cache = header_cache_new(st)))
        PyErr_NoMemory();
    if (!w->cache || !thread_state_take(st, &w->state)) {
        thread_state_drop(&w->state);
        header_cache_free(st, w->cache);
        free(w);
        return NULL;
    }
    w->thread = PyThread_get_thread_ident();
    w->older = newest;
    if (w->older)
        w->older->newer = w;
    newest = w;
    return w;
}

void worker_free(core *st, worker *w) {
    if (w->newer)
        w->newer->older = w->older;
    else
        newest = w->older;
    if (w->older)
        w->older->newer = w->newer;
    thread_state_drop(&w->state);
    header_cache_free(st, w->cache);
    free(w);
}
