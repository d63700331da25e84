/* Exchanges whose client has left. They are counted, and cancelled if they run for long while their
 * connection has too many of them (docs/decisions/0054). */
#include "asgi.h"

/* Seconds that an abandoned exchange may run on once there are too many of them. */
static const double ABANDONED_FOR = 30.0;

static PyObject *on_overdue(PyObject *object, PyObject *ignored);

static void start_overdue(asgi_exchange *self) {
    static PyMethodDef method = {"on_overdue", on_overdue, METH_NOARGS, NULL};
    PyObject *timer = NULL;
    if (self->app->call_later) {
        PyObject *call_later = Py_NewRef(self->app->call_later);
        PyObject *call = PyCFunction_New(&method, (PyObject *)self);
        timer = call ? PyObject_CallFunction(call_later, "dO", ABANDONED_FOR, call) : NULL;
        Py_DECREF(call_later);
        Py_XDECREF(call);
        if (!timer) /* the loop is closed */
            PyErr_Clear();
    }
    PyObject *last = self->overdue;
    self->overdue = timer;
    Py_XDECREF(last);
}

/* The timer's callback: cancels the exchange if its connection is at the limit. */
static PyObject *on_overdue(PyObject *object, PyObject *ignored) {
    (void)ignored;
    asgi_exchange *self = (asgi_exchange *)object;
    if (!self->abandoned)
        Py_RETURN_NONE;
    if (__atomic_load_n(&self->abandoned->running, __ATOMIC_RELAXED) < SNAKE_MAX_ABANDONED)
        start_overdue(self);
    else if (asgi_exchange_cancel(self) < 0)
        report_exception(self->st, self->app->id, "cancelling a request", NULL, false);
    Py_RETURN_NONE;
}

void asgi_exchange_abandon(asgi_exchange *self) {
    snake_slot *slot = asgi_exchange_detach(self);
    /* After a complete response, the code that still runs is a background task and serves no
     * client. */
    if (slot->abandoned && !self->ended && !self->complete) {
        self->abandoned = slot->abandoned;
        slot->abandoned = NULL;
    }
    slot_release(slot);
    if (self->abandoned)
        start_overdue(self);
}

void asgi_exchange_end_abandoned(asgi_exchange *self) {
    if (self->abandoned)
        snake_abandoned_end(self->abandoned);
    self->abandoned = NULL;
    PyObject *timer = self->overdue;
    self->overdue = NULL;
    if (!timer)
        return;
    PyObject *rc = PyObject_CallMethodObjArgs(timer, self->st->s_cancel, NULL);
    if (!rc) /* the exchange still ends by itself */
        PyErr_Clear();
    Py_XDECREF(rc);
    Py_DECREF(timer);
}
