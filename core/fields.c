/* Checks status and headers of a response against RFC 9110 and packs them for Go. A mistake raises
 * an exception in the app, where its author can see it. */
#include "http.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* tchar of RFC 9110 section 5.6.2 */
static const bool token[256] = {
    ['!'] = 1, ['#'] = 1, ['$'] = 1, ['%'] = 1,         ['&'] = 1,         ['\''] = 1,
    ['*'] = 1, ['+'] = 1, ['-'] = 1, ['.'] = 1,         ['^'] = 1,         ['_'] = 1,
    ['`'] = 1, ['|'] = 1, ['~'] = 1, ['0' ... '9'] = 1, ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1,
};

typedef struct field_text {
    const char *p;
    Py_ssize_t n;
    PyObject *owner; /* owner of a converted copy, or NULL */
} field_text;

static int check_name(field_text name) {
    bool ok = name.n > 0;
    for (Py_ssize_t i = 0; ok && i < name.n; i++)
        ok = token[(unsigned char)name.p[i]];
    if (!ok)
        PyErr_Format(PyExc_ValueError, "invalid response header name: '%.80s'",
                     name.n ? name.p : "");
    return ok ? 0 : -1;
}

/* Rejects control characters except tab (RFC 9110 section 5.5): HTTP/2 would drop the header. */
static int check_value(field_text name, field_text value) {
    for (Py_ssize_t i = 0; i < value.n; i++) {
        unsigned char c = (unsigned char)value.p[i];
        if ((c < ' ' && c != '\t') || c == 0x7f) {
            PyErr_Format(PyExc_ValueError,
                         "response header '%.80s': the value contains the control character 0x%02x",
                         name.p, c);
            return -1;
        }
    }
    return 0;
}

/* Trims whitespace from a value: HTTP/1 ignores it there and HTTP/2 forbids it (RFC 9113 section
 * 8.2.1). */
static field_text trimmed(field_text value) {
    while (value.n && (*value.p == ' ' || *value.p == '\t')) {
        value.p++;
        value.n--;
    }
    while (value.n && (value.p[value.n - 1] == ' ' || value.p[value.n - 1] == '\t'))
        value.n--;
    return value;
}

static bool name_is(field_text name, const char *lower) {
    return (size_t)name.n == strlen(lower) && !strncasecmp(name.p, lower, (size_t)name.n);
}

/* The server controls the connection (PEP 3333 "Other HTTP Features", RFC 9110 section 7.6.1). */
static bool is_hop_by_hop(field_text name) {
    switch (name.p[0] | 0x20) {
    case 'c':
        return name_is(name, "connection");
    case 'k':
        return name_is(name, "keep-alive");
    case 'p':
        return name_is(name, "proxy-connection");
    case 't':
        return name_is(name, "transfer-encoding") || name_is(name, "te");
    case 'u':
        return name_is(name, "upgrade");
    default:
        return false;
    }
}

/* Rejects fields that have no meaning in trailers, or another meaning for recipients that merge
 * trailers into the headers (RFC 9110 section 6.5.1). Go's HTTP/2 drops the same fields, its HTTP/1
 * drops none. */
static bool may_be_trailer(field_text name) {
    static const char *const forbidden[] = {"authorization",
                                            "cache-control",
                                            "content-encoding",
                                            "content-length",
                                            "content-range",
                                            "content-type",
                                            "expect",
                                            "host",
                                            "max-forwards",
                                            "pragma",
                                            "proxy-authenticate",
                                            "proxy-authorization",
                                            "range",
                                            "realm",
                                            "trailer",
                                            "www-authenticate"};
    for (size_t i = 0; i < sizeof forbidden / sizeof *forbidden; i++)
        if (name_is(name, forbidden[i]))
            return false;
    return name.n < 3 || strncasecmp(name.p, "if-", 3);
}

