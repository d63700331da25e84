/* One WSGI request (PEP 3333), from the call of the app to the last block. */
#include "core.h"
#include <limits.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

enum { PIECE_AT_MOST = 256 << 10 };

/* The state of a request; start_response, write and the input's read are bound to it. */
typedef struct wsgi_exchange {
    PyObject_HEAD
    core *st;
    snake_slot *slot; /* NULL once the response is complete or given up */
    PyObject *environ, *callable;
    response_head head;
    uint64_t sent; /* body bytes handed to Go */
    uint32_t app_id;
    uint32_t waiters; /* threads that block on the slot without the GIL */
    bool head_sent;
    bool no_body; /* HEAD, 204, 304 */
    bool is_head_request;
    bool client_left;
} wsgi_exchange;

/* ---- pieces */

/* Marks the response as over. Threads of the app that still block on the slot must leave it
 * first: it is about to be used again. */
static void end(wsgi_exchange *self, uint32_t flags) {
    snake_slot *slot = self->slot;
    if (!slot)
        return;
    self->slot = NULL;
    while (self->waiters) {
        __atomic_store_n(&slot->body_state, SNAKE_CHUNK_LOST, __ATOMIC_RELEASE);
        futex_wake(&slot->body_state, INT_MAX);
        Py_BEGIN_ALLOW_THREADS;
        sched_yield();
        Py_END_ALLOW_THREADS;
    }
    slot_out_wait(slot); /* free already, unless another thread of the app called write() */
    slot_close(slot, flags);
}

static int wait_until_sent(wsgi_exchange *self) {
    snake_slot *slot = self->slot;
    self->waiters++;
    int rc = slot_out_wait(slot);
    self->waiters--;
    if (rc < 0)
        self->client_left = true;
    return rc;
}

/* Sends one block and waits until Go has written it: nothing is held back and nothing piles up.
 * last completes the response with it. Returns 0, or -1: client_left or an exception. */
static int send_block(wsgi_exchange *self, const char *data, size_t len, bool last) {
    snake_slot *slot = self->slot;
    do {
        if (wait_until_sent(self) < 0)
            return -1;
        size_t n = len < PIECE_AT_MOST ? len : PIECE_AT_MOST;
        uint32_t flags = 0;
        if (self->head_sent) {
            slot_out_reset(slot);
        } else {
            slot->out_head_len = slot->out_len;
            flags = SNAKE_OUT_HEAD;
        }
        unsigned char *room = slot_out_room(slot, n);
        if (!room)
            return -1;
        memcpy(room, data, n);
        data += n;
        len -= n;
        self->head_sent = true;
        if (last && !len) {
            end(self, flags | SNAKE_OUT_END);
            return 0;
        }
        slot_out_send(slot, flags);
        ring_now();
        if (wait_until_sent(self) < 0)
            return -1;
    } while (len);
    return 0;
}

static bool report(wsgi_exchange *self) {
    bool left = self->client_left || (self->slot && slot_is_lost(self->slot));
    return report_exception(self->st, self->app_id, "WSGI", self->environ, left);
}

/* Sends one block of the app, cut to its Content-Length. Returns 1 when nothing more may follow. */
static int send_app_block(wsgi_exchange *self, const char *data, size_t len, bool last) {
    if (!self->slot)
        return 1; /* write() has completed the response */
    if (self->no_body)
        return send_block(self, "", 0, true) < 0 ? -1 : 1;
    int64_t length = self->head.content_length;
    if (length >= 0) {
        uint64_t left = (uint64_t)length - self->sent;
        if (len > left) {
            PyErr_Format(PyExc_ValueError,
                         "the app sent more than its Content-Length of %lld bytes",
                         (long long)length);
            report(self);
            len = (size_t)left;
        }
        if (len == left)
            last = true;
        else if (last) { /* too short: what there is, then a broken connection */
            PyErr_Format(PyExc_ValueError, "the app sent %llu bytes but a Content-Length of %lld",
                         (unsigned long long)(self->sent + len), (long long)length);
            report(self);
            if (send_block(self, data, len, false) < 0)
                return -1;
            end(self, SNAKE_OUT_ABORT);
            return 1;
        }
    }
    self->sent += len;
    if (send_block(self, data, len, last) < 0)
        return -1;
    return last;
}

/* ---- what the app sees */

static const char *const finished_text = "the request is finished";

