/* One WSGI request (PEP 3333), from the call of the app to the last block. */
#include "wsgi.h"

/* ---- callables for the app */

/* write(data: bytes), PEP 3333 "The write() Callable" */
static PyObject *wsgi_exchange_write(PyObject *object, PyObject *data) {
    wsgi_exchange *self = (wsgi_exchange *)object;
    char *p;
    Py_ssize_t n;
    if (!PyBytes_Check(data))
        return PyErr_Format(PyExc_TypeError, "write() takes bytes, not %R", data);
    if (PyBytes_AsStringAndSize(data, &p, &n) < 0)
        return NULL;
    if (self->client_left)
        return disconnected_error();
    if (!self->slot) {
        if (self->no_body)
            Py_RETURN_NONE;
        wsgi_refuse_late();
        return NULL;
    }
    if (wsgi_check_started(self) < 0) /* start_response() was called again and raised */
        return NULL;
    if (n && wsgi_send(self, p, (size_t)n, false) < 0)
        return PyErr_Occurred() ? NULL : disconnected_error();
    Py_RETURN_NONE;
}

/* Re-raises the app's exception: the head is sent, so no other response is possible. */
static void raise_exc_info(PyObject *exc_info) {
    PyObject *value = PyTuple_Size(exc_info) == 3 ? PyTuple_GetItem(exc_info, 1) : NULL;
    if (!value || !PyExceptionInstance_Check(value)) { /* (None, None, None), for instance */
        PyErr_Format(PyExc_TypeError,
                     "the response has begun, and exc_info names no exception to raise: %R",
                     exc_info);
        return;
    }
    if (PyException_SetTraceback(value, PyTuple_GetItem(exc_info, 2)) == 0)
        PyErr_SetObject((PyObject *)Py_TYPE(value), value);
}

/* The arguments of start_response; exc_info may be given by name. -1 with TypeError. */
static int start_response_args(PyObject *const *args, Py_ssize_t count, PyObject *names,
                               PyObject *found[3]) {
    static const char *const parameters[] = {"status", "headers", "exc_info"};
    Py_ssize_t named = names ? PyTuple_Size(names) : 0;
    bool ok = count <= 3;
    for (Py_ssize_t i = 0; i < count && ok; i++)
        found[i] = args[i];
    for (Py_ssize_t i = 0; i < named; i++) {
        int p = 0;
        while (p < 3 && PyUnicode_CompareWithASCIIString(PyTuple_GetItem(names, i), parameters[p]))
            p++;
        if (p == 3 || found[p])
            ok = false; /* unknown name, or given twice */
        else
            found[p] = args[count + i];
    }
    if (!ok || !found[0] || !found[1]) {
        PyErr_SetString(PyExc_TypeError,
                        "start_response() takes status, headers and, optionally, exc_info");
        return -1;
    }
    return 0;
}

/* 0 if start_response may set the head now. -1 with an exception, which may be the app's. */
static int may_start(wsgi_exchange *self, PyObject *exc_info) {
    if (exc_info != Py_None && (self->head_sent || !self->slot)) {
        raise_exc_info(exc_info);
        return -1;
    }
    if (exc_info == Py_None && self->head.status) {
        PyErr_SetString(PyExc_AssertionError,
                        "start_response() was called twice without exc_info (PEP 3333)");
        return -1;
    }
    return self->slot ? 0 : wsgi_refuse_late();
}

/* start_response(status, headers, exc_info=None) -> write, PEP 3333. A refused head clears an
 * earlier one, because the app no longer wants the earlier head. */