static int parse_length(field_text value, int64_t *length) {
    int64_t n = 0;
    bool ok = value.n > 0 && value.n < 19;
    for (Py_ssize_t i = 0; ok && i < value.n; i++) {
        ok = value.p[i] >= '0' && value.p[i] <= '9';
        n = n * 10 + (value.p[i] - '0');
    }
    if (!ok || (*length >= 0 && *length != n)) {
        PyErr_SetString(PyExc_ValueError, ok ? "the response has two different Content-Lengths"
                                             : "the response's Content-Length is not a number");
        return -1;
    }
    *length = n;
    return 0;
}

static int put(packed_fields *fields, field_text name, field_text value) {
    return fields_put(fields, name.p, (size_t)name.n, value.p, (size_t)value.n);
}

/* Checks one header and packs it, unless the server controls it. With head NULL, the field is a
 * trailer. */
static int add(packed_fields *fields, response_head *head, field_text name, field_text value) {
    if (check_name(name) < 0 || check_value(name, value) < 0)
        return -1;
    if (is_hop_by_hop(name))
        return 0;
    value = trimmed(value);
    if (!head && !may_be_trailer(name)) {
        PyErr_Format(PyExc_ValueError, "'%.80s' can't be a trailer (RFC 9110 section 6.5.1)",
                     name.p);
        return -1;
    }
    if (head && name_is(name, "content-length")) {
        bool again = head->content_length >= 0;
        if (parse_length(value, &head->content_length) < 0)
            return -1;
        if (again)
            return 0;
    }
    return put(fields, name, value);
}

int head_add_content_length(snake_slot *slot, response_head *head, uint64_t n) {
    char digits[24];
    int len = PyOS_snprintf(digits, sizeof digits, "%llu", (unsigned long long)n);
    packed_fields fields;
    fields_init(&fields);
    int rc =
        put(&fields, (field_text){"Content-Length", 14, NULL}, (field_text){digits, len, NULL});
    if (!rc)
        rc = slot_head_add(slot, fields.data, fields.len);
    fields_free(&fields);
    if (!rc)
        head->content_length = (int64_t)n;
    return rc;
}

/* The two items of a header. The caller owns the references, because the app may change a list at
 * any time. Accepts tuples and lists of two items. */
static int pair_items(PyObject *pair, PyObject **name, PyObject **value) {
    if (PyTuple_Check(pair) && PyTuple_Size(pair) == 2) {
        *name = Py_NewRef(PyTuple_GetItem(pair, 0));
        *value = Py_NewRef(PyTuple_GetItem(pair, 1));
        return 0;
    }
    if (PyList_Check(pair) && PyList_Size(pair) == 2) {
        *name = Py_NewRef(PyList_GetItem(pair, 0));
        *value = Py_NewRef(PyList_GetItem(pair, 1));
        return 0;
    }
    PyErr_Format(PyExc_TypeError, "a response header must be a pair (name, value), not %R", pair);
    return -1;
}

/* ---- WSGI: str with latin-1 characters */

static int latin1_text(PyObject *object, const char *what, field_text *t) {
    t->owner = NULL;
    if (!PyUnicode_Check(object)) {
        PyErr_Format(PyExc_TypeError, "%s must be a str, not %R", what, object);
        return -1;
    }
    t->p = PyUnicode_AsUTF8AndSize(object, &t->n);
    if (t->p && t->n == PyUnicode_GetLength(object))
        return 0; /* equal lengths mean ASCII */
    PyErr_Clear();
    t->owner = PyUnicode_AsLatin1String(object);
    char *data;
    if (!t->owner || PyBytes_AsStringAndSize(t->owner, &data, &t->n) < 0)
        return -1; /* UnicodeEncodeError names the character */
    t->p = data;
    return 0;
}

static int wsgi_status(PyObject *status, uint32_t *code) {
    field_text t;
    if (latin1_text(status, "the status", &t) < 0) {
        Py_XDECREF(t.owner);
        return -1;
    }
    bool ok = t.n >= 3 && (t.n == 3 || t.p[3] == ' ');
    uint32_t n = 0;
    for (int i = 0; ok && i < 3; i++) {
        ok = t.p[i] >= '0' && t.p[i] <= '9';
        n = n * 10 + (uint32_t)(t.p[i] - '0');
    }
    ok = ok && n >= 200 && check_value((field_text){"status", 6, NULL}, t) == 0;
    Py_XDECREF(t.owner);
    if (!ok) {
        PyErr_Format(PyExc_ValueError,
                     "the status must look like '200 OK' with a number from 200 to 999, not %R",
                     status);
        return -1;
    }
    *code = n;
    return 0;
}