/* write(data: bytes), PEP 3333 "The write() Callable" */
static PyObject *exchange_write(PyObject *object, PyObject *data) {
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
        PyErr_SetString(PyExc_RuntimeError, finished_text);
        return NULL;
    }
    if (n && send_app_block(self, p, (size_t)n, false) < 0)
        return PyErr_Occurred() ? NULL : disconnected_error();
    Py_RETURN_NONE;
}

/* Re-raises the app's exception: the head is out, nothing else can be said. */
static PyObject *raise_exc_info(PyObject *exc_info) {
    PyObject *type, *value, *traceback;
    if (!PyArg_ParseTuple(exc_info, "OOO;exc_info must be the tuple of sys.exc_info()", &type,
                          &value, &traceback))
        return NULL;
    PyErr_Restore(Py_NewRef(type), Py_NewRef(value),
                  traceback == Py_None ? NULL : Py_NewRef(traceback));
    return NULL;
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
            ok = false; /* unknown, or given twice */
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

/* start_response(status, headers, exc_info=None) -> write, PEP 3333 */
static PyObject *exchange_start_response(PyObject *object, PyObject *const *args, Py_ssize_t count,
                                         PyObject *names) {
    static PyMethodDef write = {"write", exchange_write, METH_O, "write(data: bytes)"};
    wsgi_exchange *self = (wsgi_exchange *)object;
    PyObject *found[3] = {NULL, NULL, NULL};
    if (start_response_args(args, count, names, found) < 0)
        return NULL;
    PyObject *status = found[0], *headers = found[1];
    PyObject *exc_info = found[2] ? found[2] : Py_None;
    if (exc_info != Py_None) {
        if (!PyTuple_Check(exc_info))
            return PyErr_Format(PyExc_TypeError, "exc_info must be a tuple, not %R", exc_info);
        if (self->head_sent || !self->slot)
            return raise_exc_info(exc_info);
    } else if (self->head.status) {
        PyErr_SetString(PyExc_AssertionError,
                        "start_response() was called twice without exc_info (PEP 3333)");
        return NULL;
    }
    if (!self->slot) {
        PyErr_SetString(PyExc_RuntimeError, finished_text);
        return NULL;
    }
    if (head_from_wsgi(self->slot, &self->head, status, headers) < 0) {
        self->head.status = 0;
        return NULL;
    }
    self->no_body = self->is_head_request || status_has_no_body(self->head.status);
    return PyCFunction_New(&write, object);
}

/* What read() gives once the stream has ended, however often it is asked. */
static PyObject *stream_end(wsgi_exchange *self, uint32_t how) {
    if (how == SNAKE_EOF)
        return Py_NewRef(self->st->empty_bytes);
    if (how == SNAKE_LOST) {
        self->client_left = true;
        return disconnected_error();
    }
    PyErr_SetString(PyExc_OSError, "the request body is larger than the server allows");
    return NULL;
}

/* read() -> bytes: the next chunk of the streamed body, b"" at its end. */
static PyObject *exchange_read(PyObject *object, PyObject *ignored) {
    (void)ignored;
    wsgi_exchange *self = (wsgi_exchange *)object;
    snake_slot *slot = self->slot;
    if (self->client_left)
        return disconnected_error();
    if (!slot) {
        PyErr_SetString(PyExc_ValueError, finished_text);
        return NULL;
    }
    if (slot->chunk_end != SNAKE_MORE && !body_is_ready(slot))
        return stream_end(self, slot->chunk_end);
    body_want(slot);
    self->waiters++;
    Py_BEGIN_ALLOW_THREADS;
    while (__atomic_load_n(&slot->body_state, __ATOMIC_ACQUIRE) == SNAKE_CHUNK_WANTED)
        futex_wait(&slot->body_state, SNAKE_CHUNK_WANTED, 0);
    Py_END_ALLOW_THREADS;
    self->waiters--;
    if (!self->slot) {
        PyErr_SetString(PyExc_ValueError, finished_text);
        return NULL;
    }
    if (!body_is_ready(slot) || slot_is_lost(slot)) {
        self->client_left = true;
        return disconnected_error();
    }
    uint32_t how;
    PyObject *chunk = body_take(slot, &how);
    if (chunk && (how == SNAKE_LOST || how == SNAKE_TOO_LARGE)) {
        Py_DECREF(chunk);
        return stream_end(self, how);
    }
    return chunk;
}

/* ---- the result of the app */

/* The bytes of a block, or -1 with TypeError: PEP 3333 allows nothing else. */
static int block_data(PyObject *block, char **data, Py_ssize_t *len) {
    if (!PyBytes_Check(block)) {
        PyErr_Format(PyExc_TypeError, "the app's iterable must yield bytes, not %R", block);
        return -1;
    }
    return PyBytes_AsStringAndSize(block, data, len);
}

static int check_started(wsgi_exchange *self) {
    if (self->head.status)
        return 0;
    PyErr_SetString(PyExc_AssertionError,
                    "the app gave a response without calling start_response() (PEP 3333)");
    return -1;
}

static int add_content_length(wsgi_exchange *self, uint64_t n) {
    if (self->head_sent || self->head.content_length >= 0 || status_has_no_body(self->head.status))
        return 0;
    return head_add_content_length(self->slot, &self->head, n);
}

/* A list or tuple: everything is there, so its length is known. */
static int send_sequence(wsgi_exchange *self, PyObject *blocks) {
    Py_ssize_t count = PySequence_Size(blocks);
    uint64_t total = self->sent;
    char *data;
    Py_ssize_t len;
    if (check_started(self) < 0)
        return -1;
    bool is_list = PyList_Check(blocks);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *block = is_list ? PyList_GetItem(blocks, i) : PyTuple_GetItem(blocks, i);
        if (!block || block_data(block, &data, &len) < 0)
            return -1;
        total += (uint64_t)len;
    }
    if (add_content_length(self, total) < 0)
        return -1;
    if (!count)
        return send_app_block(self, "", 0, true);
    if (count > 1 && total <= PIECE_AT_MOST) {
        PyObject *joined = PyObject_CallMethod(self->st->empty_bytes, "join", "(O)", blocks);
        int rc = joined ? block_data(joined, &data, &len) : -1;
        if (!rc)
            rc = send_app_block(self, data, (size_t)len, true);
        Py_XDECREF(joined);
        return rc;
    }
    for (Py_ssize_t i = 0; i < count && self->slot; i++) {
        /* Owned: another thread may change the list while a block is on its way. */
        PyObject *block = PySequence_GetItem(blocks, i);
        if (!block)
            return -1;
        int rc = block_data(block, &data, &len);
        if (!rc && (len || i == count - 1))
            rc = send_app_block(self, data, (size_t)len, i == count - 1);
        Py_DECREF(block);
        if (rc)
            return rc;
    }
    return 0;
}

