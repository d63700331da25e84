/* _caddysnake.Await, the awaitable of receive() and send(). It is usually finished at once;
 * otherwise it waits on a future of the loop. It counts as a coroutine (collections.abc.Coroutine),
 * so that asyncio.create_task(receive()) works. */
#include "asgi.h"
#include <stdlib.h>

static asgi_await_object *await_new(core *st, enum asgi_await_kind kind) {
    asgi_await_object *self = PyObject_GC_New(asgi_await_object, st->await_type);
    if (!self)
        return NULL;
    self->st = st;
    self->kind = kind;
    self->running = false;
    self->future = self->iterator = NULL;
    self->exchange = NULL;
    self->prev = self->next = NULL;
    return self;
}

PyObject *asgi_await_done(core *st) {
    return (PyObject *)await_new(
        st, AWAIT_DONE); /* not tracked by the collector: it holds no references */
}

PyObject *asgi_await_on(asgi_exchange *exchange, enum asgi_await_kind kind) {
    core *st = PyType_GetModuleState(Py_TYPE((PyObject *)exchange));
    asgi_await_object *self = await_new(st, kind);
    if (!self)
        return NULL;
    self->exchange = (asgi_exchange *)Py_NewRef((PyObject *)exchange);
    PyObject_GC_Track((PyObject *)self);
    return (PyObject *)self;
}

/* ---- the exchange's list of waiting awaits */

static void link_waiting(asgi_await_object *self) {
    asgi_await_object **first = &self->exchange->waiting;
    self->prev = NULL;
    self->next = *first;
    if (*first)
        (*first)->prev = self;
    *first = self;
}

static void stop_waiting(asgi_await_object *self) {
    if (self->future) {
        if (self->prev)
            self->prev->next = self->next;
        else
            self->exchange->waiting = self->next;
        if (self->next)
            self->next->prev = self->prev;
    }
    self->prev = self->next = NULL;
    PyObject *future = self->future, *iterator = self->iterator;
    self->future = self->iterator = NULL; /* clear both before the DECREFs, which run code */
    Py_XDECREF(iterator);
    Py_XDECREF(future);
}

bool asgi_await_waits(const asgi_exchange *exchange, enum asgi_await_kind kind) {
    const asgi_await_object *waiting = exchange->waiting;
    while (waiting && waiting->kind != kind)
        waiting = waiting->next;
    return waiting;
}

static void wake(core *st, PyObject *future) {
    PyObject *done = PyObject_CallMethodObjArgs(future, st->s_done, NULL);
    PyObject *set = done && PyObject_IsTrue(done) == 0
                        ? PyObject_CallMethodObjArgs(future, st->s_set_result, Py_None, NULL)
                        : NULL;
    if (PyErr_Occurred())
        PyErr_Clear(); /* the loop is closed and nothing waits any more */
    Py_XDECREF(done);
    Py_XDECREF(set);
}

void asgi_await_wake(asgi_exchange *exchange, enum asgi_await_kind kind) {
    core *st = exchange->st;
    size_t count = 0, n = 0;
    for (asgi_await_object *w = exchange->waiting; w; w = w->next)
        count += w->kind == kind;
    if (!count)
        return;
    /* Collect the futures first: waking one may unlink others. */
    PyObject *first, **futures = count > 1 ? malloc(count * sizeof *futures) : &first;
    if (!futures) { /* memory is out: wake at least one */
        futures = &first;
        count = 1;
    }
    for (asgi_await_object *w = exchange->waiting; w && n < count; w = w->next)
        if (w->kind == kind)
            futures[n++] = Py_NewRef(w->future);
    for (size_t i = 0; i < n; i++) {
        wake(st, futures[i]);
        Py_DECREF(futures[i]);
    }
    if (futures != &first)
        free(futures);
}

/* ---- the coroutine protocol */

PyObject *coroutine_runs(void) {
    return PyErr_Format(PyExc_ValueError, "coroutine already executing");
}

PyObject *coroutine_has_ended(void) {
    return PyErr_Format(PyExc_RuntimeError, "cannot reuse already awaited coroutine");
}

