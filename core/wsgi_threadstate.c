/* Cleans up the state that an app may leave on a WSGI thread, before the thread's next request.
 *
 * After each request: trace and profile functions, the running event loop, and the attributes of
 * threading.current_thread(). Before a request of another app: hooks of asynchronous generators and
 * coroutines, and an exception that was sent to the thread. System state (priority, CPU affinity …)
 * is restored only after a call that changes it; a thread that can't be restored ends. view_local.c
 * handles threading.local (docs/decisions/0052). */
#include "wsgi_pool.h"

enum { CLEAN, TOUCHED, SPOILED };
static __thread int condition;

/* wsgi_thread_touched(spoiled): the app changed system state of the current thread, such as its
 * priority; spoiled: in a way that can't be undone. */
PyObject *wsgi_thread_touched(PyObject *module, PyObject *spoiled) {
    (void)module;
    int is_spoiled = PyObject_IsTrue(spoiled);
    if (is_spoiled < 0)
        return NULL;
    if (is_spoiled || condition == SPOILED)
        condition = SPOILED;
    else
        condition = TOUCHED;
    Py_RETURN_NONE;
}

/* ---- functions that sys keeps for each thread */

static bool call(PyObject *function, PyObject *argument) {
    PyObject *done = PyObject_CallFunctionObjArgs(function, argument, NULL);
    Py_XDECREF(done);
    return done != NULL;
}

/* The function that get() returns; NULL for None. New reference. */
static bool current_function(PyObject *get, PyObject **function) {
    *function = PyObject_CallNoArgs(get);
    if (*function == Py_None)
        Py_CLEAR(*function);
    return !PyErr_Occurred();
}

/* Restores the earlier function, unless it is still set. */
static bool put_back(PyObject *get, PyObject *set, PyObject *before) {
    PyObject *now;
    bool ok =
        current_function(get, &now) && (now == before || call(set, before ? before : Py_None));
    Py_XDECREF(now);
    return ok;
}

static bool leave_loop(core *st) {
    PyObject *running;
    bool ok = current_function(st->get_running_loop, &running) &&
              (!running || call(st->set_running_loop, Py_None));
    Py_XDECREF(running);
    return ok;
}

/* Not PyThreadState_SetAsyncExc with NULL: Python would check for an exception at every step, and
 * traced code of 3.11 would hang. */
void wsgi_thread_settle(core *st) {
    PyObject *settled = PyObject_CallNoArgs(st->hooks[HOOK_SETTLE]);
    Py_XDECREF(settled);
    PyErr_Clear();
}

static bool forget_hooks(core *st) {
    PyObject *depth = PyLong_FromLong(0);
    bool ok = depth && call(st->set_origin_depth, depth);
    Py_XDECREF(depth);
    PyObject *none = PyObject_CallFunctionObjArgs(st->set_asyncgen_hooks, Py_None, Py_None, NULL);
    Py_XDECREF(none);
    ok = ok && none && put_back(st->gettrace, st->settrace, NULL) &&
         put_back(st->getprofile, st->setprofile, NULL);
    wsgi_thread_settle(st);
    return ok;
}

/* ---- threading.current_thread() */

/* Whether two dicts have the same objects in the same order. */
static bool is_same(PyObject *one, PyObject *other) {
    Py_ssize_t i = 0, j = 0;
    PyObject *key, *value, *other_key, *other_value;
    while (PyDict_Next(one, &i, &key, &value)) {
        if (!PyDict_Next(other, &j, &other_key, &other_value) || key != other_key ||
            value != other_value)
            return false;
    }
    return !PyDict_Next(other, &j, &other_key, &other_value);
}

static bool restore_attributes(core *st, wsgi_thread_state *state) {
    PyObject *thread = state->thread;
    if (Py_TYPE(thread) != state->type &&
        PyObject_SetAttrString(thread, "__class__", (PyObject *)state->type) < 0)
        return false;
    PyObject *now = PyObject_GenericGetAttr(thread, st->s___dict__);
    bool ok = now != NULL;
    if (ok && now != state->attributes)
        ok = PyObject_GenericSetAttr(thread, st->s___dict__, state->attributes) == 0;
    Py_XDECREF(now);
    if (!ok || is_same(state->attributes, state->saved))
        return ok;
    /* Dropping the old values may run code that changes the attributes again. */
    PyObject *dropped = PyDict_Copy(state->attributes);
    PyDict_Clear(state->attributes);
    ok = dropped && PyDict_Update(state->attributes, state->saved) == 0;
    Py_XDECREF(dropped);
    return ok && is_same(state->attributes, state->saved);
}

/* ---- the system's state of the thread */

static bool restore_system(core *st, wsgi_thread_state *state) {
    if (condition == CLEAN)
        return true;
    if (condition == SPOILED)
        return false;
    condition = CLEAN;
    PyObject *restored = PyObject_CallFunctionObjArgs(st->hooks[HOOK_RESTORE], state->system, NULL);
    bool ok = restored == Py_True;
    Py_XDECREF(restored);
    return ok;
}

/* ---- a request */

bool wsgi_thread_state_take(core *st, wsgi_thread_state *state) {
    PyObject *current = PyObject_CallNoArgs(st->current_thread);
    *state = (wsgi_thread_state){.thread = current};
    if (!current)
        return false;
    state->type = (PyTypeObject *)Py_NewRef((PyObject *)Py_TYPE(current));
    state->attributes = PyObject_GenericGetAttr(current, st->s___dict__);
    state->saved = state->attributes ? PyDict_Copy(state->attributes) : NULL;
    state->system = PyObject_CallNoArgs(st->hooks[HOOK_SYSTEM]);
    return state->saved && state->system;
}

void wsgi_thread_state_drop(wsgi_thread_state *state) {
    Py_CLEAR(state->thread);
    Py_CLEAR(state->type);
    Py_CLEAR(state->attributes);
    Py_CLEAR(state->saved);
    Py_CLEAR(state->system);
    Py_CLEAR(state->trace);
    Py_CLEAR(state->profile);
}

bool wsgi_thread_enter(core *st, wsgi_thread *w, uint32_t app) {
    wsgi_thread_state *state = &w->state;
    bool ok = state->app == app || !state->app || forget_hooks(st);
    state->app = app;
    return ok && current_function(st->gettrace, &state->trace) &&
           current_function(st->getprofile, &state->profile);
}

bool wsgi_thread_leave(core *st, wsgi_thread *w) {
    wsgi_thread_state *state = &w->state;
    bool ok = put_back(st->gettrace, st->settrace, state->trace) &&
              put_back(st->getprofile, st->setprofile, state->profile) && leave_loop(st) &&
              restore_attributes(st, state) && restore_system(st, state);
    Py_CLEAR(state->trace);
    Py_CLEAR(state->profile);
    PyErr_Clear(); /* the thread ends after a failure */
    return ok;
}
