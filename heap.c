/* A look at all objects of the process that disturbs nobody.
 *
 * gc.get_objects() tells of tuples that C code is still filling, too. While another thread may run,
 * a reference to such a one makes that code fail: a tuple with two owners is not resized any more.
 */
#include "core.h"

/* instances_of(type) -> list of the objects of exactly this type */
PyObject *heap_instances_of(PyObject *module, PyObject *type) {
    (void)module;
    PyObject *gc = PyImport_ImportModule("gc"), *all = NULL;
    PyObject *found = gc ? PyList_New(0) : NULL; /* first: it may collect garbage */
    /* From here until all is gone, nothing lets another thread run. */
    if (found)
        all = PyObject_CallMethod(gc, "get_objects", NULL);
    Py_ssize_t count = all ? PyList_Size(all) : 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *item = PyList_GetItem(all, i); /* borrowed */
        if ((PyObject *)Py_TYPE(item) == type && PyList_Append(found, item) < 0) {
            Py_CLEAR(all);
            break;
        }
    }
    if (!all)
        Py_CLEAR(found);
    Py_XDECREF(all);
    Py_XDECREF(gc);
    return found;
}
