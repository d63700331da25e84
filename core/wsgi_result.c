/* Sends the result of a WSGI app: a sequence, an iterable or a file (PEP 3333). */
#include "wsgi.h"
#include <unistd.h>

/* The bytes of a block, or -1 with TypeError: PEP 3333 allows only bytes. */
static int block_data(PyObject *block, char **data, Py_ssize_t *len) {
    if (!PyBytes_Check(block)) {
        PyErr_Format(PyExc_TypeError, "the app's iterable must yield bytes, not %R", block);
        return -1;
    }
    return PyBytes_AsStringAndSize(block, data, len);
}

static int add_content_length(wsgi_exchange *self, uint64_t n) {
    if (!self->slot || self->head_sent || self->head.content_length >= 0 ||
        status_has_no_body(self->head.status))
        return 0;
    if (self->is_head_request && !n) /* HEAD: the length of GET's body is unknown */
        return 0;
    return head_add_content_length(self->slot, &self->head, n);
}

/* The end of the blocks from first on that fit into one piece; at least one block. */
static Py_ssize_t end_of_piece(PyObject *blocks, Py_ssize_t first) {
    Py_ssize_t count = PyTuple_Size(blocks), end = first, room = PIECE_AT_MOST;
    do {
        room -= PyBytes_Size(PyTuple_GetItem(blocks, end++));
    } while (end < count && room >= PyBytes_Size(PyTuple_GetItem(blocks, end)));
    return end;
}

static PyObject *join_blocks(wsgi_exchange *self, PyObject *blocks, Py_ssize_t i, Py_ssize_t end) {
    if (end - i == 1)
        return Py_NewRef(PyTuple_GetItem(blocks, i));
    PyObject *some = PyTuple_GetSlice(blocks, i, end);
    PyObject *joined =
        some ? PyObject_CallMethod(self->st->empty_bytes, "join", "(O)", some) : NULL;
    Py_XDECREF(some);
    return joined;
}

/* The blocks of a tuple: the total length is known, and small blocks share a piece. */
static int send_blocks(wsgi_exchange *self, PyObject *blocks) {
    Py_ssize_t count = PyTuple_Size(blocks);
    uint64_t total = self->sent;
    char *data;
    Py_ssize_t len;
    if (wsgi_check_started(self) < 0)
        return -1;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (block_data(PyTuple_GetItem(blocks, i), &data, &len) < 0)
            return -1;
        total += (uint64_t)len;
    }
    if (add_content_length(self, total) < 0)
        return -1;
    if (!count)
        return wsgi_send(self, "", 0, true);
    int rc = 0;
    for (Py_ssize_t i = 0, end; i < count && self->slot && !rc; i = end) {
        end = end_of_piece(blocks, i);
        PyObject *piece = join_blocks(self, blocks, i, end);
        rc = piece ? block_data(piece, &data, &len) : -1;
        if (!rc && (len || end == count))
            rc = wsgi_send(self, data, (size_t)len, end == count);
        Py_XDECREF(piece);
    }
    return rc;
}

static int send_sequence(wsgi_exchange *self, PyObject *blocks) {
    /* A copy, because another thread may change the list during a send. */
    PyObject *owned = PySequence_Tuple(blocks);
    int rc = owned ? send_blocks(self, owned) : -1;
    Py_XDECREF(owned);
    return rc;
}

/* 1 if len() is 1, 0 if not; -1 when len() raised an exception that ends the request. */
static int has_one_block(PyObject *iterable) {
    Py_ssize_t count = PyObject_Size(iterable);
    if (count >= 0)
        return count == 1;
    if (!PyErr_ExceptionMatches(PyExc_Exception))
        return -1;
    PyErr_Clear(); /* __len__ is missing or fails */
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
            rc = wsgi_check_started(self);
        if (!rc && len) {
            if (!self->slot) { /* beyond the Content-Length, or the response has no body */
                Py_DECREF(block);
                break;
            }
            rc = self->head_sent ? 0 : has_one_block(iterable);
            if (rc > 0)
                rc = add_content_length(self, (uint64_t)len);
            if (rc >= 0)
                rc = wsgi_send(self, data, (size_t)len, false);
        }
        Py_DECREF(block);
        if (rc > 0 && self->no_body)
            break; /* for HEAD, stop iterating: a stream may be endless */
    }
    Py_XDECREF(iterator);
    if (rc < 0 || PyErr_Occurred())
        return -1;
    if (wsgi_check_started(self) < 0)
        return -1;
    if (!self->slot)
        return 0;
    if (!self->head_sent && add_content_length(self, 0) < 0)
        return -1;
    return wsgi_send(self, "", 0, true);
}

/* Sends a file wrapper whose file the kernel can send. 1 when it was sent, 0 when the caller must
 * iterate over it, -1 with an exception. */
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
    if (offset < 0 || length < 0) {
        close(fd);
        PyErr_SetString(PyExc_ValueError, "a file has a negative offset or length");
        return -1;
    }
    snake_slot *slot = self->slot; /* no app code runs from here on */
    bool usable = slot && !self->head_sent && self->head.status;
    if (usable)
        rc = add_content_length(self, (uint64_t)length);
    bool too_short = self->head.content_length > length; /* iteration reports the mismatch */
    if (!usable || rc < 0 || too_short || self->no_body) {
        close(fd);
        return !usable || rc < 0 || too_short ? rc : wsgi_send(self, "", 0, true);
    }
    slot_put_file(slot, fd, offset, self->head.content_length, true);
    self->head_sent = true;
    wsgi_end(self, SNAKE_END);
    return 1;
}

int wsgi_send_result(wsgi_exchange *self, PyObject *result) {
    if (PyList_CheckExact(result) || PyTuple_CheckExact(result))
        return send_sequence(self, result);
    if ((PyObject *)Py_TYPE(result) == self->st->file_wrapper) {
        int rc = wsgi_check_started(self);
        if (!rc)
            rc = send_file(self, result);
        if (rc)
            return rc;
    }
    return send_iterable(self, result);
}
