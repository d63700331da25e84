//go:build pyext

/* The extension module runs inside an existing interpreter and adopts it. */
#include "core/core.h"

int snake_own_interpreter(char *err, size_t err_cap) {
    if (!Py_IsInitialized()) {
        PyOS_snprintf(err, err_cap, "not inside a Python process");
        return -1;
    }
    PyGILState_STATE gil = PyGILState_Ensure();
    int rc = snake_adopt();
    if (rc < 0) {
        PyOS_snprintf(err, err_cap, "starting the Python bridge failed, see standard error");
        PyErr_Print();
    }
    PyGILState_Release(gil);
    return rc;
}
