/* PEP 3333: converts the packed request head to environ. */
#include "head.h"
#include <stdlib.h>

/* "X-Thing" -> "HTTP_X_THING" */
static PyObject *environ_key(span name) {
    char small[128], *buffer = small;
    size_t len = 5 + (size_t)name.n;
    if (len > sizeof small && !(buffer = malloc(len)))
        return PyErr_NoMemory();
    memcpy(buffer, "HTTP_", 5);
    for (Py_ssize_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        buffer[5 + i] = c == '-' ? '_' : c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
    }
    PyObject *key = PyUnicode_DecodeLatin1(buffer, (Py_ssize_t)len, NULL);
    if (buffer != small)
        free(buffer);
    return key;
}

static int environ_headers(core *st, header_cache *cache, PyObject *environ, cursor c,
                           uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        header h = head_next_header(st, &c);
        if (c.broken) {
            head_misfit();
            return -1;
        }
        if (h.index) {
            header_name *known = &st->header_names[h.index];
            if (dict_set(environ, known->environ_key,
                         known->secret
                             ? head_latin1(st, h.value)
                             : head_cached_latin1(st, &cache->headers[h.index], h.value)) < 0)
                return -1;
            continue;
        }
        PyObject *key = environ_key(h.name);
        int rc = key ? dict_set(environ, key, head_latin1(st, h.value)) : -1;
        Py_XDECREF(key);
        if (rc < 0)
            return -1;
    }
    return 0;
}

/* wsgi.input for a whole or empty body; the caller handles a streamed one. */
static int environ_input(core *st, PyObject *environ, snake_slot *slot) {
    if (slot->features & SNAKE_BODY_STREAM)
        return 0;
    if (!(slot->features & SNAKE_BODY_WHOLE))
        return dict_set(environ, st->s_input, PyObject_CallNoArgs(st->bytes_io));
    uint32_t end;
    PyObject *body = body_take(slot, &end);
    if (body && end != SNAKE_END) {
        Py_CLEAR(body);
        head_misfit();
    }
    if (!body)
        return -1;
    PyObject *input = PyObject_CallFunctionObjArgs(st->bytes_io, body, NULL);
    Py_DECREF(body);
    return dict_set(environ, st->s_input, input);
}

/* CGI spells HTTP/2 and HTTP/3 with a minor version (RFC 3875 section 4.1.16). */
static PyObject *server_protocol(core *st, span version) {
    PyObject *text = head_latin1(st, version);
    PyObject *protocol =
        text ? PyUnicode_FromFormat("HTTP/%U%s", text, version.n == 1 ? ".0" : "") : NULL;
    Py_XDECREF(text);
    return protocol;
}

/* The URI as the client has sent it, under both of its names. */
static int environ_uri(core *st, PyObject *environ, span text) {
    PyObject *uri = head_latin1(st, text);
    int rc = uri ? PyDict_SetItem(environ, st->s_REQUEST_URI, uri) : -1;
    if (rc == 0)
        rc = PyDict_SetItem(environ, st->s_RAW_URI, uri);
    Py_XDECREF(uri);
    return rc;
}

PyObject *environ_new(core *st, header_cache *cache, snake_generation *app, snake_slot *slot) {
    request_head h = head_read(slot);
    if (h.headers.broken)
        return head_misfit();
    PyObject *e = PyDict_Copy(app->template);
    if (!e)
        return NULL;
    /* The template already has HTTP/1.1, http and empty strings. */
    if (dict_set(e, st->s_REQUEST_METHOD, head_cached_latin1(st, &cache->method, h.method)) < 0 ||
        (h.script.n && dict_set(e, st->s_SCRIPT_NAME, head_latin1(st, h.script)) < 0) ||
        dict_set(e, st->s_PATH_INFO, head_latin1(st, h.path)) < 0 ||
        (h.query.n && dict_set(e, st->s_QUERY_STRING, head_latin1(st, h.query)) < 0) ||
        environ_uri(st, e, h.uri) < 0 ||
        dict_set(e, st->s_SERVER_NAME, head_cached_latin1(st, &cache->server, h.server_host)) < 0 ||
        dict_set(e, st->s_SERVER_PORT, head_cached_latin1(st, &cache->port, h.server_port)) < 0 ||
        dict_set(e, st->s_REMOTE_ADDR, head_cached_latin1(st, &cache->client, h.client_host)) < 0 ||
        dict_set(e, st->s_REMOTE_PORT, head_latin1(st, h.client_port)) < 0 ||
        (h.user.n && dict_set(e, st->s_REMOTE_USER, head_latin1(st, h.user)) < 0) ||
        (!span_is(h.version, "1.1") &&
         dict_set(e, st->s_SERVER_PROTOCOL, server_protocol(st, h.version)) < 0) ||
        (span_is(h.scheme, "https") && (PyDict_SetItem(e, st->s_url_scheme, st->s_https) < 0 ||
                                        PyDict_SetItem(e, st->s_HTTPS, st->s_on) < 0)) ||
        environ_headers(st, cache, e, h.headers, slot->header_count) < 0)
        Py_CLEAR(e);
    slot_head_done(slot);
    if (e && environ_input(st, e, slot) < 0)
        Py_CLEAR(e);
    return e;
}
