/* Passes exceptions that leave an app to the bridge, which logs them. */
#include "core.h"

bool report_exception(core *st, uint32_t app, const char *kind, PyObject *request,
                      bool client_left) {
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (!type)
        return false;
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback && value)
        PyException_SetTraceback(value, traceback);

    PyObject *logged = NULL;
    if (st->hooks[HOOK_ERROR])
        logged =
            PyObject_CallFunction(st->hooks[HOOK_ERROR], "IOsOO", app, value ? value : type, kind,
                                  request ? request : Py_None, client_left ? Py_True : Py_False);
    bool is_error = logged != Py_False;
    if (!logged)
        PyErr_Print(); /* logging failed: use stderr */
    Py_XDECREF(logged);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
    return is_error;
}

PyObject *disconnected_error(void) {
    PyErr_SetString(PyExc_BrokenPipeError, "the client disconnected");
    return NULL;
}
