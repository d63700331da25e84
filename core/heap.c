/* Collects the garbage of an unloaded application without blocking the other applications for long.
 *
 * A full collection stops all threads while it visits every object of every application. A
 * collection of the young generation visits few objects, and untracking and re-tracking an object
 * makes it young. */
#include "core.h"

/* Makes an object young, if the collector tracks it. */
static void make_young(PyObject *item) {
    if (PyObject_GC_IsTracked(item)) {
        PyObject_GC_UnTrack(item);
        PyObject_GC_Track(item);
    }
}

/* collect(list): empties the list and frees the objects that were reachable only from it */
PyObject *heap_collect(PyObject *module, PyObject *list) {
    (void)module;
    PyObject *gc = PyImport_ImportModule("gc"), *freed = NULL;
    Py_ssize_t count = gc ? PyList_Size(list) : -1; /* raises if it is no list */
    for (Py_ssize_t i = 0; i < count; i++)
        make_young(PyList_GetItem(list, i)); /* borrowed */
    /* Dropping the items may run finalizers, which may start a collection; so collect more than the
     * youngest generation. */
    if (count >= 0 && PyList_SetSlice(list, 0, count, NULL) == 0)
        freed = PyObject_CallMethod(gc, "collect", "i", 1);
    Py_XDECREF(gc);
    return freed;
}
