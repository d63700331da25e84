/* The WebSocket messages of ASGI. Each is a record of the ring, or several if it is long. */
#include "asgi.h"
#include <stdlib.h>
#include <string.h>

enum { REASON_AT_MOST = 123 };
enum { NORMAL = 1000, ABNORMAL = 1006, INTERNAL_ERROR = 1011 };

/* ---- send(message) */

static int send_close(asgi_exchange *self, uint16_t code, span_of_bytes reason) {
    unsigned char payload[2 + REASON_AT_MOST];
    memcpy(payload, &code, sizeof code);
    if (reason.len)
        memcpy(payload + 2, reason.p, reason.len);
    self->phase = WS_CLOSED;
    self->app_code = code;
    self->complete = true;
    return asgi_output_write(self, SNAKE_CLOSE, (span_of_bytes){payload, 2 + reason.len}, true);
}

/* An optional item of a message: a new reference, or NULL when it is missing or None, or with an
 * exception. */
static PyObject *item(PyObject *message, PyObject *key) {
    PyObject *value;
    if (dict_item(message, key, &value) > 0 && value == Py_None)
        Py_CLEAR(value);
    return value;
}

/* Checks that the phase is the same as before the message was read, which may have run app code. */
static int check_phase(asgi_exchange *self, enum websocket_phase phase) {
    if (asgi_exchange_check_open(self) < 0)
        return -1;
    if (self->phase == phase)
        return 0;
    PyErr_SetString(PyExc_RuntimeError, "unexpected ASGI message: another was sent meanwhile");
    return -1;
}

static int read_accept(asgi_exchange *self, packed_fields *fields, PyObject *message) {
    PyObject *subprotocol = item(message, self->st->s_subprotocol);
    int rc = PyErr_Occurred() ? -1 : head_from_accept(self->st, fields, message, subprotocol);
    Py_XDECREF(subprotocol);
    return rc < 0 ? -1 : check_phase(self, WS_CONNECTING);
}

static PyObject *send_accept(asgi_exchange *self, PyObject *message) {
    packed_fields fields;
    fields_init(&fields);
    int rc = self->slot ? read_accept(self, &fields, message) : 0;
    if (!rc && self->slot)
        rc = fields_check_subprotocols(&fields, self->slot);
    if (!rc && self->slot)
        rc = head_to_slot(&fields, self->slot, 101);
    fields_free(&fields);
    if (rc < 0)
        return NULL;
    if (!self->slot)
        return asgi_output_sent(self);
    self->phase = WS_OPEN;
    self->head_sent = true;
    slot_head_done(self->slot);
    slot_send(self->slot);
    slot_in_is_ready_or_wanted(self->slot); /* for a receive() that has begun before */
    asgi_announce(self->app);
    return asgi_output_sent(self);
}

/* The payload as bytes: a new reference, or NULL with an exception. */
static PyObject *message_data(core *st, PyObject *message, uint32_t *kind) {
    PyObject *data = NULL, *text = item(message, st->s_text);
    PyObject *bytes = PyErr_Occurred() ? NULL : item(message, st->s_bytes);
    *kind = text ? SNAKE_TEXT : SNAKE_BINARY;
    if (PyErr_Occurred())
        ;
    else if (!text == !bytes)
        PyErr_SetString(PyExc_ValueError,
                        "'websocket.send' needs either 'text' or 'bytes', and one only");
    else if (text && !PyUnicode_Check(text))
        PyErr_Format(PyExc_TypeError, "'text' must be a str, not %R", text);
    else if (text)
        data = PyUnicode_AsUTF8String(text);
    else if (!PyBytes_Check(bytes) && !PyByteArray_Check(bytes) && !PyMemoryView_Check(bytes))
        PyErr_Format(PyExc_TypeError, "'bytes' must be bytes, not %R", bytes);
    else
        data = PyBytes_FromObject(bytes);
    Py_XDECREF(text);
    Py_XDECREF(bytes);
    return data;
}

static PyObject *send_data(asgi_exchange *self, PyObject *message) {
    uint32_t kind;
    PyObject *owner = message_data(self->st, message, &kind);
    char *data;
    Py_ssize_t len;
    int rc = owner ? PyBytes_AsStringAndSize(owner, &data, &len) : -1;
    if (!rc)
        rc = check_phase(self, WS_OPEN);
    if (!rc && self->slot)
        rc = asgi_output_write(self, kind, (span_of_bytes){data, (size_t)len}, false);
    Py_XDECREF(owner);
    return rc < 0 ? NULL : asgi_output_sent(self);
}

/* Codes that may be sent in a close frame (RFC 6455 section 7.4, IANA's registry). */
static bool is_close_code(long code) {
    return (code >= 3000 && code <= 4999) ||
           (code >= 1000 && code <= 1014 && (code < 1004 || code > 1006));
}

/* Answers HTTP 403 instead of opening a websocket. Ignores code and reason: no close frame is sent,
 * and frameworks pass values that a frame could not carry. */
