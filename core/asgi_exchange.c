/* One ASGI request or websocket: the coroutine that the loop's Task steps. The exchange steps the
 * app's coroutine and ends the response when the app's coroutine ends. receive() and send() are
 * bound to the exchange. It stays active until its coroutine has ended and its slot is released. */
#include "asgi.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- life of an exchange */

static void free_trailers(asgi_exchange *self) {
    if (self->trailers)
        fields_free(self->trailers);
    free(self->trailers);
    self->trailers = NULL;
}

void asgi_exchange_activate(asgi_exchange *self) {
    self->next = self->app->active;
    if (self->next)
        self->next->prev = self;
    self->app->active = self;
    Py_INCREF((PyObject *)self);
}

void asgi_exchange_settle(asgi_exchange *self) {
    if (!self->ended || self->slot || self->settled)
        return;
    self->settled = true;
    snake_generation *app = self->app;
    if (self->prev)
        self->prev->next = self->next;
    else
        app->active = self->next;
    if (self->next)
        self->next->prev = self->prev;
    self->prev = self->next = NULL;
    free(self->pending);
    self->pending = NULL;
    self->pending_read = self->pending_len = self->pending_cap = 0;
    free(self->inbox);
    self->inbox = NULL;
    self->inbox_len = 0;
    free_trailers(self);
    generation_finished_one(app);
    Py_DECREF((PyObject *)self);
}

void asgi_exchange_abandon(asgi_exchange *self) {
    snake_slot *slot = asgi_exchange_detach(self);
    /* After a complete response, the code that still runs is a background task and serves no
     * client. */
    if (self->ended || self->complete)
        slot_release(slot);
    else
        self->kept = slot;
}

/* The coroutine of an exchange without a client has ended. */
static void return_kept(asgi_exchange *self) {
    snake_slot *slot = self->kept;
    self->kept = NULL;
    if (!slot)
        return;
    slot_release(slot);
    asgi_announce(self->app);
}

int asgi_exchange_cancel(asgi_exchange *self) {
    if (!self->task || self->cancelled)
        return 0;
    self->cancelled = true;
    PyObject *task = Py_NewRef(self->task);
    PyObject *rc = PyObject_CallMethodObjArgs(task, self->st->s_cancel, NULL);
    Py_XDECREF(rc);
    Py_DECREF(task);
    return rc ? 0 : -1;
}

/* ---- receive() and send() */

PyObject *unexpected_message(PyObject *type) {
    return PyErr_Format(PyExc_RuntimeError, "unexpected ASGI message %R", type);
}

int asgi_exchange_check_open(asgi_exchange *self) {
    if (self->client_left)
        disconnected_error();
    else if (self->complete)
        PyErr_SetString(PyExc_RuntimeError, "a message was sent after the response was complete");
    else
        return 0;
    return -1;
}

static PyObject *asgi_exchange_send(PyObject *object, PyObject *message) {
    asgi_exchange *self = (asgi_exchange *)object;
    if (!PyDict_Check(message))
        return PyErr_Format(PyExc_TypeError, "an ASGI message is a dict, not %R", message);
    PyObject *type, *result = NULL;
    int rc = dict_item(message, self->st->s_type, &type);
    if (!rc)
        PyErr_SetString(PyExc_ValueError, "an ASGI message needs a 'type'");
    else if (rc > 0 && self->client_left)
        result = self->protocol->send_late(self, type, message);
    else if (rc > 0 && self->complete)
        PyErr_Format(PyExc_RuntimeError, "%R was sent after the response was complete", type);
    else if (rc > 0)
        result = self->protocol->send(self, type, message);
    Py_XDECREF(type);
    return result;
}

static PyObject *asgi_exchange_receive(PyObject *object, PyObject *ignored) {
    (void)ignored;
    /* The await takes the message, not the call: a call cancelled before its await must not lose a
     * message. */
    return asgi_await_on((asgi_exchange *)object, AWAIT_RECEIVE);
}

/* ---- the coroutine */

