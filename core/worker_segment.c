/* A worker process serves one app on segments that it shares with Caddy. Caddy pushes requests and
 * wakes the app without running code of this process; see worker.go. */
#include "core.h"

static int down = -1;

int worker_down(void) { return down; }

PyObject *worker_attach(PyObject *module, PyObject *args) {
    (void)module;
    int segment, wakes, up;
    if (!PyArg_ParseTuple(args, "iii:attach", &segment, &wakes, &up))
        return NULL;
    if (segment_first()) {
        PyErr_SetString(PyExc_RuntimeError, "the process has a segment already");
        return NULL;
    }
    if (segment_map(segment) < 0)
        return NULL;
    down = wakes;
    completions_use(up);
    Py_RETURN_NONE;
}
