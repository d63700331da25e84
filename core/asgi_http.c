/* The HTTP messages of ASGI and the extensions path send, early hints and trailers. */
#include "asgi.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- send(message)
 *
 * Each handler reads the whole message first, which may run app code: key comparison, iterators,
 * __bool__. It then checks that the response is unchanged, and only then acts. */

static int check_unstarted(const asgi_exchange *self) {
    if (!self->head.status && !self->head_sent)
        return 0;
    PyErr_SetString(PyExc_RuntimeError, "'http.response.start' was sent before");
    return -1;
}

PyObject *asgi_http_send_start(asgi_exchange *self, PyObject *message) {
    packed_fields fields;
    response_head head;
    fields_init(&fields);
    int promised = -1, rc = check_unstarted(self);
    if (!rc && self->slot) {
        rc = head_from_asgi(self->st, &fields, &head, message);
        if (!rc)
            promised = message_flag(message, self->st->s_trailers);
        if (promised < 0 || asgi_exchange_check_open(self) < 0 || check_unstarted(self) < 0)
            rc = -1;
        else if (self->slot)
            rc = head_to_slot(&fields, self->slot, head.status);
    }
    if (!rc && self->slot) {
        self->head = head;
        self->trailers_promised = promised;
        self->no_body = self->is_head_request || status_has_no_body(head.status);
    }
    fields_free(&fields);
    return rc < 0 ? NULL : asgi_output_sent(self);
}

/* The message's body as bytes: a new reference, or NULL with an exception. */
static PyObject *message_body(asgi_exchange *self, PyObject *message) {
    PyObject *body, *bytes = NULL;
    int rc = dict_item(message, self->st->s_body, &body);
    if (!rc)
        return Py_NewRef(self->st->empty_bytes);
    if (rc < 0 || PyBytes_Check(body))
        return body;
    if (PyByteArray_Check(body) || PyMemoryView_Check(body))
        bytes = PyBytes_FromObject(body);
    else
        PyErr_Format(PyExc_TypeError, "'body' must be bytes, not %R", body);
    Py_DECREF(body);
    return bytes;
}

/* Trailers will follow, and the client can take them. */
static bool may_have_trailers(asgi_exchange *self) {
    return self->trailers_promised && self->slot && self->slot->features & SNAKE_TRAILERS_TAKEN;
}

/* Checks the body against the app's Content-Length, or sets the Content-Length when the whole body
 * is known. */
