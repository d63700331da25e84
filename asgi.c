/* One ASGI HTTP request, and the loop's side of an app's queue.
 *
 * The exchange is the request's coroutine: the loop's Task steps it, it steps
 * the app's coroutine and ends the response when that ends. receive() and
 * send() are bound to it. An exchange is active until its coroutine has ended
 * and its slot is given back. */
#include "core.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ROUND = 256, HIGH_WATER = 64 << 10 };

struct asgi_exchange {
    PyObject_HEAD
    core *st;
    snake_app *app;                   /* strong */
    snake_slot *slot;                 /* NULL once the response is complete or given up */
    PyObject *scope, *receive, *send; /* until the coroutine has ended */
    PyObject *coroutine;              /* of the app */
    PyObject *task;
    await_object *waiting;
    asgi_exchange *prev, *next; /* among the app's active ones */
    response_head head;
    uint64_t sent;
    unsigned char *pending; /* body bytes for which out is not free yet */
    uint32_t pending_len, pending_cap;
    uint32_t close_flags; /* how to close once out is free; 0: not yet */
    bool pending_last;
    bool head_sent, no_body, complete; /* complete: the app has sent its last message */
    bool body_received, too_large;
    bool client_left, client_stopped_sending;
    bool ended; /* the coroutine */
    bool settled;
};

/* ---- waking the loop (any thread, no GIL) */

