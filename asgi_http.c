/* The HTTP messages of ASGI and its extensions path send, early hints and
 * trailers. */
#include "asgi.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- send(message) */

PyObject *http_send_start(asgi_exchange *self, PyObject *message) {
    if (self->head.status)
        return PyErr_Format(PyExc_RuntimeError, "'http.response.start' was sent before");
    if (!self->slot)
        return output_sent(self);
    int promised = 0;
    if (head_from_asgi(self->st, self->slot, &self->head, message) < 0 ||
        (promised = message_flag(message, self->st->s_trailers)) < 0) {
        self->head.status = 0;
        return NULL;
    }
    self->trailers_promised = promised;
    self->no_body = head_method_is(self->slot, "HEAD") || status_has_no_body(self->head.status);
    return output_sent(self);
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

/* Trailers will follow, and the client can take them. */
static bool may_have_trailers(asgi_exchange *self) {
    return self->trailers_promised && self->slot && self->slot->features & SNAKE_TRAILERS;
}

/* Checks the body against the app's Content-Length, or sets one when all is known. */
static int check_length(asgi_exchange *self, uint64_t len, bool last) {
    int64_t length = self->head.content_length;
    if (length < 0) {
        bool unknown = self->no_body && !len; /* of HEAD, what GET would give */
        if (last && !self->head_sent && !unknown && !may_have_trailers(self) &&
            !status_has_no_body(self->head.status))
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

PyObject *http_send_body(asgi_exchange *self, PyObject *message) {
    if (!self->head.status)
        return PyErr_Format(PyExc_RuntimeError,
                            "a response body was sent before the start of the response");
    if (self->body_complete)
        return PyErr_Format(PyExc_RuntimeError,
                            "a response body was sent where trailers were promised");
    int more = message_flag(message, self->st->s_more_body);
    if (more < 0)
        return NULL;
    PyObject *body = message_body(self, message), *result = NULL;
    char *data;
    Py_ssize_t len;
    if (!body || PyBytes_AsStringAndSize(body, &data, &len) < 0)
        goto out;
    if (self->slot) {
        if (check_length(self, (uint64_t)len, !more) < 0) {
            output_abandon(self, true);
            goto out;
        }
        self->sent += (uint64_t)len;
        /* Without a body the head is all there is, even if the app goes on. */
        bool last = self->no_body || (!more && !may_have_trailers(self));
        span_of_bytes bytes = {data, self->no_body ? 0 : (size_t)len};
        if (output_write(self, (span_of_bytes){NULL, 0}, bytes, last) < 0)
            goto out;
    }
    self->all_sent = !more;
    self->body_complete = !more && self->trailers_promised;
    self->complete = !more && !self->trailers_promised;
    result = output_sent(self);
out:
    Py_XDECREF(body);
    return result;
}

/* ---- extensions */

int http_pack_trailers(asgi_exchange *self) {
    snake_slot *slot = self->slot;
    uint32_t headers = slot->out_header_count, end = slot->out_len;
    int rc = fields_from_pairs(slot, self->trailers);
    slot->out_trailer_count = slot->out_header_count - headers;
    slot->out_header_count = headers;
    if (rc < 0)
        slot->out_len = end;
    else
        slot->out_body_end = end;
    return rc;
}

static PyObject *send_trailers(asgi_exchange *self, PyObject *message) {
    if (!self->body_complete)
        return PyErr_Format(PyExc_RuntimeError, "'http.response.trailers' must follow the body of "
                                                "a response that was started with trailers");
    int more = message_flag(message, self->st->s_more_trailers);
    PyObject *headers = more < 0 ? NULL : PyDict_GetItemWithError(message, self->st->s_headers);
    if (PyErr_Occurred())
        return NULL;
    PyObject *pairs = headers ? PySequence_List(headers) : PyList_New(0);
    if (!pairs || fields_from_pairs(NULL, pairs) < 0) {
        Py_XDECREF(pairs);
        return NULL;
    }
    if (!self->trailers) {
        self->trailers = pairs;
    } else {
        PyObject *all = PySequence_Concat(self->trailers, pairs);
        Py_DECREF(pairs);
        if (!all)
            return NULL;
        Py_DECREF(self->trailers);
        self->trailers = all;
    }
    self->complete = !more;
    if (!more && self->slot && output_end(self) < 0)
        return NULL;
    return output_sent(self);
}

/* A hint may come until the response is complete; once the head is out it is too late for one. */
static PyObject *send_hint(asgi_exchange *self, PyObject *message) {
    PyObject *links = PyDict_GetItemWithError(message, self->st->s_links);
    if (!links)
        return PyErr_Occurred()
                   ? NULL
                   : PyErr_Format(PyExc_ValueError, "'http.response.early_hint' needs 'links'");
    snake_hint *hint = hint_from_links(links);
    if (!hint)
        return NULL;
    if (self->slot && !self->head_sent && self->slot->features & SNAKE_EARLY_HINTS) {
        slot_send_hint(self->slot, hint);
        asgi_announce(self->app);
    } else {
        snake_hints_free(hint);
    }
    return output_sent(self);
}

/* Opens a regular file; -1 with OSError. */
static int open_file(PyObject *path, struct stat *about) {
    PyObject *encoded = NULL;
    if (!PyUnicode_FSConverter(path, &encoded))
        return -1;
    const char *name = PyBytes_AsString(encoded);
    /* Not always absolute: Starlette passes on what its FileResponse was given. */
    int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, about) < 0) {
        PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, path);
    } else if (!S_ISREG(about->st_mode)) {
        errno = S_ISDIR(about->st_mode) ? EISDIR : EINVAL;
        PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, path);
    }
    Py_DECREF(encoded);
    if (PyErr_Occurred() && fd >= 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static PyObject *send_path(asgi_exchange *self, PyObject *message) {
    if (!self->head.status || self->head_sent)
        return PyErr_Format(PyExc_RuntimeError, "'http.response.pathsend' must be the one message "
                                                "that follows the start of a response");
    PyObject *path = PyDict_GetItemWithError(message, self->st->s_path);
    if (!path || !PyUnicode_Check(path))
        return PyErr_Occurred()
                   ? NULL
                   : PyErr_Format(PyExc_TypeError, "'http.response.pathsend' needs 'path', a str");
    if (!self->slot)
        return output_sent(self);
    struct stat about;
    int fd = open_file(path, &about);
    if (fd < 0)
        return NULL;
    PyObject *result = NULL;
    snake_slot *slot = self->slot;
    int64_t length = self->head.content_length;
    if (length > about.st_size && !self->no_body) {
        PyErr_Format(PyExc_RuntimeError, "%R is shorter than the response's Content-Length of %lld",
                     path, (long long)length);
        goto out;
    }
    if (length < 0 && !status_has_no_body(self->head.status) &&
        head_add_content_length(slot, &self->head, (uint64_t)about.st_size) < 0)
        goto out;
    slot->out_head_len = slot->out_len;
    self->head_sent = self->complete = true;
    uint32_t flags = SNAKE_OUT_HEAD | SNAKE_OUT_END;
    if (!self->no_body) {
        slot->file_fd = fd; /* Go's from here on */
        slot->file_offset = 0;
        slot->file_len = self->head.content_length;
        flags |= SNAKE_OUT_FILE;
        fd = -1;
    }
    output_close(self, flags);
    result = output_sent(self);
out:
    if (fd >= 0)
        close(fd);
    return result;
}

static PyObject *send_message(asgi_exchange *self, PyObject *type, PyObject *message) {
    core *st = self->st;
    if (text_is(type, st->s_start))
        return http_send_start(self, message);
    if (text_is(type, st->s_response_body))
        return http_send_body(self, message);
    if (text_is(type, st->s_pathsend))
        return send_path(self, message);
    if (text_is(type, st->s_response_trailers))
        return send_trailers(self, message);
    if (text_is(type, st->s_early_hint))
        return send_hint(self, message);
    return unexpected_message(type);
}

enum { SENDS_IN_A_ROUND = 16 };

/* The client has left. Only a stream has to hear of it, at its second piece: of a response that
 * ends by itself, an exception would be an error in the logs of an app that did nothing wrong. */
static PyObject *send_late(asgi_exchange *self, PyObject *type, PyObject *message) {
    int more = 0;
    if (text_is(type, self->st->s_response_body)) {
        PyObject *body = PyDict_GetItemWithError(message, self->st->s_body);
        more = PyErr_Occurred() ? -1 : message_flag(message, self->st->s_more_body);
        if (more > 0)
            more = body ? PyObject_IsTrue(body) : 0;
    }
    if (more < 0)
        return NULL;
    /* A cancellation had better hit the generator behind a stream than send(), so few sends wait.
     */
    if (self->listeners_turn && ++self->late_sends % SENDS_IN_A_ROUND == 0)
        return await_on(self, AWAIT_ROUND);
    if (more && !self->listeners_turn) {
        if (!self->excused)
            return disconnected_error();
        self->excused = false;
    }
    return Py_NewRef(self->st->awaited_none);
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

static PyObject *receive_now(asgi_exchange *self) {
    if (!self->slot || self->client_left)
        return PyDict_Copy(self->st->disconnect_message);
    if (!self->body_received)
        return receive_body(self);
    if (self->client_stopped_sending)
        return PyDict_Copy(self->st->disconnect_message);
    return NULL;
}

/* ---- events */

void http_end(asgi_exchange *self, bool returned, bool failed) {
    bool excused = self->client_left || self->client_stopped_sending;
    if (self->slot && !self->complete && returned && self->body_complete) {
        self->complete = true; /* only trailers are missing */
        if (output_end(self) == 0)
            return;
        PyErr_Clear();
        self->complete = false;
    }
    if (self->slot && !self->complete && !self->no_body && returned && !excused) {
        failed = true;
        PyErr_SetString(PyExc_RuntimeError, self->head.status
                                                ? "the app returned without completing its response"
                                                : "the app returned without sending a response");
        report_exception(self->st, self->app->id, "ASGI", self->scope, false);
    }
    if (self->slot && !self->complete)
        output_abandon(self, failed || self->too_large);
}

static void on_chunk(asgi_exchange *self) { await_wake(self->waiting, AWAIT_RECEIVE); }

/* Seconds that an app which waits in receive() has to cancel what still sends. */
static const double LISTENERS_TURN = 1.0;

static PyObject *end_listeners_turn(PyObject *object, PyObject *ignored) {
    (void)ignored;
    asgi_exchange *self = (asgi_exchange *)object;
    self->listeners_turn = false;
    Py_RETURN_NONE;
}

/* The client can't be sent to any more (docs/decisions/0053). */
static void lose_client(asgi_exchange *self) {
    static PyMethodDef method = {"end_listeners_turn", end_listeners_turn, METH_NOARGS, NULL};
    self->client_left = self->excused = true;
    if (await_waits(self->waiting, AWAIT_RECEIVE) && self->app->call_later) {
        PyObject *call = PyCFunction_New(&method, (PyObject *)self);
        PyObject *timer =
            call ? PyObject_CallFunction(self->app->call_later, "dO", LISTENERS_TURN, call) : NULL;
        self->listeners_turn = timer != NULL;
        if (!timer) /* the loop is closed */
            PyErr_Clear();
        Py_XDECREF(timer);
        Py_XDECREF(call);
    }
    await_wake(self->waiting, AWAIT_DRAIN);
}

static void on_gone(asgi_exchange *self) {
    if (slot_is_lost(self->slot)) {
        if (slot_gone(self->slot) == SNAKE_TIMED_OUT && exchange_cancel(self) < 0)
            report_exception(self->st, self->app->id, "ASGI", self->scope, false);
        self->pending_len = 0;
        slot_release(exchange_detach(self));
        lose_client(self);
    } else {
        self->client_stopped_sending = true;
        /* One that closes its side before the answer may still read it; one that does so in the
         * middle of a stream has left (docs/decisions/0008). */
        if (self->head_sent && !self->complete) {
            output_abandon(self, false);
            lose_client(self);
        }
    }
    await_wake(self->waiting, AWAIT_RECEIVE);
}

const asgi_protocol http_protocol = {receive_now, send_message, send_late,
                                     http_end,    on_chunk,     on_gone};
