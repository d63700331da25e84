/* What all threads of Python do, for profiles.
 *
 * In C, since the GIL is held from the first frame to the last: no thread goes on meanwhile, so
 * none leaves its last reference to a frame, and the objects in it, to the thread that looks. */
#include "core.h"

/* Appends id(code) of a frame. codes gets the code object, so that its id is not used again. -1
 * with an exception. */
static int stack_add(PyObject *stack, PyObject *codes, PyObject *frame) {
    PyObject *code = (PyObject *)PyFrame_GetCode((PyFrameObject *)frame);
    PyObject *id = PyLong_FromVoidPtr(code);
    int rc = id ? PyDict_Contains(codes, id) : -1;
    if (rc == 0)
        rc = PyDict_SetItem(codes, id, code);
    if (rc >= 0)
        rc = PyList_Append(stack, id);
    Py_XDECREF(id);
    Py_DECREF(code);
    return rc;
}

/* Returns (id, …) of a frame and its callers; NULL with an exception. */
static PyObject *stack_of(PyObject *frame, PyObject *codes, int depth) {
    PyObject *stack = PyList_New(0), *found = NULL;
    Py_INCREF(frame);
    while (stack && frame && frame != Py_None && depth-- > 0) {
        PyObject *caller = NULL;
        if (stack_add(stack, codes, frame) < 0 ||
            !(caller = PyObject_GetAttrString(frame, "f_back")))
            Py_CLEAR(stack);
        Py_DECREF(frame);
        frame = caller;
    }
    if (stack)
        found = PyList_AsTuple(stack);
    Py_XDECREF(frame);
    Py_XDECREF(stack);
    return found;
}

/* stacks(current_frames, codes, depth) -> {thread: (id(code), …)}: the innermost frame first */
PyObject *stacks_of_threads(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *current_frames, *codes, *thread, *frame;
    int depth;
    if (!PyArg_ParseTuple(args, "OO!i:stacks", &current_frames, &PyDict_Type, &codes, &depth))
        return NULL;
    PyObject *stacks = PyDict_New();
    PyObject *frames = stacks ? PyObject_CallNoArgs(current_frames) : NULL;
    if (!frames)
        Py_CLEAR(stacks);
    for (Py_ssize_t at = 0; stacks && PyDict_Next(frames, &at, &thread, &frame);) {
        PyObject *stack = stack_of(frame, codes, depth);
        if (!stack || PyDict_SetItem(stacks, thread, stack) < 0)
            Py_CLEAR(stacks);
        Py_XDECREF(stack);
    }
    Py_XDECREF(frames);
    return stacks;
}