static PyObject *send_refusal(asgi_exchange *self) {
    self->phase = WS_CLOSED;
    self->app_code = ABNORMAL;
    self->complete = true;
    if (self->slot) {
        response_head head = {403, -1};
        if (slot_head_set(self->slot, head.status, 0, NULL, 0) < 0 ||
            head_add_content_length(self->slot, &head, 0) < 0)
            return NULL;
        asgi_output_close(self, SNAKE_END);
    }
    return asgi_output_sent(self);
}

static int message_code(core *st, PyObject *message, long *code) {
    PyObject *object = item(message, st->s_code);
    *code = object ? PyLong_AsLong(object) : NORMAL;
    Py_XDECREF(object);
    if (!PyErr_Occurred() && !is_close_code(*code))
        PyErr_Format(PyExc_ValueError, "a websocket cannot be closed with code %ld", *code);
    return PyErr_Occurred() ? -1 : 0;
}

/* *owner: a new reference to the object that holds the reason, or NULL. */
static int message_reason(core *st, PyObject *message, span_of_bytes *reason, PyObject **owner) {
    Py_ssize_t len = 0;
    *owner = item(message, st->s_reason);
    if (*owner && !PyUnicode_Check(*owner))
        PyErr_Format(PyExc_TypeError, "'reason' must be a str, not %R", *owner);
    else if (*owner)
        reason->p = PyUnicode_AsUTF8AndSize(*owner, &len);
    reason->len = (size_t)len;
    if (!PyErr_Occurred() && reason->len > REASON_AT_MOST)
        PyErr_SetString(PyExc_ValueError, "'reason' is longer than 123 bytes");
    return PyErr_Occurred() ? -1 : 0;
}

static PyObject *send_closing(asgi_exchange *self, PyObject *message) {
    long code;
    span_of_bytes reason = {NULL, 0};
    PyObject *owner = NULL;
    int rc = message_code(self->st, message, &code);
    if (!rc)
        rc = message_reason(self->st, message, &reason, &owner);
    if (!rc)
        rc = check_phase(self, WS_OPEN);
    if (!rc && self->slot)
        rc = send_close(self, (uint16_t)code, reason);
    Py_XDECREF(owner);
    return rc < 0 ? NULL : asgi_output_sent(self);
}

static PyObject *websocket_send_message(asgi_exchange *self, PyObject *type, PyObject *message) {
    core *st = self->st;
    switch (self->phase) {
    case WS_CONNECTING:
        if (text_is(type, st->s_ws_accept))
            return send_accept(self, message);
        if (text_is(type, st->s_ws_close))
            return send_refusal(self);
        if (text_is(type, st->s_ws_denial_start)) {
            PyObject *result = asgi_http_send_start(self, message);
            if (result)
                self->phase = WS_DENYING;
            return result;
        }
        break;
    case WS_DENYING:
        if (text_is(type, st->s_ws_denial_body))
            return asgi_http_send_body(self, message);
        break;
    case WS_OPEN:
        if (text_is(type, st->s_ws_send))
            return send_data(self, message);
        if (text_is(type, st->s_ws_close))
            return send_closing(self, message);
        break;
    case WS_CLOSED:
        break;
    }
    return unexpected_message(type);
}

/* ---- receive() */

static PyObject *disconnect(asgi_exchange *self) {
    return Py_BuildValue("{sssisO}", "type", "websocket.disconnect", "code",
                         (int)(self->peer_code  ? self->peer_code
                               : self->app_code ? self->app_code
                                                : ABNORMAL),
                         "reason", self->peer_reason ? self->peer_reason : self->st->empty_str);
}

/* The payload of a record in one piece, with what came before. Takes the inbox. NULL with
 * MemoryError. */
static PyObject *whole_payload(asgi_exchange *self, const ring_record *record) {
    size_t before = self->inbox_len;
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(before + ring_len(record)));
    char *p = bytes ? PyBytes_AsString(bytes) : NULL;
    if (p && before)
        memcpy(p, self->inbox, before);
    if (p) {
        memcpy(p + before, record->part[0], record->len[0]);
        memcpy(p + before + record->len[0], record->part[1], record->len[1]);
    }
    free(self->inbox);
    self->inbox = NULL;
    self->inbox_len = 0;
    return bytes;
}

/* Keeps a part of a message. -1 with MemoryError. */
static int keep_part(asgi_exchange *self, const ring_record *record) {
    unsigned char *bigger = realloc(self->inbox, self->inbox_len + ring_len(record) + 1);
    if (!bigger) {
        PyErr_NoMemory();
        return -1;
    }
    memcpy(bigger + self->inbox_len, record->part[0], record->len[0]);
    memcpy(bigger + self->inbox_len + record->len[0], record->part[1], record->len[1]);
    self->inbox = bigger;
    self->inbox_len += ring_len(record);
    return 0;
}

