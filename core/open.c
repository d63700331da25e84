/* open() for applications. If the path is a descriptor, it may be the server's, which closing the
 * file would close; guards.py handles that case. Other calls go to the original without a Python
 * frame, which would otherwise end each traceback of a FileNotFoundError. The files that they
 * return are made known to descriptor_owners.py. */
#include "core.h"

/* Indexes of the function's tuple. */
enum { OPEN_ORIGINAL, OPEN_OF_DESCRIPTOR, OPEN_ADD_FILE, OPEN_KNOWN };

static PyObject *guarded_open(PyObject *known, PyObject *args, PyObject *kwargs) {
    PyObject *file = PyTuple_Size(args) > 0 ? PyTuple_GetItem(args, 0)
                     : kwargs               ? PyDict_GetItemString(kwargs, "file")
                                            : NULL; /* borrowed */
    bool is_descriptor = file && PyLong_Check(file);
    if (is_descriptor)
        return PyObject_Call(PyTuple_GetItem(known, OPEN_OF_DESCRIPTOR), args, kwargs);
    PyObject *opened = PyObject_Call(PyTuple_GetItem(known, OPEN_ORIGINAL), args, kwargs);
    PyObject *add = PyTuple_GetItem(known, OPEN_ADD_FILE);
    PyObject *added = opened ? PyObject_CallFunctionObjArgs(add, opened, NULL) : NULL;
    if (!added)
        Py_CLEAR(opened);
    Py_XDECREF(added);
    return opened;
}

static PyMethodDef open_def = {"open", (PyCFunction)(void (*)(void))guarded_open,
                               METH_VARARGS | METH_KEYWORDS, "See io.open."};

PyObject *open_guard(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *known[OPEN_KNOWN];
    if (!PyArg_ParseTuple(args, "OOO:open_guard", &known[OPEN_ORIGINAL], &known[OPEN_OF_DESCRIPTOR],
                          &known[OPEN_ADD_FILE]))
        return NULL;
    PyObject *name = PyUnicode_FromString("io");
    PyObject *function = name ? PyCFunction_NewEx(&open_def, args, name) : NULL;
    Py_XDECREF(name);
    return function;
}