PyObject *coroutine_raise(PyObject *args) {
    PyObject *type, *value = NULL, *traceback = NULL;
    if (!PyArg_UnpackTuple(args, "throw", 1, 3, &type, &value, &traceback))
        return NULL;
    if (PyExceptionInstance_Check(type))
        PyErr_SetObject((PyObject *)Py_TYPE(type), type);
    else if (PyExceptionClass_Check(type))
        PyErr_SetObject(type, value);
    else
        PyErr_Format(PyExc_TypeError,
                     "exceptions must be classes or instances deriving from BaseException, not %R",
                     (PyObject *)Py_TYPE(type));
    return NULL;
}

PyObject *coroutine_throw(core *st, PyObject *iterator, PyObject *args) {
    Py_INCREF(iterator);
    PyObject *throw = PyObject_GetAttr(iterator, st->s_throw), *yielded = NULL;
    if (throw) {
        yielded = PyObject_CallObject(throw, args);
    } else if (PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
        coroutine_raise(args);
    }
    Py_XDECREF(throw);
    Py_DECREF(iterator);
    return yielded;
}

/* 1: the send may continue, 0: not yet, -1: exception set */
static int drained(asgi_exchange *exchange) {
    if (!exchange->client_left)
        return !exchange->slot || asgi_output_is_low(exchange);
    if (exchange->listeners_turn || exchange->all_sent)
        return 1;
    disconnected_error();
    return -1;
}

static PyObject *create_future(snake_generation *app) {
    if (!app->create_future)
        return PyErr_Format(PyExc_RuntimeError, "the app has been unloaded");
    return PyObject_CallNoArgs(app->create_future);
}

/* 1: *result is the value, 0: not yet, -1: exception */
static int try_now(asgi_await_object *self, PyObject **result) {
    if (self->kind == AWAIT_RECEIVE) {
        *result = self->exchange->protocol->receive_now(self->exchange);
        return *result ? 1 : PyErr_Occurred() ? -1 : 0;
    }
    int rc = drained(self->exchange);
    if (rc > 0)
        *result = Py_NewRef(Py_None);
    return rc;
}

static int start_waiting(asgi_await_object *self) {
    PyObject *future = create_future(self->exchange->app);
    if (!future)
        return -1;
    self->future = future;
    link_waiting(self);
    self->iterator = PyObject_CallMethodObjArgs(future, self->st->s___await__, NULL);
    if (self->iterator)
        return 0;
    stop_waiting(self);
    return -1;
}

/* Gets the value or starts waiting. 1: *result is the value, 0: waiting, -1: exception. */
static int look(asgi_await_object *self, PyObject **result) {
    int rc = try_now(self, result);
    if (rc)
        return rc;
    if (start_waiting(self) < 0)
        return -1;
    /* Creating the future runs loop code, during which the value may have arrived. */
    rc = try_now(self, result);
    if (rc)
        stop_waiting(self);
    return rc;
}

static PySendResult step(asgi_await_object *self, PyObject *arg, PyObject **result) {
    for (;;) {
        if (!self->iterator) {
            int rc = look(self, result);
            if (rc)
                return rc > 0 ? PYGEN_RETURN : PYGEN_ERROR;
            arg = Py_None;
        }
        PyObject *iterator = Py_NewRef(self->iterator);
        PySendResult rc = PyIter_Send(iterator, arg, result);
        Py_DECREF(iterator);
        if (rc == PYGEN_NEXT)
            return rc;
        stop_waiting(self);
        if (rc == PYGEN_ERROR)
            return rc;
        Py_CLEAR(*result); /* the future only said "look again" */
    }
}

