/* Determines the app whose code the current thread runs.
 *
 * For a thread that C code has created and that calls back into Python, the app is unknown. A hook
 * of caddysnake_py finds it from the callback's frames, each time it is needed. The thread belongs
 * to that app until the callback ends; as a rule, its thread state ends then too. */
#include "view.h"

__thread uint32_t current_app;
__thread snake_view *current_view;

uint32_t view_app(const snake_view *view) { return view->app; }

/* ---- threads that C code has made */

__thread bool view_is_known;
__thread snake_view *view_adopted;

/* Called when a thread state is cleared. After a fork, a thread also clears the states of other
 * threads. */
static void on_end(PyObject *capsule) {
    if (PyCapsule_GetPointer(capsule, NULL) != &view_adopted)
        return;
    bool is_current = view_adopted && view_adopted == current_view;
    view_adopted = NULL;
    if (is_current)
        view_leave();
}

/* Stores a capsule that lives as long as the thread state. -1 with an exception. */
static int watch_end(void) {
    PyObject *dict = PyThreadState_GetDict(); /* borrowed */
    PyObject *capsule = dict ? PyCapsule_New(&view_adopted, NULL, on_end) : NULL;
    if (!capsule) {
        if (!PyErr_Occurred())
            PyErr_NoMemory();
        return -1;
    }
    int rc = PyDict_SetItemString(dict, "caddysnake", capsule);
    Py_DECREF(capsule);
    return rc;
}

/* Makes the found view current. -1 with an exception. */
static int adopt(core *st, PyObject *found) {
    if (found == Py_NotImplemented) {
        view_is_known = true;
        return 0;
    }
    if (found != Py_None && !PyObject_TypeCheck(found, st->view_type)) {
        PyErr_SetString(PyExc_TypeError, "a View, None or NotImplemented is needed");
        return -1;
    }
    snake_view *view = found == Py_None ? NULL : (snake_view *)found;
    if (view == view_adopted)
        return 0;
    if (view && watch_end() < 0) /* the earlier capsule's destructor has reset the view */
        return -1;
    view_adopted = NULL;
    view_leave();
    if (view)
        view_enter(view, view_app(view));
    view_adopted = view;
    return 0;
}

void view_ask(core *st) {
    static __thread bool is_asking;
    if (is_asking || !st || !st->hooks[HOOK_OWNER])
        return;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyObject *hook = Py_NewRef(st->hooks[HOOK_OWNER]);
    is_asking = true;
    PyObject *found = PyObject_CallNoArgs(hook);
    if (!found || adopt(st, found) < 0)
        PyErr_WriteUnraisable(hook);
    is_asking = false;
    Py_XDECREF(found);
    Py_DECREF(hook);
    PyErr_Restore(type, value, traceback);
}
