//go:build pyext

/* The Python side of the extension module _caddy: one function, main(argv, python, worker). */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030A0000
#include <Python.h>
#include <stdlib.h>
#include <string.h>

#include "_cgo_export.h"

static void free_argv(char **argv) {
    for (size_t i = 0; argv && argv[i]; i++)
        free(argv[i]);
    free(argv);
}

/* A NULL-terminated copy of a list of str; NULL with an exception. */
static char **copy_argv(PyObject *list, Py_ssize_t count) {
    char **argv = calloc((size_t)count + 1, sizeof *argv);
    if (!argv)
        return (char **)PyErr_NoMemory();
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *item = PyList_GetItem(list, i); /* borrowed */
        PyObject *bytes = item ? PyUnicode_EncodeFSDefault(item) : NULL;
        char *text = bytes ? PyBytes_AsString(bytes) : NULL;
        argv[i] = text ? strdup(text) : NULL;
        Py_XDECREF(bytes);
        if (!argv[i]) {
            if (!PyErr_Occurred())
                PyErr_NoMemory();
            free_argv(argv);
            return NULL;
        }
    }
    return argv;
}

/* main(argv: list[str], python: str, worker: str): runs Caddy's command line on this thread and
 * ends the process. `caddy start` executes argv[0] again. python is the interpreter of workers, and
 * worker the path of their module. */
static PyObject *caddy_main(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *list, *python = NULL, *worker = NULL, *result = NULL;
    if (!PyArg_ParseTuple(args, "O!O&O&:main", &PyList_Type, &list, PyUnicode_FSConverter, &python,
                          PyUnicode_FSConverter, &worker))
        goto out;
    Py_ssize_t count = PyList_Size(list);
    /* threading treats the thread that imports it first as the main thread. */
    PyObject *threading = PyImport_ImportModule("threading");
    if (!threading)
        goto out;
    Py_DECREF(threading);
    char **argv = copy_argv(list, count);
    char *python_path = argv ? PyBytes_AsString(python) : NULL;
    char *worker_path = python_path ? PyBytes_AsString(worker) : NULL;
    if (worker_path) {
        Py_BEGIN_ALLOW_THREADS;
        go_snake_main((int)count, argv, python_path, worker_path);
        Py_END_ALLOW_THREADS;
        result = Py_None;
        Py_INCREF(result);
    }
    free_argv(argv);
out:
    Py_XDECREF(python);
    Py_XDECREF(worker);
    return result;
}

static PyMethodDef methods[] = {
    {"main", caddy_main, METH_VARARGS,
     "main(argv: list[str], python: str, worker: str): runs Caddy's command line."},
    {NULL, NULL, 0, NULL},
};
static PyModuleDef_Slot slots[] = {{0, NULL}};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_caddy", .m_doc = "Caddy, inside this Python.",
    .m_methods = methods,  .m_slots = slots,
};

PyMODINIT_FUNC PyInit__caddy(void) { return PyModuleDef_Init(&definition); }