static PySendResult await_step(PyObject *object, PyObject *arg, PyObject **result) {
    asgi_await_object *self = (asgi_await_object *)object;
    *result = NULL;
    if (self->kind == AWAIT_ROUND) { /* yielding None resumes in the next round */
        self->kind = AWAIT_DONE;
        *result = Py_NewRef(Py_None);
        return PYGEN_NEXT;
    }
    if (self->kind == AWAIT_DONE) {
        self->kind = AWAIT_ENDED;
        *result = Py_NewRef(Py_None);
        return PYGEN_RETURN;
    }
    if (self->running || self->kind == AWAIT_ENDED) {
        *result = self->running ? coroutine_runs() : coroutine_has_ended();
        return PYGEN_ERROR;
    }
    Py_INCREF(object);
    self->running = true;
    PySendResult rc = step(self, arg, result);
    self->running = false;
    if (rc != PYGEN_NEXT)
        self->kind = AWAIT_ENDED; /* a second await must not get another message */
    Py_DECREF(object);
    return rc;
}

/* Converts a step into the results of Python's send() and __next__. Wraps the value in
 * StopIteration explicitly, because PyErr_SetObject would unpack a tuple. */
static PyObject *step_as_method(PyObject *object, PyObject *arg) {
    PyObject *result = NULL;
    switch (await_step(object, arg, &result)) {
    case PYGEN_NEXT:
        return result;
    case PYGEN_ERROR:
        return NULL;
    case PYGEN_RETURN:
        break;
    }
    PyObject *stop = PyObject_CallFunctionObjArgs(PyExc_StopIteration, result, NULL);
    Py_DECREF(result);
    if (stop)
        PyErr_SetObject(PyExc_StopIteration, stop);
    Py_XDECREF(stop);
    return NULL;
}

static PyObject *await_next(PyObject *object) { return step_as_method(object, Py_None); }

static PyObject *await_throw(PyObject *object, PyObject *args) {
    asgi_await_object *self = (asgi_await_object *)object;
    if (self->running)
        return coroutine_runs();
    if (self->kind == AWAIT_ENDED)
        return coroutine_has_ended();
    if (!self->iterator) {
        self->kind = AWAIT_ENDED;
        return coroutine_raise(args);
    }
    Py_INCREF(object);
    self->running = true;
    PyObject *yielded = coroutine_throw(self->st, self->iterator, args);
    if (!yielded) {
        stop_waiting(self);
        self->kind = AWAIT_ENDED;
    }
    self->running = false;
    Py_DECREF(object);
    return yielded;
}

static PyObject *await_close(PyObject *object, PyObject *ignored) {
    (void)ignored;
    asgi_await_object *self = (asgi_await_object *)object;
    if (self->running)
        return coroutine_runs();
    self->kind = AWAIT_ENDED;
    stop_waiting(self);
    Py_RETURN_NONE;
}

static PyObject *await_self(PyObject *object) { return Py_NewRef(object); }
static PyObject *await_await(PyObject *object, PyObject *ignored) {
    (void)ignored;
    return Py_NewRef(object);
}

static int await_traverse(PyObject *object, visitproc visit, void *arg) {
    asgi_await_object *self = (asgi_await_object *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->exchange);
    Py_VISIT(self->future);
    Py_VISIT(self->iterator);
    return 0;
}

static int await_clear(PyObject *object) {
    asgi_await_object *self = (asgi_await_object *)object;
    stop_waiting(self);
    self->kind = AWAIT_ENDED;
    Py_CLEAR(self->exchange);
    return 0;
}

static void await_dealloc(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    await_clear(object);
    PyObject_GC_Del(object);
    Py_DECREF(type);
}

static PyMethodDef await_methods[] = {
    {"send", step_as_method, METH_O, NULL},
    {"throw", await_throw, METH_VARARGS, NULL},
    {"close", await_close, METH_NOARGS, NULL},
    /* Also by name: Python looks up the name to recognise coroutines. */
    {"__await__", await_await, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot await_slots[] = {
    {Py_tp_doc, "The awaitable of receive() and send()."},
    {Py_am_await, await_self},
    {Py_am_send, await_step},
    {Py_tp_iter, await_self},
    {Py_tp_iternext, await_next},
    {Py_tp_methods, await_methods},
    {Py_tp_traverse, await_traverse},
    {Py_tp_clear, await_clear},
    {Py_tp_dealloc, await_dealloc},
    {0, NULL},
};
PyType_Spec asgi_await_spec = {
    .name = "_caddysnake.Await",
    .basicsize = sizeof(asgi_await_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = await_slots,
};