static int send_iterable(wsgi_exchange *self, PyObject *iterable) {
    PyObject *iterator = PyObject_GetIter(iterable), *block;
    int rc = iterator ? 0 : -1;
    while (rc >= 0 && (block = PyIter_Next(iterator))) {
        char *data;
        Py_ssize_t len;
        rc = block_data(block, &data, &len);
        if (!rc)
            rc = check_started(self);
        if (!rc && len) {
            if (!self->slot) { /* beyond the Content-Length, or no body allowed */
                Py_DECREF(block);
                break;
            }
            bool single = !self->head_sent && PyObject_Size(iterable) == 1;
            PyErr_Clear(); /* no __len__ */
            if (single)
                rc = add_content_length(self, (uint64_t)len);
            if (rc >= 0)
                rc = send_app_block(self, data, (size_t)len, false);
        }
        Py_DECREF(block);
        if (rc > 0 && self->no_body)
            break; /* an endless stream ends here for HEAD */
    }
    Py_XDECREF(iterator);
    if (rc < 0 || PyErr_Occurred())
        return -1;
    if (check_started(self) < 0)
        return -1;
    if (!self->slot)
        return 0;
    if (!self->head_sent && add_content_length(self, 0) < 0)
        return -1;
    return send_app_block(self, "", 0, true);
}

/* A file wrapper whose file the kernel can send. 1 when it was sent, 0 when it must be iterated,
 * -1 with an exception. */
static int send_file(wsgi_exchange *self, PyObject *wrapper) {
    if (self->head_sent)
        return 0;
    PyObject *file = PyObject_CallFunctionObjArgs(self->st->hooks[HOOK_FILE], wrapper, NULL);
    if (!file || file == Py_None) {
        Py_XDECREF(file);
        return file ? 0 : -1;
    }
    int fd;
    long long offset, length;
    int rc = PyArg_ParseTuple(file, "iLL", &fd, &offset, &length) ? 0 : -1;
    Py_DECREF(file);
    if (rc < 0)
        return -1;
    if (add_content_length(self, (uint64_t)length) < 0)
        rc = -1;
    bool too_short = self->head.content_length > length; /* than promised: iteration says so */
    if (rc < 0 || too_short || self->no_body) {
        close(fd);
        return rc < 0 || too_short ? rc : send_app_block(self, "", 0, true);
    }
    snake_slot *slot = self->slot;
    slot->out_head_len = slot->out_len;
    slot->file_fd = fd;
    slot->file_offset = offset;
    slot->file_len = self->head.content_length;
    self->head_sent = true;
    end(self, SNAKE_OUT_HEAD | SNAKE_OUT_FILE | SNAKE_OUT_END);
    return 1;
}