static PyObject *wsgi_exchange_start_response(PyObject *object, PyObject *const *args,
                                              Py_ssize_t count, PyObject *names) {
    static PyMethodDef write = {"write", wsgi_exchange_write, METH_O, "write(data: bytes)"};
    wsgi_exchange *self = (wsgi_exchange *)object;
    PyObject *found[3] = {NULL, NULL, NULL};
    if (start_response_args(args, count, names, found) < 0)
        return NULL;
    PyObject *exc_info = found[2] ? found[2] : Py_None;
    if (exc_info != Py_None && !PyTuple_Check(exc_info))
        return PyErr_Format(PyExc_TypeError, "exc_info must be a tuple, not %R", exc_info);
    if (may_start(self, exc_info) < 0)
        return NULL;
    packed_fields fields;
    response_head head;
    fields_init(&fields);
    int rc = head_from_wsgi(&fields, &head, found[0], found[1]);
    if (!rc) /* reading the headers may have called start_response() or write() */
        rc = may_start(self, exc_info);
    if (!rc)
        rc = head_to_slot(&fields, self->slot, head.status);
    fields_free(&fields);
    if (!self->head_sent)
        self->head = rc ? (response_head){0, -1} : head;
    if (rc < 0)
        return NULL;
    self->no_body = self->is_head_request || status_has_no_body(head.status);
    return PyCFunction_New(&write, object);
}

/* The result of read() at the end of the stream, on every call. */
static PyObject *stream_end(wsgi_exchange *self, uint32_t how) {
    if (how == SNAKE_END)
        return Py_NewRef(self->st->empty_bytes);
    if (how == SNAKE_LOST) {
        self->client_left = true;
        return disconnected_error();
    }
    PyErr_SetString(PyExc_OSError, "the request body is larger than the server allows");
    return NULL;
}

/* read() -> bytes: the next piece of the streamed body, b"" at its end. */
static PyObject *wsgi_exchange_read(PyObject *object, PyObject *ignored) {
    (void)ignored;
    wsgi_exchange *self = (wsgi_exchange *)object;
    for (;;) { /* if several threads read, one gets the piece */
        snake_slot *slot = self->slot;
        if (self->client_left)
            return disconnected_error();
        if (!slot)
            return PyErr_Format(PyExc_ValueError, "the request is finished");
        if (slot_is_lost(slot))
            return stream_end(self, SNAKE_LOST);
        if (!slot_in_is_ready_or_wanted(slot)) {
            if (!slot_is_lost(slot)) /* else since before Go could see that the thread waits */
                wsgi_wait(self, SNAKE_WAIT_IN);
            continue;
        }
        uint32_t end;
        PyObject *piece = body_take(slot, &end);
        if (!piece || PyBytes_Size(piece))
            return piece;
        Py_DECREF(piece);
        if (end != SNAKE_DATA)
            return stream_end(self, end);
    }
}

/* Ends the request after the app or its iterable failed: an exception is set, or the client is
 * gone. */
static void give_up(wsgi_exchange *self) {
    bool failed = wsgi_report(self);
    wsgi_end(self, self->head_sent || !failed ? SNAKE_ABORT : SNAKE_FAIL);
}

static void call_close(wsgi_exchange *self, PyObject *result) {
    if (PyList_CheckExact(result) || PyTuple_CheckExact(result))
        return;
    wsgi_pool_announce(); /* the client need not wait for close() */
    PyObject *close = PyObject_GetAttr(result, self->st->s_close);
    if (!close) {
        if (PyErr_ExceptionMatches(PyExc_AttributeError))
            PyErr_Clear();
        else
            wsgi_report(self);
        return;
    }
    PyObject *closed = PyObject_CallNoArgs(close);
    if (!closed)
        wsgi_report(self);
    Py_XDECREF(closed);
    Py_DECREF(close);
}

/* Runs all app code of the request, inside one fresh contextvars context. */
static PyObject *wsgi_exchange_run(PyObject *object, PyObject *ignored) {
    (void)ignored;
    static PyMethodDef start = {
        "start_response", (PyCFunction)(void (*)(void))wsgi_exchange_start_response,
        METH_FASTCALL | METH_KEYWORDS, "start_response(status, headers, exc_info=None) -> write"};
    wsgi_exchange *self = (wsgi_exchange *)object;
    PyObject *start_response = PyCFunction_New(&start, object);
    PyObject *result = start_response ? PyObject_CallFunctionObjArgs(self->callable, self->environ,
                                                                     start_response, NULL)
                                      : NULL;
    if (!result || wsgi_send_result(self, result) < 0)
        give_up(self);
    if (result)
        call_close(self, result);
    Py_XDECREF(result);
    Py_XDECREF(start_response);
    Py_RETURN_NONE;
}