/* Packs one header; convert turns its two items into bytes. */
static int pack_pair(packed_fields *fields, response_head *head, PyObject *pair,
                     int (*convert)(PyObject *, const char *, field_text *)) {
    PyObject *name_object = NULL, *value_object = NULL;
    field_text name = {NULL, 0, NULL}, value = {NULL, 0, NULL};
    int rc = pair_items(pair, &name_object, &value_object);
    if (!rc)
        rc = convert(name_object, "a header name", &name);
    if (!rc)
        rc = convert(value_object, "a header value", &value);
    if (!rc)
        rc = add(fields, head, name, value);
    Py_XDECREF(name.owner);
    Py_XDECREF(value.owner);
    Py_XDECREF(name_object);
    Py_XDECREF(value_object);
    return rc;
}

int head_from_wsgi(packed_fields *fields, response_head *head, PyObject *status,
                   PyObject *headers) {
    *head = (response_head){0, -1};
    uint32_t code;
    if (wsgi_status(status, &code) < 0)
        return -1;
    bool is_list = PyList_Check(headers);
    if (!is_list && !PyTuple_Check(headers)) {
        PyErr_Format(PyExc_TypeError, "the headers must be a list of pairs, not %R", headers);
        return -1;
    }
    /* Uses list's and tuple's own items, ignoring overrides in subclasses. Rereads the size,
     * because the list may change meanwhile. */
    for (Py_ssize_t i = 0; i < (is_list ? PyList_Size(headers) : PyTuple_Size(headers)); i++) {
        PyObject *pair = is_list ? PyList_GetItem(headers, i) : PyTuple_GetItem(headers, i);
        Py_INCREF(pair);
        int rc = pack_pair(fields, head, pair, latin1_text);
        Py_DECREF(pair);
        if (rc < 0)
            return -1;
    }
    head->status = code;
    return 0;
}

/* ---- ASGI: bytes */

static int bytes_text(PyObject *object, const char *what, field_text *t) {
    char *data;
    if (PyBytes_Check(object)) {
        t->owner = Py_NewRef(object);
    } else if (PyByteArray_Check(object) || PyMemoryView_Check(object)) {
        t->owner = PyBytes_FromObject(object);
    } else {
        PyErr_Format(PyExc_TypeError, "%s must be bytes, not %R", what, object);
        t->owner = NULL;
    }
    if (!t->owner || PyBytes_AsStringAndSize(t->owner, &data, &t->n) < 0)
        return -1;
    t->p = data;
    return 0;
}

static int asgi_status(PyObject *status, uint32_t *code) {
    if (!status) {
        PyErr_SetString(PyExc_ValueError, "http.response.start needs 'status'");
        return -1;
    }
    if (!PyLong_Check(status) || PyBool_Check(status)) {
        PyErr_Format(PyExc_TypeError, "'status' must be an int, not %R", status);
        return -1;
    }
    int overflow;
    long n = PyLong_AsLongAndOverflow(status, &overflow);
    if (overflow || n < 200 || n > 999) {
        PyErr_Format(PyExc_ValueError, "'status' must be from 200 to 999, not %R", status);
        return -1;
    }
    *code = (uint32_t)n;
    return 0;
}

static int asgi_header(packed_fields *fields, response_head *head, PyObject *pair) {
    PyObject *converted = NULL;
    if (!PyTuple_Check(pair) && !PyList_Check(pair))
        pair = converted = PySequence_Tuple(pair);
    int rc = pair ? pack_pair(fields, head, pair, bytes_text) : -1;
    Py_XDECREF(converted);
    return rc;
}