static int send_result(wsgi_exchange *self, PyObject *result) {
    if (PyList_CheckExact(result) || PyTuple_CheckExact(result))
        return send_sequence(self, result);
    if ((PyObject *)Py_TYPE(result) == self->st->file_wrapper) {
        int rc = check_started(self);
        if (!rc)
            rc = send_file(self, result);
        if (rc)
            return rc;
    }
    return send_iterable(self, result);
}

/* What is left to do when the app or its iterable failed: an exception is set, or the client is
 * gone. */
static void give_up(wsgi_exchange *self) {
    bool failed = report(self);
    end(self, self->head_sent || !failed ? SNAKE_OUT_ABORT : SNAKE_OUT_FAIL);
}

static void call_close(wsgi_exchange *self, PyObject *result) {
    if (PyList_CheckExact(result) || PyTuple_CheckExact(result))
        return;
    PyObject *close = PyObject_GetAttr(result, self->st->s_close);
    if (!close) {
        if (PyErr_ExceptionMatches(PyExc_AttributeError))
            PyErr_Clear();
        else
            report(self);
        return;
    }
    PyObject *closed = PyObject_CallNoArgs(close);
    if (!closed)
        report(self);
    Py_XDECREF(closed);
    Py_DECREF(close);
}

/* Everything that runs app code, inside one fresh contextvars context. */
static PyObject *exchange_run(PyObject *object, PyObject *ignored) {
    (void)ignored;
    static PyMethodDef start = {
        "start_response", (PyCFunction)(void (*)(void))exchange_start_response,
        METH_FASTCALL | METH_KEYWORDS, "start_response(status, headers, exc_info=None) -> write"};
    wsgi_exchange *self = (wsgi_exchange *)object;
    PyObject *start_response = PyCFunction_New(&start, object);
    PyObject *result = start_response ? PyObject_CallFunctionObjArgs(self->callable, self->environ,
                                                                     start_response, NULL)
                                      : NULL;
    if (!result || send_result(self, result) < 0)
        give_up(self);
    if (result)
        call_close(self, result);
    Py_XDECREF(result);
    Py_XDECREF(start_response);
    Py_RETURN_NONE;
}

/* ---- one request */

static int add_stream_input(wsgi_exchange *self) {
    static PyMethodDef read = {"read", exchange_read, METH_NOARGS, "read() -> bytes"};
    if (self->slot->body_kind != SNAKE_BODY_STREAM)
        return 0;
    PyObject *reader = PyCFunction_New(&read, (PyObject *)self);
    PyObject *input =
        reader ? PyObject_CallFunctionObjArgs(self->st->hooks[HOOK_INPUT], reader, NULL) : NULL;
    int rc = input ? PyDict_SetItem(self->environ, self->st->s_input, input) : -1;
    Py_XDECREF(input);
    Py_XDECREF(reader);
    return rc;
}

void wsgi_run(core *st, header_cache *cache, snake_app *app, snake_slot *slot) {
    static PyMethodDef run = {"run", exchange_run, METH_NOARGS, NULL};
    if (slot_is_lost(slot)) {
        slot_close(slot, SNAKE_OUT_ABORT);
        return;
    }
    view_enter(app->view, app->id);
    wsgi_exchange *self = PyObject_New(wsgi_exchange, st->wsgi_type);
    PyObject *context = NULL, *body = NULL, *done = NULL;
    if (!self) {
        report_exception(st, app->id, "WSGI", NULL, false);
        slot_close(slot, SNAKE_OUT_FAIL);
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
    Py_DECREF(self);
out:
    view_leave();
}

static void exchange_dealloc(PyObject *object) {
    wsgi_exchange *self = (wsgi_exchange *)object;
    PyTypeObject *type = Py_TYPE(object);
    Py_XDECREF(self->environ);
    Py_XDECREF(self->callable);
    PyObject_Free(object);
    Py_DECREF(type);
}

static PyType_Slot wsgi_slots[] = {
    {Py_tp_doc, "The state of one WSGI request."},
    {Py_tp_dealloc, exchange_dealloc},
    {0, NULL},
};
PyType_Spec wsgi_spec = {
    .name = "_caddysnake.WSGIExchange",
    .basicsize = sizeof(wsgi_exchange),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = wsgi_slots,
};
