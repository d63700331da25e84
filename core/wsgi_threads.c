/* The WSGI threads, as the watchdog sees them. Every function here needs the GIL. */
#include "wsgi_pool.h"
#include <stdlib.h>

static wsgi_thread *newest; /* head of the list of all threads */
static uint64_t last_serial;

void wsgi_thread_begin(wsgi_thread *w, snake_slot *slot) {
    w->serial = ++last_serial;
    w->since = now_us();
    w->slot = slot;
    w->app = slot->app;
    slot->owner = w;
}

/* Whether Go has answered the request itself. The owner check is needed because the slot may
 * already serve another request, if the app has completed its response and is still in close(). */
static bool has_timed_out(const wsgi_thread *w) {
    return w->slot->owner == w && slot_gone(w->slot) == SNAKE_TIMED_OUT;
}

void wsgi_thread_end(core *st, wsgi_thread *w) {
    w->since = 0;
    w->slot = NULL;
    w->app = NULL;
    if (w->interrupted) { /* the exception must not hit the next request */
        w->interrupted = false;
        wsgi_thread_settle(st);
    }
}

/* wsgi_running() -> [(thread, app, serial, seconds, timed out)] */
PyObject *wsgi_threads_running(PyObject *module, PyObject *ignored) {
    (void)module;
    (void)ignored;
    PyObject *list = PyList_New(0);
    uint64_t now = now_us();
    for (wsgi_thread *w = newest; list && w; w = w->older) {
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

/* wsgi_requests() -> [(app, slot, serial of the slot's request, thread)]; slot -1: the response is
 * complete, and the app runs on */
PyObject *wsgi_threads_requests(PyObject *module, PyObject *ignored) {
    (void)module;
    (void)ignored;
    PyObject *list = PyList_New(0);
    for (wsgi_thread *w = newest; list && w; w = w->older) {
        if (!w->since)
            continue;
        bool has_slot = w->slot->owner == w;
        PyObject *entry = Py_BuildValue("IlIk", w->app->id, has_slot ? (long)w->slot->id : -1L,
                                        has_slot ? w->slot->wire->serial : 0, w->thread);
        if (!entry || PyList_Append(list, entry) < 0)
            Py_CLEAR(list);
        Py_XDECREF(entry);
    }
    return list;
}

/* wsgi_interrupt(thread, serial, exception) -> bool */
PyObject *wsgi_thread_interrupt(PyObject *module, PyObject *args) {
    (void)module;
    unsigned long thread;
    unsigned long long serial;
    PyObject *exception;
    if (!PyArg_ParseTuple(args, "kKO:wsgi_interrupt", &thread, &serial, &exception))
        return NULL;
    wsgi_thread *w = newest;
    while (w && (w->thread != thread || w->serial != serial || !w->since || w->interrupted))
        w = w->older;
    if (!w)
        Py_RETURN_FALSE;
    w->interrupted = true;
    PyThreadState_SetAsyncExc(thread, exception);
    Py_RETURN_TRUE;
}

wsgi_thread *wsgi_thread_new(core *st) {
    wsgi_thread *w = calloc(1, sizeof *w);
    if (!w)
        return (wsgi_thread *)PyErr_NoMemory();
    if (!(w->cache = header_cache_new(st)))
        PyErr_NoMemory();
    if (!w->cache || !wsgi_thread_state_take(st, &w->state)) {
        wsgi_thread_state_drop(&w->state);
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

void wsgi_thread_free(core *st, wsgi_thread *w) {
    if (w->newer)
        w->newer->older = w->older;
    else
        newest = w->older;
    if (w->older)
        w->older->newer = w->newer;
    wsgi_thread_state_drop(&w->state);
    header_cache_free(st, w->cache);
    free(w);
}
