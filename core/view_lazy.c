/* Lazy imports of CPython 3.15 (PEP 810): the function that `lazy import` calls.
 *
 * The statement calls builtins.__lazy_import__. The resulting placeholder keeps the statement's
 * builtins and calls their __import__ on the thread that uses the name first. The function here
 * replaces the original and passes it other builtins, which lazyimports.py creates. It is written
 * in C because the original checks its Python caller and accepts only the body of a module. */
#include "core.h"

/* Indexes of the function's tuple, the arguments of lazy_importer(). */
enum { LAZY_ORIGINAL, LAZY_PENDING, LAZY_NAMES, LAZY_BEFORE, LAZY_AFTER, LAZY_KNOWN };

/* Empties a dict or a set and returns its contents. New reference. */
static PyObject *take(PyObject *container) {
    if (!PyDict_Check(container)) {
        PyObject *taken = PySet_New(container);
        if (taken && PySet_Clear(container) < 0)
            Py_CLEAR(taken);
        return taken;
    }
    PyObject *taken = PyDict_Copy(container);
    if (taken)
        PyDict_Clear(container);
    return taken;
}

/* __lazy_import__(name, globals=None, locals=None, fromlist=(), level=0) */
static PyObject *lazy_import(PyObject *known, PyObject *args, PyObject *kwargs) {
    static char *keywords[] = {"name", "globals", "locals", "fromlist", "level", NULL};
    PyObject *name, *globals = Py_None, *locals, *fromlist = Py_None;
    int level = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "U|OOOi:__lazy_import__", keywords, &name,
                                     &globals, &locals, &fromlist, &level))
        return NULL;
    if (globals == Py_None)
        globals = PyEval_GetGlobals(); /* borrowed */
    if (!globals) {
        PyErr_SetString(PyExc_TypeError, "__lazy_import__() needs globals");
        return NULL;
    }
    PyObject *pending = NULL, *names = NULL, *done = NULL, *lazy = NULL;
    PyObject *scope =
        PyObject_CallFunction(PyTuple_GetItem(known, LAZY_BEFORE), "OOi", name, globals, level);
    if (scope)
        lazy = PyObject_CallFunction(PyTuple_GetItem(known, LAZY_ORIGINAL), "OOOOi", name, scope,
                                     scope, fromlist, level);
    /* Take these at once: everyone can see the containers in which the original records it. */
    if (lazy && (pending = take(PyTuple_GetItem(known, LAZY_PENDING))) &&
        (names = take(PyTuple_GetItem(known, LAZY_NAMES))))
        done =
            PyObject_CallFunctionObjArgs(PyTuple_GetItem(known, LAZY_AFTER), pending, names, NULL);
    if (!done)
        Py_CLEAR(lazy);
    Py_XDECREF(done);
    Py_XDECREF(names);
    Py_XDECREF(pending);
    Py_XDECREF(scope);
    return lazy;
}

static PyMethodDef lazy_def = {"__lazy_import__", (PyCFunction)(void (*)(void))lazy_import,
                               METH_VARARGS | METH_KEYWORDS, "See builtins.__lazy_import__."};

PyObject *lazy_importer(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *known[LAZY_KNOWN];
    if (!PyArg_ParseTuple(args, "OO!O!OO:lazy_importer", &known[LAZY_ORIGINAL], &PyDict_Type,
                          &known[LAZY_PENDING], &PySet_Type, &known[LAZY_NAMES],
                          &known[LAZY_BEFORE], &known[LAZY_AFTER]))
        return NULL;
    PyObject *self = PyTuple_GetSlice(args, 0, LAZY_KNOWN);
    PyObject *function = self ? PyCFunction_NewEx(&lazy_def, self, NULL) : NULL;
    Py_XDECREF(self);
    return function;
}