/* The iterator of the app's awaitable: the awaitable itself if it is a coroutine. */
static PyObject *awaitable_iterator(core *st, PyObject *awaitable) {
    if (PyType_GetSlot(Py_TYPE(awaitable), Py_am_send))
        return Py_NewRef(awaitable);
    if (PyObject_HasAttr(awaitable, st->s___await__))
        return PyObject_CallMethodObjArgs(awaitable, st->s___await__, NULL);
    return PyErr_Format(PyExc_TypeError, "the app returned %R, which cannot be awaited", awaitable);
}

static int first_step(asgi_exchange *self) {
    PyObject *receive = self->receive, *send = self->send, *awaitable = NULL;
    self->receive = self->send = NULL;
    if (!self->app->callable) {
        PyErr_SetString(PyExc_RuntimeError, "the app has been unloaded");
    } else {
        PyObject *callable = Py_NewRef(self->app->callable), *scope = Py_NewRef(self->scope);
        awaitable = PyObject_CallFunctionObjArgs(callable, scope, receive, send, NULL);
        Py_DECREF(scope);
        Py_DECREF(callable);
    }
    Py_DECREF(receive);
    Py_DECREF(send);
    if (!awaitable)
        return -1;
    self->coroutine = awaitable_iterator(self->st, awaitable);
    Py_DECREF(awaitable);
    return self->coroutine ? 0 : -1;
}

/* Handles the end of the app's coroutine, with or without an exception set: ends the response.
 * Returns -1 when the exception is a cancellation, which the Task must see. */
static int end_coroutine(asgi_exchange *self) {
    if (fork_is_child())
        _exit(70);        /* EX_SOFTWARE: a forked child must not answer for its parent */
    self->running = true; /* until the end is handled: reporting and DECREFs run app code */
    PyObject *type = NULL, *value = NULL, *traceback = NULL;
    bool left = self->client_left || self->client_stopped_sending;
    bool cancelled = false, failed = false, returned = !PyErr_Occurred();
    if (!returned) {
        cancelled = failed = PyErr_ExceptionMatches(self->st->cancelled_error);
        if (cancelled)
            PyErr_Fetch(&type, &value, &traceback);
        if (cancelled && !self->cancelled &&
            !left) /* the app cancelled itself: log it for its author */
            PyErr_Restore(Py_XNewRef(type), Py_XNewRef(value), Py_XNewRef(traceback));
        if (PyErr_Occurred())
            failed = report_exception(self->st, self->app->id, "ASGI", self->scope, left);
    }
    self->protocol->end(self, returned, failed);
    self->ended = true;
    self->running = false;
    Py_CLEAR(self->coroutine);
    Py_CLEAR(self->scope);
    Py_CLEAR(self->task);
    return_kept(self);
    asgi_exchange_settle(self);
    if (cancelled)
        PyErr_Restore(type, value, traceback);
    return cancelled ? -1 : 0;
}

/* 0 if the coroutine can be stepped. -1 with the exception that a coroutine raises. */
static int check_idle(asgi_exchange *self) {
    if (self->running)
        coroutine_runs();
    else if (self->ended)
        coroutine_has_ended();
    else
        return 0;
    return -1;
}

static PySendResult asgi_exchange_step(PyObject *object, PyObject *arg, PyObject **result) {
    asgi_exchange *self = (asgi_exchange *)object;
    *result = NULL;
    if (check_idle(self) < 0)
        return PYGEN_ERROR;
    if (!self->coroutine && arg != Py_None) {
        PyErr_SetString(PyExc_TypeError, "can't send non-None value to a just-started coroutine");
        return PYGEN_ERROR;
    }
    Py_INCREF(object); /* the app may drop its task */
    self->running = true;
    PySendResult rc = PYGEN_ERROR;
    if (self->coroutine || first_step(self) == 0)
        rc = PyIter_Send(self->coroutine, arg, result);
    self->running = false;
    if (rc != PYGEN_NEXT) {
        Py_CLEAR(*result);
        rc = end_coroutine(self) < 0 ? PYGEN_ERROR : PYGEN_RETURN;
        if (rc == PYGEN_RETURN)
            *result = Py_NewRef(Py_None);
    }
    Py_DECREF(object);
    return rc;
}