static int asgi_headers(packed_fields *fields, response_head *head, PyObject *headers) {
    PyObject *iterator = PyObject_GetIter(headers);
    if (!iterator)
        return -1;
    for (PyObject *pair; (pair = PyIter_Next(iterator));) {
        int rc = asgi_header(fields, head, pair);
        Py_DECREF(pair);
        if (rc < 0)
            break;
    }
    Py_DECREF(iterator);
    return PyErr_Occurred() ? -1 : 0;
}

/* Packs the headers of a message, if it has any. */
static int message_headers(core *st, packed_fields *fields, response_head *head,
                           PyObject *message) {
    PyObject *headers;
    int rc = dict_item(message, st->s_headers, &headers);
    if (rc > 0)
        rc = asgi_headers(fields, head, headers);
    Py_XDECREF(headers);
    return rc;
}

int head_from_asgi(core *st, packed_fields *fields, response_head *head, PyObject *message) {
    *head = (response_head){0, -1};
    PyObject *status;
    uint32_t code;
    int rc = dict_item(message, st->s_status, &status);
    if (rc >= 0)
        rc = asgi_status(status, &code);
    Py_XDECREF(status);
    if (rc < 0 || message_headers(st, fields, head, message) < 0)
        return -1;
    head->status = code;
    return 0;
}

int fields_from_pairs(packed_fields *fields, PyObject *pairs) {
    return asgi_headers(fields, NULL, pairs);
}

/* ---- for ASGI's extensions and websockets */

static const field_text subprotocol_header = {"Sec-WebSocket-Protocol", 22, NULL};

/* Allows at most one subprotocol, and only one that the client offered (RFC 6455 section 4.2.2).
 * ASGI has a key for it, but apps may also choose it with a header. */
int fields_check_subprotocols(const packed_fields *fields, const snake_slot *slot) {
    cursor c = {fields->data, fields->data + fields->len, false};
    for (uint32_t i = 0, chosen = 0; i < fields->count; i++) {
        uint32_t name_len = cursor_uint32(&c), value_len = cursor_uint32(&c);
        span name = cursor_take(&c, name_len), value = cursor_take(&c, value_len);
        if (c.broken) {
            PyErr_SetString(PyExc_SystemError, "a response's head does not fit into its buffer");
            return -1;
        }
        if (!name_is((field_text){name.p, name.n, NULL}, subprotocol_header.p))
            continue;
        if (chosen++) {
            PyErr_SetString(PyExc_ValueError, "a websocket can have one subprotocol only");
            return -1;
        }
        if (!head_offers_subprotocol(slot, value.p, (size_t)value.n)) {
            PyObject *what = PyUnicode_DecodeLatin1(value.p, value.n, NULL);
            if (what)
                PyErr_Format(PyExc_ValueError, "the client did not offer the subprotocol %R", what);
            Py_XDECREF(what);
            return -1;
        }
    }
    return 0;
}

int head_from_accept(core *st, packed_fields *fields, PyObject *message, PyObject *subprotocol) {
    if (subprotocol) {
        field_text value = {NULL, 0, NULL};
        int rc = latin1_text(subprotocol, "'subprotocol'", &value);
        if (!rc)
            rc = put(fields, subprotocol_header, value);
        Py_XDECREF(value.owner);
        if (rc < 0)
            return -1;
    }
    response_head ignored = {0, -1};
    return message_headers(st, fields, &ignored, message);
}

static int add_link(packed_fields *links, PyObject *link) {
    field_text value = {NULL, 0, NULL};
    int rc = bytes_text(link, "a link", &value);
    if (!rc)
        rc = check_value((field_text){"Link", 4, NULL}, value);
    if (!rc)
        rc = links_put(links, value.p, (size_t)value.n);
    Py_XDECREF(value.owner);
    return rc;
}

int links_from_iterable(packed_fields *links, PyObject *iterable) {
    PyObject *iterator = PyObject_GetIter(iterable);
    for (PyObject *link; iterator && (link = PyIter_Next(iterator));) {
        int rc = add_link(links, link);
        Py_DECREF(link);
        if (rc < 0)
            break;
    }
    Py_XDECREF(iterator);
    return PyErr_Occurred() ? -1 : 0;
}
