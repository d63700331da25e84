/* The extension module _worker of the wheel: a worker process without Go. A Python that Caddy has
 * started imports it and calls its one function. */
#include "../../worker_start.h"
#include <stdlib.h>

/* run(control: int): runs the worker, and ends the process. */
static PyObject *run(PyObject *module, PyObject *number) {
    (void)module;
    int control = (int)PyLong_AsLong(number);
    if (PyErr_Occurred())
        return NULL;
    const char *problem = worker_control_problem(control);
    if (problem) {
        PyErr_Format(PyExc_ValueError, "descriptor %d: %s; only Caddy calls this", control,
                     problem);
        return NULL;
    }
    snake_options options;
    int code = worker_prepare(control, &options);
    exit(code >= 0 ? code : snake_work(&options, control));
}

static PyMethodDef methods[] = {
    {"run", run, METH_O, "run(control: int): runs a worker of Caddy."},
    {NULL, NULL, 0, NULL},
};
static PyModuleDef_Slot slots[] = {{0, NULL}};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_worker", .m_doc = "A worker process of Caddy.",
    .m_methods = methods,  .m_slots = slots,
};

PyMODINIT_FUNC PyInit__worker(void) { return PyModuleDef_Init(&definition); }
