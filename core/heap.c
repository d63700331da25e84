/* Garbage collection where an application is let go, without holding the others up.
 *
 * A full collection stops all threads for as long as it takes to look at every object of every
 * application. A young one looks at few, and objects that are tracked anew are young (collect).
 */
#include "core.h"

/* Makes an object young, if it is one that a collection looks at. */
static void make_young(PyObject *item) {
    if (PyObject_GC_IsTracked(item)) {
        PyObject_GC_UnTrack(item);
        PyObject_GC_Track(item);
    }
}

/* collect(list): empties the list, and frees what of it was reachable from there alone */
PyObject *heap_collect(PyObject *module, PyObject *list) {
    (void)module;
    PyObject *gc = PyImport_ImportModule("gc"), *freed = NULL;
    Py_ssize_t count = gc ? PyList_Size(list) : -1; /* raises if it is no list */
    for (Py_ssize_t i = 0; i < count; i++)
        make_young(PyList_GetItem(list, i)); /* borrowed */
    /* What goes with the list may run finalizers, and these a collection: hence not only the
     * youngest generation. */
    if (count >= 0 && PyList_SetSlice(list, 0, count, NULL) == 0)
        freed = PyObject_CallMethod(gc, "collect", "i", 1);
    Py_XDECREF(gc);
    return freed;
}