static void on_peer_close(asgi_exchange *self, const ring_record *record) {
    unsigned char payload[2 + REASON_AT_MOST];
    size_t len = ring_len(record);
    self->peer_code = ABNORMAL;
    if (len >= 2 && len <= sizeof payload) {
        memcpy(payload, record->part[0], record->len[0]);
        memcpy(payload + record->len[0], record->part[1], record->len[1]);
        memcpy(&self->peer_code, payload, 2);
        self->peer_reason =
            PyUnicode_DecodeUTF8((char *)payload + 2, (Py_ssize_t)len - 2, "replace");
        if (!self->peer_reason)
            PyErr_Clear();
    }
    self->client_left = true;
    self->phase = WS_CLOSED;
}

/* The client is gone, and the app has received everything: Go gets the slot back. */
static void give_back(asgi_exchange *self) {
    if (!self->slot)
        return;
    asgi_output_drop(self);
    slot_release(asgi_exchange_detach(self));
    asgi_announce(self->app);
    asgi_await_wake(self, AWAIT_DRAIN);
}

/* A record is of a kind that Go writes here. Nothing after another one is read. */
static PyObject *broken_record(asgi_exchange *self) {
    self->phase = WS_CLOSED;
    self->client_left = true;
    give_back(self);
    PyErr_SetString(PyExc_SystemError, "a websocket record does not fit into its ring");
    return NULL;
}

/* The message that a record completes: new reference, or NULL with an exception. */
static PyObject *message_of(asgi_exchange *self, const ring_record *record, bool text) {
    if (text && !self->inbox_len && !record->len[1]) /* without a copy */
        return Py_BuildValue(
            "{sssN}", "type", "websocket.receive", "text",
            PyUnicode_DecodeUTF8((const char *)record->part[0], (Py_ssize_t)record->len[0], NULL));
    PyObject *bytes = whole_payload(self, record), *message = NULL;
    if (bytes && text)
        message =
            Py_BuildValue("{sssN}", "type", "websocket.receive", "text",
                          PyUnicode_DecodeUTF8(PyBytes_AsString(bytes), PyBytes_Size(bytes), NULL));
    else if (bytes)
        message = Py_BuildValue("{sssO}", "type", "websocket.receive", "bytes", bytes);
    Py_XDECREF(bytes);
    return message;
}

/* The next message: NULL with an exception, or NULL without one when there is none yet. */
static PyObject *next_message(asgi_exchange *self) {
    snake_slot *slot = self->slot;
    ring_record record;
    for (;;) {
        if (!slot_in_is_ready_or_wanted(slot))
            return NULL;
        uint32_t kind = slot_next_in(slot, &record);
        if (kind == SNAKE_CLOSE) {
            on_peer_close(self, &record);
            give_back(self);
            return disconnect(self);
        }
        bool text = (kind & ~(uint32_t)SNAKE_PART) == SNAKE_TEXT;
        if (!text && (kind & ~(uint32_t)SNAKE_PART) != SNAKE_BINARY)
            return broken_record(self);
        if (kind & SNAKE_PART) {
            if (keep_part(self, &record) < 0)
                return NULL;
            slot_in_done(slot, &record);
            continue;
        }
        PyObject *message = message_of(self, &record, text);
        slot_in_done(slot, &record);
        return message;
    }
}

static PyObject *websocket_receive_now(asgi_exchange *self) {
    if (!self->body_received) {
        self->body_received = true;
        return Py_BuildValue("{ss}", "type", "websocket.connect");
    }
    if (self->phase == WS_OPEN && self->slot) {
        PyObject *message = next_message(self);
        if (message || PyErr_Occurred())
            return message;
    }
    if (self->phase == WS_CLOSED || !self->slot || (self->client_left && self->phase != WS_OPEN))
        return disconnect(self);
    return NULL;
}

/* ---- events */

static void end(asgi_exchange *self, bool returned, bool failed) {
    if (!self->slot || self->complete)
        return;
    if (self->phase == WS_DENYING) {
        asgi_http_end(self, returned, failed);
    } else if (self->client_left) {
        give_back(self);
    } else if (self->phase == WS_OPEN) {
        uint16_t code = failed ? INTERNAL_ERROR : NORMAL;
        if (send_close(self, code, (span_of_bytes){NULL, 0}) < 0) {
            PyErr_Clear(); /* memory is out */
            self->complete = false;
            asgi_output_abandon(self, true);
        }
    } else {
        if (returned) {
            PyErr_SetString(PyExc_RuntimeError,
                            "the app returned without accepting or closing the websocket");
            report_exception(self->st, self->app->id, "ASGI", self->scope, false);
        }
        asgi_output_abandon(self, true);
    }
}

static void websocket_on_gone(asgi_exchange *self) {
    self->client_left = !self->complete;
    asgi_output_drop(self);
    if (slot_gone(self->slot) != SNAKE_CLOSED)
        give_back(self);
    asgi_await_wake(self, AWAIT_DRAIN);
    asgi_await_wake(self, AWAIT_RECEIVE);
}

static PyObject *websocket_send_late(asgi_exchange *self, PyObject *type, PyObject *message) {
    (void)self;
    (void)type;
    (void)message;
    return disconnected_error();
}

const asgi_protocol asgi_websocket_protocol = {websocket_receive_now, websocket_send_message,
                                               websocket_send_late, end, websocket_on_gone};