/* ---- one request */

static int add_stream_input(wsgi_exchange *self) {
    static PyMethodDef read = {"read", wsgi_exchange_read, METH_NOARGS, "read() -> bytes"};
    if (!(self->slot->features & SNAKE_BODY_STREAM))
        return 0;
    PyObject *reader = PyCFunction_New(&read, (PyObject *)self);
    PyObject *input =
        reader ? PyObject_CallFunctionObjArgs(self->st->hooks[HOOK_INPUT], reader, NULL) : NULL;
    int rc = input ? PyDict_SetItem(self->environ, self->st->s_input, input) : -1;
    /* With a known length, apps can read that many bytes. wsgi.input_terminated would make them
     * call read() without a size, which PEP 3333 does not define. */
    if (!rc && self->slot->features & SNAKE_UNSIZED)
        rc = PyDict_SetItem(self->environ, self->st->s_input_terminated, Py_True);
    Py_XDECREF(input);
    Py_XDECREF(reader);
    return rc;
}

void wsgi_run(core *st, header_cache *cache, snake_generation *app, snake_slot *slot) {
    static PyMethodDef run = {"run", wsgi_exchange_run, METH_NOARGS, NULL};
    if (slot_is_lost(slot)) {
        slot_close(slot, SNAKE_ABORT);
        return;
    }
    slot_begin(slot);
    view_enter(app->view, app->id);
    wsgi_exchange *self = PyObject_New(wsgi_exchange, st->wsgi_type);
    PyObject *context = NULL, *body = NULL, *done = NULL;
    if (!self) {
        report_exception(st, app->id, "WSGI", NULL, false);
        slot_close(slot, SNAKE_FAIL);
        goto out;
    }
    memset((char *)self + sizeof(PyObject), 0, sizeof *self - sizeof(PyObject));
    self->st = st;
    self->slot = slot;
    self->app_id = app->id;
    self->head.content_length = -1;
    self->is_head_request = head_method_is(slot, "HEAD");
    self->callable = Py_NewRef(app->callable);
    self->environ = environ_new(st, cache, app, slot);
    if (self->environ && add_stream_input(self) == 0) {
        context = PyObject_CallNoArgs(st->context);
        body = PyCFunction_New(&run, (PyObject *)self);
        if (context && body)
            done = PyObject_CallMethodObjArgs(context, st->s_run, body, NULL);
    }
    if (fork_is_child())
        _exit(70); /* EX_SOFTWARE: a forked child must not answer for its parent */
    if (!done)
        give_up(self);
    Py_XDECREF(done);
    Py_XDECREF(body);
    Py_XDECREF(context);
    Py_CLEAR(self->environ); /* its input refers back to the exchange */
    Py_CLEAR(self->callable);
    Py_DECREF(self);
out:
    view_leave();
}

static void wsgi_exchange_dealloc(PyObject *object) {
    wsgi_exchange *self = (wsgi_exchange *)object;
    PyTypeObject *type = Py_TYPE(object);
    Py_XDECREF(self->environ);
    Py_XDECREF(self->callable);
    PyObject_Free(object);
    Py_DECREF(type);
}

static PyType_Slot wsgi_slots[] = {
    {Py_tp_doc, "The state of one WSGI request."},
    {Py_tp_dealloc, wsgi_exchange_dealloc},
    {0, NULL},
};
PyType_Spec wsgi_spec = {
    .name = "_caddysnake.WSGIExchange",
    .basicsize = sizeof(wsgi_exchange),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = wsgi_slots,
};
