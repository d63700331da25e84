/* open() for applications. If the path is a descriptor, it may be the server's, which closing the
 * file would close; guards.py handles that case. Other calls go to the original without a Python
 * frame, which would otherwise end each traceback of a FileNotFoundError. */
#include "core.h"

/* Indexes of the function's tuple. */
enum { OPEN_ORIGINAL, OPEN_OF_DESCRIPTOR, OPEN_KNOWN };

static PyObject *guarded_open(PyObject *known, PyObject *args, PyObject *kwargs) {
    PyObject *file = PyTuple_Size(args) > 0 ? PyTuple_GetItem(args, 0)
                     : kwargs               ? PyDict_GetItemString(kwargs, "file")
                                            : NULL; /* borrowed */
    bool is_descriptor = file && PyLong_Check(file);
    return PyObject_Call(PyTuple_GetItem(known, is_descriptor ? OPEN_OF_DESCRIPTOR : OPEN_ORIGINAL),
                         args, kwargs);
}

static PyMethodDef open_def = {"open", (PyCFunction)(void (*)(void))guarded_open,
                               METH_VARARGS | METH_KEYWORDS, "See io.open."};

PyObject *open_guard(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *known[OPEN_KNOWN];
    if (!PyArg_ParseTuple(args, "OO:open_guard", &known[OPEN_ORIGINAL], &known[OPEN_OF_DESCRIPTOR]))
        return NULL;
    PyObject *name = PyUnicode_FromString("io");
    PyObject *function = name ? PyCFunction_NewEx(&open_def, args, name) : NULL;
    Py_XDECREF(name);
    return function;
}