static PyObject *asgi_exchange_send_method(PyObject *object, PyObject *arg) {
    PyObject *result;
    switch (asgi_exchange_step(object, arg, &result)) {
    case PYGEN_NEXT:
        return result;
    case PYGEN_RETURN:
        Py_DECREF(result);
        PyErr_SetNone(PyExc_StopIteration);
        return NULL;
    default:
        return NULL;
    }
}

static PyObject *asgi_exchange_next(PyObject *object) {
    return asgi_exchange_send_method(object, Py_None);
}

/* 0 if throw() was given an exception, -1 with TypeError. */
static int check_thrown(PyObject *args) {
    PyObject *type = PyTuple_Size(args) > 0 ? PyTuple_GetItem(args, 0) : NULL;
    if (type && (PyExceptionInstance_Check(type) || PyExceptionClass_Check(type)))
        return 0;
    coroutine_raise(args);
    return -1;
}

static PyObject *asgi_exchange_throw(PyObject *object, PyObject *args) {
    asgi_exchange *self = (asgi_exchange *)object;
    if (check_idle(self) < 0 || check_thrown(args) < 0)
        return NULL;
    Py_INCREF(object);
    self->running = true;
    PyObject *yielded =
        self->coroutine ? coroutine_throw(self->st, self->coroutine, args) : coroutine_raise(args);
    self->running = false;
    if (!yielded) {
        if (PyErr_ExceptionMatches(PyExc_StopIteration))
            PyErr_Clear(); /* the app swallowed the exception and returned */
        if (end_coroutine(self) == 0)
            PyErr_SetNone(PyExc_StopIteration);
    }
    Py_DECREF(object);
    return yielded;
}

static PyObject *asgi_exchange_close(PyObject *object, PyObject *ignored) {
    (void)ignored;
    asgi_exchange *self = (asgi_exchange *)object;
    if (self->running)
        return coroutine_runs();
    if (self->ended)
        Py_RETURN_NONE;
    Py_INCREF(object);
    self->running = true;
    if (self->coroutine) {
        PyObject *closed = PyObject_CallMethodObjArgs(self->coroutine, self->st->s_close, NULL);
        if (!closed)
            report_exception(self->st, self->app->id, "ASGI", self->scope, false);
        Py_XDECREF(closed);
    }
    self->running = false;
    end_coroutine(self); /* as if the app had returned */
    PyErr_Clear();
    Py_DECREF(object);
    Py_RETURN_NONE;
}

static PyObject *asgi_exchange_self(PyObject *object) { return Py_NewRef(object); }
static PyObject *asgi_exchange_await(PyObject *object, PyObject *ignored) {
    (void)ignored;
    return Py_NewRef(object);
}

/* Attributes of the app's coroutine, for task.print_stack(), repr() and debuggers. */
static PyObject *asgi_exchange_coroutine_attribute(PyObject *object, void *name) {
    asgi_exchange *self = (asgi_exchange *)object;
    bool of_type = !strncmp(name, "__", 2);
    if (!self->coroutine && !of_type) {
        if (strcmp(name, "cr_running"))
            Py_RETURN_NONE;
        return PyBool_FromLong(self->running);
    }
    PyObject *about = Py_NewRef(self->coroutine ? self->coroutine : (PyObject *)Py_TYPE(object));
    PyObject *value = PyObject_GetAttrString(about, name);
    Py_DECREF(about);
    return value;
}

/* ---- making one */