static void wake_loop(snake_app *app) {
    if (!__atomic_load_n(&app->armed, __ATOMIC_SEQ_CST) ||
        !__atomic_exchange_n(&app->armed, 0, __ATOMIC_SEQ_CST))
        return;
    uint64_t one = 1;
    while (write(app->efd, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

void asgi_push(snake_slot *slot) {
    snake_app *app = slot->app; /* the loop may be done with the slot before we are */
    queue_push(&app->queue, slot);
    wake_loop(app);
}

void asgi_post(snake_slot *slot, uint32_t event) {
    if (!__atomic_fetch_or(&slot->to_py, event, __ATOMIC_ACQ_REL))
        asgi_push(slot);
}

/* ---- telling Go */

/* Go hears of what was listed at the end of the drain, or else at the end of the loop's round. */
static void announce(snake_app *app) {
    if (app->draining || app->flush_soon)
        return;
    PyObject *handle = PyObject_CallFunctionObjArgs(app->call_soon, app->flush, NULL);
    if (!handle) { /* the loop is closed */
        PyErr_Clear();
        ring_now();
        return;
    }
    Py_DECREF(handle);
    app->flush_soon = true;
    ring_later();
}

PyObject *asgi_flush(PyObject *object, PyObject *ignored) {
    (void)ignored;
    ((snake_app *)object)->flush_soon = false;
    ring_now();
    Py_RETURN_NONE;
}

/* ---- life of an exchange */

static void activate(asgi_exchange *self) {
    self->next = self->app->active;
    if (self->next)
        self->next->prev = self;
    self->app->active = self;
    Py_INCREF((PyObject *)self);
}

/* Lets go of the exchange once nothing of it is left to do. */
static void settle(asgi_exchange *self) {
    if (!self->ended || self->slot || self->settled)
        return;
    self->settled = true;
    snake_app *app = self->app;
    if (self->prev)
        self->prev->next = self->next;
    else
        app->active = self->next;
    if (self->next)
        self->next->prev = self->prev;
    self->prev = self->next = NULL;
    free(self->pending);
    self->pending = NULL;
    self->pending_len = self->pending_cap = 0;
    app_finished_one(app);
    Py_DECREF((PyObject *)self);
}

static snake_slot *detach(asgi_exchange *self) {
    snake_slot *slot = self->slot;
    self->slot = NULL;
    return slot;
}

static void close_slot(asgi_exchange *self, uint32_t flags) {
    slot_close(detach(self), flags);
    announce(self->app);
}

/* Ends a response that the app will not complete. failed: that is the app's fault. */
static void abandon_response(asgi_exchange *self, bool failed) {
    if (!self->slot || self->close_flags)
        return;
    self->complete = true;
    self->pending_len = 0;
    self->pending_last = false;
    if (!self->head_sent)
        close_slot(self, failed ? SNAKE_OUT_FAIL : SNAKE_OUT_ABORT);
    else if (slot_out_free_or_wanted(self->slot))
        close_slot(self, SNAKE_OUT_ABORT);
    else
        self->close_flags = SNAKE_OUT_ABORT; /* when Go gives out back */
}

/* out is filled: give it to Go. */
static void send_piece(asgi_exchange *self, bool last) {
    uint32_t flags = self->head_sent ? 0 : SNAKE_OUT_HEAD;
    self->head_sent = true;
    if (last) {
        close_slot(self, flags | SNAKE_OUT_END);
    } else {
        slot_out_send(self->slot, flags);
        announce(self->app);
    }
}

/* out is free: send what has piled up, by swapping the buffers. */
static void flush_pending(asgi_exchange *self) {
    if (!self->pending_len && !self->pending_last)
        return;
    snake_slot *slot = self->slot;
    unsigned char *out = slot->out;
    uint32_t cap = slot->out_cap;
    slot_out_reset(slot);
    if (self->pending_len) {
        slot->out = self->pending;
        slot->out_cap = self->pending_cap;
        slot->out_len = self->pending_len;
        self->pending = out;
        self->pending_cap = cap;
        self->pending_len = 0;
    }
    send_piece(self, self->pending_last);
}

static int append_pending(asgi_exchange *self, const char *data, size_t len) {
    size_t needed = self->pending_len + len;
    if (needed > self->pending_cap) {
        size_t cap = needed + needed / 2;
        unsigned char *bigger = cap > UINT32_MAX ? NULL : realloc(self->pending, cap);
        if (!bigger) {
            PyErr_NoMemory();
            return -1;
        }
        self->pending = bigger;
        self->pending_cap = (uint32_t)cap;
    }
    memcpy(self->pending + self->pending_len, data, len);
    self->pending_len = (uint32_t)needed;
    return 0;
}

static int write_body(asgi_exchange *self, const char *data, size_t len, bool last) {
    snake_slot *slot = self->slot;
    if (!self->pending_len && slot_out_free_or_wanted(slot)) {
        if (self->head_sent)
            slot_out_reset(slot);
        else
            slot->out_head_len = slot->out_len;
        unsigned char *room = slot_out_room(slot, len);
        if (!room)
            return -1;
        memcpy(room, data, len);
        if (len || last || !self->head_sent)
            send_piece(self, last);
        return 0;
    }
    if (len && append_pending(self, data, len) < 0)
        return -1;
    self->pending_last = last;
    if (slot_out_free_or_wanted(slot))
        flush_pending(self);
    return 0;
}

/* ---- send(message) */

static PyObject *done_at_once(asgi_exchange *self) { return Py_NewRef(self->st->awaited_none); }

static PyObject *send_start(asgi_exchange *self, PyObject *message) {
    if (self->head.status)
        return PyErr_Format(PyExc_RuntimeError, "'http.response.start' was sent before");
    if (!self->slot)
        return done_at_once(self);
    if (head_from_asgi(self->st, self->slot, &self->head, message) < 0) {
        self->head.status = 0;
        return NULL;
    }
    self->no_body = head_method_is(self->slot, "HEAD") || status_has_no_body(self->head.status);
    return done_at_once(self);
}

/* New bytes of the message's body; NULL with an exception. */
static PyObject *message_body(asgi_exchange *self, PyObject *message) {
    PyObject *body = PyDict_GetItemWithError(message, self->st->s_body);
    if (!body)
        return PyErr_Occurred() ? NULL : Py_NewRef(self->st->empty_bytes);
    if (PyBytes_Check(body))
        return Py_NewRef(body);
    if (PyByteArray_Check(body) || PyMemoryView_Check(body))
        return PyBytes_FromObject(body);
    return PyErr_Format(PyExc_TypeError, "'body' must be bytes, not %R", body);
}

/* Checks the body against the app's Content-Length, or sets one when all is known. */
static int check_length(asgi_exchange *self, uint64_t len, bool last) {
    int64_t length = self->head.content_length;
    if (length < 0) {
        if (last && !self->head_sent && !status_has_no_body(self->head.status))
            return head_add_content_length(self->slot, &self->head, len);
        return 0;
    }
    if (self->no_body)
        return 0;
    bool longer = self->sent + len > (uint64_t)length;
    if (!longer && (!last || self->sent + len == (uint64_t)length))
        return 0;
    PyErr_Format(PyExc_RuntimeError, "the response body is %s than its Content-Length of %lld",
                 longer ? "longer" : "shorter", (long long)length);
    return -1;
}

static PyObject *send_body(asgi_exchange *self, PyObject *message) {
    if (!self->head.status)
        return PyErr_Format(PyExc_RuntimeError,
                            "'http.response.body' was sent before 'http.response.start'");
    PyObject *more_object = PyDict_GetItemWithError(message, self->st->s_more_body);
    int more = more_object ? PyObject_IsTrue(more_object) : 0;
    if (more < 0 || PyErr_Occurred())
        return NULL;
    PyObject *body = message_body(self, message), *result = NULL;
    char *data;
    Py_ssize_t len;
    if (!body || PyBytes_AsStringAndSize(body, &data, &len) < 0)
        goto out;
    if (self->slot) {
        if (check_length(self, (uint64_t)len, !more) < 0) {
            abandon_response(self, true);
            goto out;
        }
        self->sent += (uint64_t)len;
        /* Without a body the head is all there is, even if the app goes on. */
        if (write_body(self, data, self->no_body ? 0 : (size_t)len, !more || self->no_body) < 0)
            goto out;
    }
    self->complete = !more;
    result = self->pending_len > HIGH_WATER ? await_on(self, AWAIT_DRAIN) : done_at_once(self);
out:
    Py_XDECREF(body);
    return result;
}

static bool text_is(PyObject *text, PyObject *name) {
    return text == name || (PyUnicode_Check(text) && PyUnicode_Compare(text, name) == 0);
}

static PyObject *exchange_send(PyObject *object, PyObject *message) {
    asgi_exchange *self = (asgi_exchange *)object;
    core *st = self->st;
    if (!PyDict_Check(message))
        return PyErr_Format(PyExc_TypeError, "an ASGI message is a dict, not %R", message);
    PyObject *type = PyDict_GetItemWithError(message, st->s_type);
    if (!type)
        return PyErr_Occurred() ? NULL
                                : PyErr_Format(PyExc_ValueError, "an ASGI message needs a 'type'");
    if (self->client_left)
        return disconnected_error();
    if (self->complete)
        return PyErr_Format(PyExc_RuntimeError, "%R was sent after the response was complete",
                            type);
    if (text_is(type, st->s_start))
        return send_start(self, message);
    if (text_is(type, st->s_response_body))
        return send_body(self, message);
    return PyErr_Format(PyExc_RuntimeError, "unexpected ASGI message %R", type);
}

int asgi_drained(asgi_exchange *self) {
    if (self->client_left) {
        disconnected_error();
        return -1;
    }
    return !self->slot || !self->pending_len;
}

/* ---- receive() */

static PyObject *request_message(asgi_exchange *self, PyObject *body, bool more) {
    PyObject *message = body ? PyDict_Copy(self->st->request_message) : NULL;
    if (message && (PyDict_SetItem(message, self->st->s_body, body) < 0 ||
                    (more && PyDict_SetItem(message, self->st->s_more_body, Py_True) < 0)))
        Py_CLEAR(message);
    Py_XDECREF(body);
    return message;
}

static PyObject *receive_body(asgi_exchange *self) {
    snake_slot *slot = self->slot;
    switch (slot->body_kind) {
    case SNAKE_BODY_NONE:
        self->body_received = true;
        return PyDict_Copy(self->st->request_message);
    case SNAKE_BODY_INLINE:
        self->body_received = true;
        return request_message(
            self,
            PyBytes_FromStringAndSize((const char *)slot->in + slot->body_offset, slot->body_len),
            false);
    default:
        break;
    }
    if (!body_is_ready(slot)) {
        body_want(slot);
        return NULL;
    }
    uint32_t how;
    PyObject *chunk = body_take(slot, &how);
    if (chunk && (how == SNAKE_LOST || how == SNAKE_TOO_LARGE)) {
        Py_DECREF(chunk);
        self->body_received = true;
        self->client_stopped_sending = true;
        self->too_large = how == SNAKE_TOO_LARGE;
        return PyDict_Copy(self->st->disconnect_message);
    }
    self->body_received = how == SNAKE_EOF;
    return request_message(self, chunk, how != SNAKE_EOF);
}

PyObject *asgi_receive_now(asgi_exchange *self) {
    if (!self->slot || self->client_left)
        return PyDict_Copy(self->st->disconnect_message);
    if (!self->body_received)
        return receive_body(self);
    if (self->client_stopped_sending)
        return PyDict_Copy(self->st->disconnect_message);
    return NULL;
}

static PyObject *exchange_receive(PyObject *object, PyObject *ignored) {
    (void)ignored;
    asgi_exchange *self = (asgi_exchange *)object;
    PyObject *message = asgi_receive_now(self);
    if (message)
        return await_value(self->st, message);
    return PyErr_Occurred() ? NULL : await_on(self, AWAIT_RECEIVE);
}

await_object **asgi_waiting(asgi_exchange *self) { return &self->waiting; }

PyObject *asgi_create_future(asgi_exchange *self) {
    if (!self->app->create_future)
        return PyErr_Format(PyExc_RuntimeError, "the app has been unloaded");
    return PyObject_CallNoArgs(self->app->create_future);
}

/* ---- the request's coroutine */

/* The iterator behind what the app returned: itself if it is a coroutine. */
static PyObject *awaitable_iterator(core *st, PyObject *awaitable) {
    if (PyType_GetSlot(Py_TYPE(awaitable), Py_am_send))
        return Py_NewRef(awaitable);
    return PyObject_CallMethodObjArgs(awaitable, st->s___await__, NULL);
}

static int first_step(asgi_exchange *self) {
    PyObject *awaitable = PyObject_CallFunctionObjArgs(self->app->callable, self->scope,
                                                       self->receive, self->send, NULL);
    Py_CLEAR(self->receive);
    Py_CLEAR(self->send);
    if (!awaitable)
        return -1;
    self->coroutine = awaitable_iterator(self->st, awaitable);
    Py_DECREF(awaitable);
    return self->coroutine ? 0 : -1;
}

/* The app's coroutine has ended, by an exception if one is set. Ends the response. Returns -1 when
 * the exception is a cancellation, which the Task must see. */
static int end_coroutine(asgi_exchange *self) {
    if (fork_is_child())
        _exit(70); /* EX_SOFTWARE: a forked child must not answer for its parent */
    PyObject *type = NULL, *value = NULL, *traceback = NULL;
    bool cancelled = false, failed = true;
    bool excused = self->client_left || self->client_stopped_sending;
    if (PyErr_Occurred()) {
        cancelled = PyErr_ExceptionMatches(self->st->cancelled_error);
        if (cancelled)
            PyErr_Fetch(&type, &value, &traceback);
        else
            failed = report_exception(self->st, self->app->id, "ASGI", self->scope, excused);
    } else if (excused) {
        failed = false; /* nobody waits for its response */
    } else if (self->slot && !self->complete && !self->no_body) {
        PyErr_SetString(PyExc_RuntimeError, self->head.status
                                                ? "the app returned without completing its response"
                                                : "the app returned without sending a response");
        report_exception(self->st, self->app->id, "ASGI", self->scope, false);
    }
    if (self->slot && !self->complete)
        abandon_response(self, failed || self->too_large);
    self->ended = true;
    Py_CLEAR(self->coroutine);
    Py_CLEAR(self->scope);
    Py_CLEAR(self->task);
    settle(self);
    if (cancelled)
        PyErr_Restore(type, value, traceback);
    return cancelled ? -1 : 0;
}

static PySendResult exchange_step(PyObject *object, PyObject *arg, PyObject **result) {
    asgi_exchange *self = (asgi_exchange *)object;
    *result = NULL;
    PySendResult rc = PYGEN_ERROR;
    if (self->ended) {
        PyErr_SetString(PyExc_RuntimeError, "cannot reuse already awaited coroutine");
        return PYGEN_ERROR;
    }
    if (self->coroutine || first_step(self) == 0)
        rc = PyIter_Send(self->coroutine, arg, result);
    if (rc == PYGEN_NEXT)
        return rc;
    Py_CLEAR(*result);
    if (end_coroutine(self) < 0)
        return PYGEN_ERROR;
    *result = Py_NewRef(Py_None);
    return PYGEN_RETURN;
}

static PyObject *exchange_send_method(PyObject *object, PyObject *arg) {
    PyObject *result;
    switch (exchange_step(object, arg, &result)) {
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

static PyObject *exchange_next(PyObject *object) { return exchange_send_method(object, Py_None); }

static PyObject *exchange_throw(PyObject *object, PyObject *args) {
    asgi_exchange *self = (asgi_exchange *)object;
    if (self->coroutine) {
        PyObject *throw = PyObject_GetAttr(self->coroutine, self->st->s_throw);
        PyObject *yielded = throw ? PyObject_CallObject(throw, args) : NULL;
        Py_XDECREF(throw);
        if (yielded)
            return yielded;
        if (PyErr_ExceptionMatches(PyExc_StopIteration))
            PyErr_Clear(); /* it swallowed the exception and returned */
    } else {
        PyObject *exception;
        if (!PyArg_UnpackTuple(args, "throw", 1, 3, &exception, &(PyObject *){NULL},
                               &(PyObject *){NULL}))
            return NULL;
        if (PyExceptionInstance_Check(exception))
            PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
        else
            PyErr_SetNone(exception);
        if (self->ended)
            return NULL;
    }
    if (end_coroutine(self) == 0)
        PyErr_SetNone(PyExc_StopIteration);
    return NULL;
}

static PyObject *exchange_close(PyObject *object, PyObject *ignored) {
    (void)ignored;
    asgi_exchange *self = (asgi_exchange *)object;
    if (self->ended)
        Py_RETURN_NONE;
    if (self->coroutine) {
        PyObject *closed = PyObject_CallMethodObjArgs(self->coroutine, self->st->s_close, NULL);
        if (!closed)
            report_exception(self->st, self->app->id, "ASGI", self->scope, false);
        Py_XDECREF(closed);
    }
    if (!self->complete)
        abandon_response(self, true);
    self->complete = true;
    end_coroutine(self);
    PyErr_Clear();
    Py_RETURN_NONE;
}

static PyObject *exchange_self(PyObject *object) { return Py_NewRef(object); }
static PyObject *exchange_await(PyObject *object, PyObject *ignored) {
    (void)ignored;
    return Py_NewRef(object);
}

/* What the app's coroutine says of itself, for task.print_stack(), repr() and debuggers. */
static PyObject *exchange_coroutine_attribute(PyObject *object, void *name) {
    asgi_exchange *self = (asgi_exchange *)object;
    PyObject *about = self->coroutine ? self->coroutine : (PyObject *)Py_TYPE(object);
    return PyObject_GetAttrString(about, name);
}

/* ---- the loop's reader */

static asgi_exchange *exchange_new(snake_app *app, snake_slot *slot) {
    static PyMethodDef receive = {"receive", exchange_receive, METH_NOARGS, "receive()"};
    static PyMethodDef send = {"send", exchange_send, METH_O, "send(message)"};
    core *st = app->st;
    asgi_exchange *self = PyObject_GC_New(asgi_exchange, st->asgi_type);
    if (!self)
        return NULL;
    memset((char *)self + sizeof(PyObject), 0, sizeof *self - sizeof(PyObject));
    self->st = st;
    self->app = (snake_app *)Py_NewRef((PyObject *)app);
    self->slot = slot;
    self->head.content_length = -1;
    self->scope = scope_new(st, app->cache, app, slot);
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

static void start_request(snake_app *app, snake_slot *slot) {
    if (slot_is_lost(slot)) {
        slot_release(slot);
        app_finished_one(app);
        return;
    }
    asgi_exchange *self = exchange_new(app, slot);
    if (!self) {
        report_exception(app->st, app->id, "ASGI", NULL, false);
        slot_close(slot, SNAKE_OUT_FAIL);
        app_finished_one(app);
        return;
    }
    slot->owner = self;
    self->client_stopped_sending = slot_gone(slot) != 0;
    activate(self);
    PyObject *args = PyTuple_Pack(1, (PyObject *)self);
    PyObject *task = args ? PyObject_Call(app->new_task, args, app->new_task_options) : NULL;
    if (!task) {
        report_exception(app->st, app->id, "ASGI", self->scope, false);
        if (!self->ended) {
            self->complete = true;
            abandon_response(self, true);
            end_coroutine(self);
        }
    } else if (!self->ended) {
        self->task = Py_NewRef(task);
    }
    Py_XDECREF(task);
    Py_XDECREF(args);
    Py_DECREF((PyObject *)self);
}

static void on_gone(asgi_exchange *self) {
    if (slot_is_lost(self->slot)) {
        if (slot_gone(self->slot) == SNAKE_TIMED_OUT && self->task) {
            PyObject *cancelled = PyObject_CallMethodObjArgs(self->task, self->st->s_cancel, NULL);
            if (!cancelled)
                report_exception(self->st, self->app->id, "ASGI", self->scope, false);
            Py_XDECREF(cancelled);
        }
        self->client_left = true;
        self->pending_len = 0;
        slot_release(detach(self));
        await_wake(self->waiting, AWAIT_DRAIN);
    } else {
        self->client_stopped_sending = true;
        /* One that closes its side before the answer may still read it; one that does so in the
         * middle of a stream has left (docs/decisions/0008). */
        if (self->head_sent && !self->complete) {
            self->client_left = true;
            abandon_response(self, false);
            await_wake(self->waiting, AWAIT_DRAIN);
        }
    }
    await_wake(self->waiting, AWAIT_RECEIVE);
}

static void on_writable(asgi_exchange *self) {
    if (!slot_out_free_or_wanted(self->slot))
        return; /* a send() was faster */
    if (self->close_flags)
        close_slot(self, self->close_flags);
    else
        flush_pending(self);
    await_wake(self->waiting, AWAIT_DRAIN);
}

static void handle_events(snake_app *app, snake_slot *slot) {
    uint32_t events = __atomic_fetch_and(&slot->to_py, TO_PY_CLOSED, __ATOMIC_ACQ_REL);
    if (events & TO_PY_CLOSED) {
        ring_list(slot, SNAKE_GO_RELEASED);
        return;
    }
    if (events & TO_PY_NEW) {
        start_request(app, slot); /* the slot may be Go's again already */
        return;
    }
    asgi_exchange *self = (asgi_exchange *)Py_NewRef((PyObject *)slot->owner);
    if (self->slot == slot && events & TO_PY_WRITABLE)
        on_writable(self);
    if (self->slot == slot && events & TO_PY_BODY)
        await_wake(self->waiting, AWAIT_RECEIVE);
    if (self->slot == slot && events & TO_PY_GONE)
        on_gone(self);
    settle(self);
    Py_DECREF((PyObject *)self);
}

PyObject *asgi_drain(snake_app *app) {
    uint64_t value;
    while (read(app->efd, &value, sizeof value) < 0 && errno == EINTR)
        ;
    app->draining = true;
    for (int n = 0;;) {
        snake_slot *slot;
        while (n < ROUND && (slot = queue_pop(&app->queue))) {
            handle_events(app, slot);
            n++;
            if (!queue_is_empty(&app->queue))
                ring_later();
        }
        if (n >= ROUND) { /* timers and sockets have their turn, then we go on */
            value = 1;
            if (write(app->efd, &value, sizeof value) < 0)
                PyErr_Clear();
            break;
        }
        ring_now();
        __atomic_store_n(&app->armed, 1, __ATOMIC_SEQ_CST);
        if (queue_is_empty(&app->queue) || !__atomic_exchange_n(&app->armed, 0, __ATOMIC_SEQ_CST))
            break;
    }
    app->draining = false;
    ring_now();
    Py_RETURN_NONE;
}

int asgi_cancel_all(snake_app *app) {
    PyObject *tasks = PyList_New(0);
    if (!tasks)
        return -1;
    for (asgi_exchange *e = app->active; e; e = e->next)
        if (e->task && PyList_Append(tasks, e->task) < 0)
            break;
    Py_ssize_t count = PyList_Size(tasks);
    for (Py_ssize_t i = 0; i < count && !PyErr_Occurred(); i++)
        Py_XDECREF(PyObject_CallMethodObjArgs(PyList_GetItem(tasks, i), app->st->s_cancel, NULL));
    Py_DECREF(tasks);
    return PyErr_Occurred() ? -1 : 0;
}

/* ---- the type */

static int exchange_traverse(PyObject *object, visitproc visit, void *arg) {
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

static int exchange_clear(PyObject *object) {
    asgi_exchange *self = (asgi_exchange *)object;
    Py_CLEAR(self->scope);
    Py_CLEAR(self->receive);
    Py_CLEAR(self->send);
    Py_CLEAR(self->coroutine);
    Py_CLEAR(self->task);
    return 0;
}

static void exchange_dealloc(PyObject *object) {
    asgi_exchange *self = (asgi_exchange *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    exchange_clear(object);
    Py_XDECREF((PyObject *)self->app);
    free(self->pending);
    PyObject_GC_Del(object);
    Py_DECREF(type);
}

static PyMethodDef exchange_methods[] = {
    {"send", exchange_send_method, METH_O, NULL},
    {"throw", exchange_throw, METH_VARARGS, NULL},
    {"close", exchange_close, METH_NOARGS, NULL},
    {"__await__", exchange_await, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef exchange_getset[] = {
    {"__name__", exchange_coroutine_attribute, NULL, NULL, "__name__"},
    {"__qualname__", exchange_coroutine_attribute, NULL, NULL, "__qualname__"},
    {"cr_frame", exchange_coroutine_attribute, NULL, "Its frame.", "cr_frame"},
    {"cr_await", exchange_coroutine_attribute, NULL, "What it awaits.", "cr_await"},
    {"cr_code", exchange_coroutine_attribute, NULL, "Its code.", "cr_code"},
    {"cr_running", exchange_coroutine_attribute, NULL, "Whether it runs.", "cr_running"},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyType_Slot asgi_slots[] = {
    {Py_tp_doc, "The coroutine of one ASGI request."},
    {Py_am_await, exchange_self},
    {Py_am_send, exchange_step},
    {Py_tp_iter, exchange_self},
    {Py_tp_iternext, exchange_next},
    {Py_tp_methods, exchange_methods},
    {Py_tp_getset, exchange_getset},
    {Py_tp_traverse, exchange_traverse},
    {Py_tp_clear, exchange_clear},
    {Py_tp_dealloc, exchange_dealloc},
    {0, NULL},
};
PyType_Spec asgi_spec = {
    .name = "_caddysnake.ASGIExchange",
    .basicsize = sizeof(asgi_exchange),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = asgi_slots,
};
