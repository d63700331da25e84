/* The start of the core in a worker process. */
#include "worker.h"
#include "wsgi.h"

/* attach(control, segment, down, up): the descriptors of the control socket, of the first segment
 * and of the eventfds. */
PyObject *worker_attach(PyObject *module, PyObject *args) {
    (void)module;
    int control, segment, down, up;
    if (!PyArg_ParseTuple(args, "iiii:attach", &control, &segment, &down, &up))
        return NULL;
    if (segment_first()) {
        PyErr_SetString(PyExc_RuntimeError, "the process has a segment already");
        return NULL;
    }
    if (segment_map(segment) < 0)
        return NULL;
    worker_share(control, down);
    completions_use(up);
    monitor_add(completions_watch);
    monitor_add(wsgi_pool_watch);
    if (fork_init_plain() < 0 || monitor_start() < 0)
        return PyErr_NoMemory();
    Py_RETURN_NONE;
}