asgi_exchange *asgi_exchange_new(snake_generation *app, snake_slot *slot,
                                 const asgi_protocol *protocol) {
    static PyMethodDef receive = {"receive", asgi_exchange_receive, METH_NOARGS, "receive()"};
    static PyMethodDef send = {"send", asgi_exchange_send, METH_O, "send(message)"};
    core *st = app->st;
    asgi_exchange *self = PyObject_GC_New(asgi_exchange, st->asgi_type);
    if (!self)
        return NULL;
    memset((char *)self + sizeof(PyObject), 0, sizeof *self - sizeof(PyObject));
    self->st = st;
    self->app = (snake_generation *)Py_NewRef((PyObject *)app);
    self->slot = slot;
    self->protocol = protocol;
    self->head.content_length = -1;
    self->is_head_request = head_method_is(slot, "HEAD");
    self->scope = scope_new(st, app->cache, app, slot);
    if (protocol == &asgi_http_protocol)
        slot_head_done(slot); /* a websocket's head is read again when the app accepts */
    self->receive = PyCFunction_New(&receive, (PyObject *)self);
    self->send = PyCFunction_New(&send, (PyObject *)self);
    PyObject_GC_Track((PyObject *)self);
    if (!self->scope || !self->receive || !self->send) {
        self->slot = NULL;
        Py_CLEAR(self->receive);
        Py_CLEAR(self->send);
        Py_DECREF((PyObject *)self);
        return NULL;
    }
    return self;
}

void asgi_exchange_fail_start(asgi_exchange *self) {
    report_exception(self->st, self->app->id, "ASGI", self->scope, false);
    if (self->ended || self->running)
        return;
    self->complete = true;
    asgi_output_abandon(self, true);
    end_coroutine(self);
}

/* ---- the type */

static int asgi_exchange_traverse(PyObject *object, visitproc visit, void *arg) {
    asgi_exchange *self = (asgi_exchange *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT((PyObject *)self->app);
    Py_VISIT(self->scope);
    Py_VISIT(self->receive);
    Py_VISIT(self->send);
    Py_VISIT(self->coroutine);
    Py_VISIT(self->task);
    return 0;
}

static int asgi_exchange_clear(PyObject *object) {
    asgi_exchange *self = (asgi_exchange *)object;
    Py_CLEAR(self->scope);
    Py_CLEAR(self->receive);
    Py_CLEAR(self->send);
    Py_CLEAR(self->coroutine);
    Py_CLEAR(self->task);
    Py_CLEAR(self->peer_reason);
    return 0;
}

static void asgi_exchange_dealloc(PyObject *object) {
    asgi_exchange *self = (asgi_exchange *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    asgi_exchange_clear(object);
    return_kept(self);
    Py_XDECREF((PyObject *)self->app);
    free_trailers(self);
    free(self->pending);
    free(self->inbox);
    PyObject_GC_Del(object);
    Py_DECREF(type);
}

static PyMethodDef asgi_exchange_methods[] = {
    {"send", asgi_exchange_send_method, METH_O, NULL},
    {"throw", asgi_exchange_throw, METH_VARARGS, NULL},
    {"close", asgi_exchange_close, METH_NOARGS, NULL},
    {"__await__", asgi_exchange_await, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef asgi_exchange_getset[] = {
    {"__name__", asgi_exchange_coroutine_attribute, NULL, NULL, "__name__"},
    {"__qualname__", asgi_exchange_coroutine_attribute, NULL, NULL, "__qualname__"},
    {"cr_frame", asgi_exchange_coroutine_attribute, NULL, "Its frame.", "cr_frame"},
    {"cr_await", asgi_exchange_coroutine_attribute, NULL, "What it awaits.", "cr_await"},
    {"cr_code", asgi_exchange_coroutine_attribute, NULL, "Its code.", "cr_code"},
    {"cr_running", asgi_exchange_coroutine_attribute, NULL, "Whether it runs.", "cr_running"},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyType_Slot asgi_slots[] = {
    {Py_tp_doc, "The coroutine of one ASGI request."},
    {Py_am_await, asgi_exchange_self},
    {Py_am_send, asgi_exchange_step},
    {Py_tp_iter, asgi_exchange_self},
    {Py_tp_iternext, asgi_exchange_next},
    {Py_tp_methods, asgi_exchange_methods},
    {Py_tp_getset, asgi_exchange_getset},
    {Py_tp_traverse, asgi_exchange_traverse},
    {Py_tp_clear, asgi_exchange_clear},
    {Py_tp_dealloc, asgi_exchange_dealloc},
    {0, NULL},
};
PyType_Spec asgi_spec = {
    .name = "_caddysnake.ASGIExchange",
    .basicsize = sizeof(asgi_exchange),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = asgi_slots,
};