static int check_length(asgi_exchange *self, uint64_t len, bool last) {
    int64_t length = self->head.content_length;
    if (length < 0) {
        bool unknown = self->no_body && !len; /* HEAD: the length of GET's body is unknown */
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

static int check_body_is_due(const asgi_exchange *self) {
    if (self->head.status && !self->body_complete)
        return 0;
    PyErr_SetString(PyExc_RuntimeError,
                    self->body_complete
                        ? "a response body was sent where trailers were promised"
                        : "a response body was sent before the start of the response");
    return -1;
}

PyObject *asgi_http_send_body(asgi_exchange *self, PyObject *message) {
    int more = message_flag(message, self->st->s_more_body);
    if (more < 0)
        return NULL;
    PyObject *body = message_body(self, message), *result = NULL;
    char *data;
    Py_ssize_t len;
    if (!body || PyBytes_AsStringAndSize(body, &data, &len) < 0 ||
        asgi_exchange_check_open(self) < 0 || check_body_is_due(self) < 0)
        goto out;
    if (self->slot) {
        if (check_length(self, (uint64_t)len, !more) < 0) {
            asgi_output_abandon(self, true);
            goto out;
        }
        self->sent += (uint64_t)len;
        /* Without a body, the head completes the response, even if the app continues. */
        bool last = self->no_body || (!more && !may_have_trailers(self));
        span_of_bytes bytes = {data, self->no_body ? 0 : (size_t)len};
        if (asgi_output_write(self, SNAKE_DATA, bytes, last) < 0)
            goto out;
    }
    self->all_sent = !more;
    self->body_complete = !more && self->trailers_promised;
    self->complete = !more && !self->trailers_promised;
    result = asgi_output_sent(self);
out:
    Py_XDECREF(body);
    return result;
}

/* ---- extensions */

/* Ends the response after its body, with the trailers that the app has sent. */
static int end_with_trailers(asgi_exchange *self) {
    packed_fields *trailers = self->trailers;
    if (!trailers)
        return asgi_output_end(self);
    /* The packed fields begin with the count: see add_trailers. */
    memcpy(trailers->data, &trailers->count, sizeof trailers->count);
    return asgi_output_write(self, SNAKE_TRAILERS, (span_of_bytes){trailers->data, trailers->len},
                             true);
}

static int add_trailers(asgi_exchange *self, const packed_fields *more) {
    if (!self->trailers) {
        self->trailers = malloc(sizeof *self->trailers);
        if (!self->trailers) {
            PyErr_NoMemory();
            return -1;
        }
        fields_init(self->trailers);
        self->trailers->len = sizeof self->trailers->count; /* written last */
    }
    return fields_append(self->trailers, more);
}

static PyObject *send_trailers(asgi_exchange *self, PyObject *message) {
    packed_fields fields;
    PyObject *headers = NULL;
    fields_init(&fields);
    int more = message_flag(message, self->st->s_more_trailers);
    int rc = more < 0 ? -1 : dict_item(message, self->st->s_headers, &headers);
    if (rc > 0)
        rc = fields_from_pairs(&fields, headers);
    Py_XDECREF(headers);
    if (rc >= 0)
        rc = asgi_exchange_check_open(self);
    if (rc >= 0 && !self->body_complete) {
        PyErr_SetString(PyExc_RuntimeError, "'http.response.trailers' must follow the body of "
                                            "a response that was started with trailers");
        rc = -1;
    }
    if (rc >= 0)
        rc = add_trailers(self, &fields);
    fields_free(&fields);
    if (rc < 0)
        return NULL;
    self->complete = !more;
    if (!more && self->slot && end_with_trailers(self) < 0)
        return NULL;
    return asgi_output_sent(self);
}

/* Hints are accepted until the response is complete, but dropped once the head is sent. */
static PyObject *send_hint(asgi_exchange *self, PyObject *message) {
    PyObject *links;
    int rc = dict_item(message, self->st->s_links, &links);
    if (!rc)
        PyErr_SetString(PyExc_ValueError, "'http.response.early_hint' needs 'links'");
    if (rc <= 0)
        return NULL;
    packed_fields packed;
    fields_init(&packed);
    rc = links_from_iterable(&packed, links);
    Py_DECREF(links);
    if (!rc)
        rc = asgi_exchange_check_open(self);
    if (!rc && self->slot && !self->head_sent && self->slot->features & SNAKE_EARLY_HINTS) {
        rc = slot_send_hint(self->slot, packed.data, packed.len);
        asgi_announce(self->app);
    }
    fields_free(&packed);
    return rc < 0 ? NULL : asgi_output_sent(self);
}

/* Opens a regular file; -1 with OSError. */
static int open_file(PyObject *path, struct stat *about) {
    PyObject *encoded = NULL;
    if (!PyUnicode_FSConverter(path, &encoded))
        return -1;
    const char *name = PyBytes_AsString(encoded);
    /* May be relative: Starlette passes its FileResponse's path unchanged. */
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

static int check_path_is_due(const asgi_exchange *self) {
    if (self->head.status && !self->head_sent)
        return 0;
    PyErr_SetString(PyExc_RuntimeError, "'http.response.pathsend' must be the one message "
                                        "that follows the start of a response");
    return -1;
}

static PyObject *send_path(asgi_exchange *self, PyObject *message) {
    PyObject *path, *result = NULL;
    struct stat about;
    int fd = -1;
    if (check_path_is_due(self) < 0 || dict_item(message, self->st->s_path, &path) < 0)
        return NULL;
    if (!path || !PyUnicode_Check(path)) {
        PyErr_SetString(PyExc_TypeError, "'http.response.pathsend' needs 'path', a str");
        goto out;
    }
    if (self->slot && (fd = open_file(path, &about)) < 0)
        goto out;
    if (asgi_exchange_check_open(self) < 0 || check_path_is_due(self) < 0)
        goto out;
    snake_slot *slot = self->slot;
    if (!slot) {
        result = asgi_output_sent(self);
        goto out;
    }
    int64_t length = self->head.content_length;
    if (length > about.st_size && !self->no_body) {
        PyErr_Format(PyExc_RuntimeError, "%R is shorter than the response's Content-Length of %lld",
                     path, (long long)length);
        goto out;
    }
    if (length < 0 && !status_has_no_body(self->head.status) &&
        head_add_content_length(slot, &self->head, (uint64_t)about.st_size) < 0)
        goto out;
    self->head_sent = self->complete = true;
    if (!self->no_body) {
        slot_put_file(slot, fd, 0, self->head.content_length, false);
        fd = -1;
    }
    asgi_output_close(self, SNAKE_END);
    result = asgi_output_sent(self);
out:
    if (fd >= 0)
        close(fd);
    Py_XDECREF(path);
    return result;
}

static PyObject *http_send_message(asgi_exchange *self, PyObject *type, PyObject *message) {
    core *st = self->st;
    if (text_is(type, st->s_start))
        return asgi_http_send_start(self, message);
    if (text_is(type, st->s_response_body))
        return asgi_http_send_body(self, message);
    if (text_is(type, st->s_pathsend))
        return send_path(self, message);
    if (text_is(type, st->s_response_trailers))
        return send_trailers(self, message);
    if (text_is(type, st->s_early_hint))
        return send_hint(self, message);
    return unexpected_message(type);
}

enum { SENDS_IN_A_ROUND = 16 };

/* The client has left. Only a stream gets an error, on its second send. For a finite response, an
 * exception would put an error into the log of an app that did nothing wrong. */
static PyObject *http_send_late(asgi_exchange *self, PyObject *type, PyObject *message) {
    int more = 0;
    if (text_is(type, self->st->s_response_body)) {
        PyObject *body = NULL;
        more = message_flag(message, self->st->s_more_body);
        if (more > 0)
            more = dict_item(message, self->st->s_body, &body);
        if (more > 0)
            more = PyObject_IsTrue(body);
        Py_XDECREF(body);
    }
    if (more < 0)
        return NULL;
    /* A cancellation should reach the generator behind a stream rather than send(), so only some
     * sends wait. */
    if (self->listeners_turn && ++self->late_sends % SENDS_IN_A_ROUND == 0)
        return asgi_await_on(self, AWAIT_ROUND);
    if (more && !self->listeners_turn) {
        if (!self->excused)
            return disconnected_error();
        self->excused = false;
    }
    return asgi_await_done(self->st);
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
    if (!(slot->features & (SNAKE_BODY_WHOLE | SNAKE_BODY_STREAM))) {
        self->body_received = true;
        return PyDict_Copy(self->st->request_message);
    }
    if (!slot_in_is_ready_or_wanted(slot))
        return NULL;
    uint32_t end;
    PyObject *piece = body_take(slot, &end);
    if (piece && (end == SNAKE_LOST || end == SNAKE_TOO_LARGE)) {
        Py_DECREF(piece);
        self->body_received = true;
        self->client_stopped_sending = true;
        self->too_large = end == SNAKE_TOO_LARGE;
        return PyDict_Copy(self->st->disconnect_message);
    }
    self->body_received = end == SNAKE_END;
    return request_message(self, piece, end != SNAKE_END);
}

static PyObject *http_receive_now(asgi_exchange *self) {
    if (!self->slot || self->client_left)
        return PyDict_Copy(self->st->disconnect_message);
    if (!self->body_received)
        return receive_body(self);
    if (self->client_stopped_sending)
        return PyDict_Copy(self->st->disconnect_message);
    return NULL;
}

/* ---- events */

void asgi_http_end(asgi_exchange *self, bool returned, bool failed) {
    bool excused = self->client_left || self->client_stopped_sending;
    if (self->slot && !self->complete && returned && self->body_complete) {
        self->complete = true; /* only the trailers are missing */
        if (end_with_trailers(self) == 0)
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
        asgi_output_abandon(self, failed || self->too_large);
}

/* All bytes of the Content-Length are written: a client may leave then without fault. */
static bool is_delivered(asgi_exchange *self) {
    return self->head_sent && self->head.content_length >= 0 && !self->trailers_promised &&
           self->sent == (uint64_t)self->head.content_length && asgi_output_is_empty(self) &&
           slot_is_delivered(self->slot);
}

/* Seconds that an app waiting in receive() has to cancel its senders. */
static const double LISTENERS_TURN = 1.0;

static PyObject *end_listeners_turn(PyObject *object, PyObject *ignored) {
    (void)ignored;
    asgi_exchange *self = (asgi_exchange *)object;
    self->listeners_turn = false;
    Py_RETURN_NONE;
}

/* The client no longer receives (docs/decisions/0053). */
static void lose_client(asgi_exchange *self) {
    static PyMethodDef method = {"end_listeners_turn", end_listeners_turn, METH_NOARGS, NULL};
    self->client_left = self->excused = true;
    if (asgi_await_waits(self, AWAIT_RECEIVE) && self->app->call_later) {
        PyObject *call = PyCFunction_New(&method, (PyObject *)self);
        PyObject *timer =
            call ? PyObject_CallFunction(self->app->call_later, "dO", LISTENERS_TURN, call) : NULL;
        self->listeners_turn = timer != NULL;
        if (!timer) /* the loop is closed */
            PyErr_Clear();
        Py_XDECREF(timer);
        Py_XDECREF(call);
    }
    asgi_await_wake(self, AWAIT_DRAIN);
}

static void http_on_gone(asgi_exchange *self) {
    if (slot_is_lost(self->slot)) {
        bool timed_out = slot_gone(self->slot) == SNAKE_TIMED_OUT;
        asgi_output_drop(self);
        asgi_exchange_abandon(self);
        if (timed_out && asgi_exchange_cancel(self) < 0)
            report_exception(self->st, self->app->id, "ASGI", NULL, false);
        lose_client(self);
    } else {
        self->client_stopped_sending = true;
        /* A client that closes its sending side before the response may still read it; a client
         * that does so in the middle of a stream has left (docs/decisions/0008). */
        if (self->head_sent && !self->complete) {
            if (is_delivered(self) && asgi_output_end(self) < 0)
                PyErr_Clear(); /* memory is out */
            asgi_output_abandon(self, false);
            lose_client(self);
        }
    }
    asgi_await_wake(self, AWAIT_RECEIVE);
}

const asgi_protocol asgi_http_protocol = {http_receive_now, http_send_message, http_send_late,
                                          asgi_http_end, http_on_gone};
