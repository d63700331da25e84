/* ASGI 3.0: converts the packed request head to the scope of a request or a websocket. */
#include "head.h"
#include <stdlib.h>

/* 0 for an unknown or invalid port: handlers may set RemoteAddr. */
static PyObject *port_number(span s) {
    long port = 0;
    for (Py_ssize_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9' || port > UINT16_MAX / 10)
            return PyLong_FromLong(0);
        port = port * 10 + (s.p[i] - '0');
    }
    return PyLong_FromLong(port > UINT16_MAX ? 0 : port);
}

static PyObject *address(core *st, cached_value *c, span host, span port) {
    if (!host.n)
        return Py_NewRef(Py_None);
    PyObject *pair = PyTuple_New(2);
    PyObject *name = head_cached_latin1(st, c, host);
    PyObject *number = port.n ? port_number(port) : Py_NewRef(Py_None);
    if (!pair || !name || !number) {
        Py_XDECREF(pair);
        Py_XDECREF(name);
        Py_XDECREF(number);
        return NULL;
    }
    PyTuple_SetItem(pair, 0, name); /* steals; cannot fail on a new tuple */
    PyTuple_SetItem(pair, 1, number);
    return pair;
}

static PyObject *lower_name(span name) {
    PyObject *object = PyBytes_FromStringAndSize(name.p, name.n);
    char *p = object ? PyBytes_AsString(object) : NULL;
    for (Py_ssize_t i = 0; p && i < name.n; i++)
        if (p[i] >= 'A' && p[i] <= 'Z')
            p[i] = (char)(p[i] + 32);
    return object;
}

static PyObject *scope_headers(core *st, header_cache *cache, cursor c, uint32_t count) {
    enum { SHORTEST = 1 + sizeof(uint32_t) }; /* an index and an empty value */
    if (count > cursor_left(&c) / SHORTEST)
        return head_misfit();
    PyObject *list = hidden_list((Py_ssize_t)count); /* its items are NULL at first */
    for (uint32_t i = 0; list && i < count; i++) {
        header h = head_next_header(st, &c);
        if (c.broken) {
            Py_DECREF(list);
            return head_misfit();
        }
        PyObject *n, *v, *pair = PyTuple_New(2);
        if (h.index) {
            header_name *known = &st->header_names[h.index];
            n = Py_NewRef(known->lower);
            v = known->secret ? head_bytes(st, h.value)
                              : head_cached_bytes(st, &cache->headers[h.index], h.value);
        } else {
            n = lower_name(h.name);
            v = head_bytes(st, h.value);
        }
        if (!pair || !n || !v) {
            Py_XDECREF(pair);
            Py_XDECREF(n);
            Py_XDECREF(v);
            Py_CLEAR(list);
            break;
        }
        PyTuple_SetItem(pair, 0, n);
        PyTuple_SetItem(pair, 1, v);
        PyList_SetItem(list, (Py_ssize_t)i, pair);
    }
    if (list)
        PyObject_GC_Track(list);
    return list;
}

/* The full path: ASGI's path includes root_path. */
static PyObject *scope_path(const request_head *h) {
    if (!h->script.n)
        return PyUnicode_DecodeUTF8(h->path.p, h->path.n, "replace");
    char *joined = malloc((size_t)(h->script.n + h->path.n));
    if (!joined)
        return PyErr_NoMemory();
    memcpy(joined, h->script.p, (size_t)h->script.n);
    memcpy(joined + h->script.n, h->path.p, (size_t)h->path.n);
    PyObject *path = PyUnicode_DecodeUTF8(joined, h->script.n + h->path.n, "replace");
    free(joined);
    return path;
}

/* The "tls" extension of ASGI. The server's own certificate is unknown here. */
static PyObject *scope_tls(cursor c) {
    uint32_t version = cursor_uint32(&c), cipher = cursor_uint32(&c), count = cursor_uint32(&c);
    span name = cursor_field(&c);
    PyObject *chain = c.broken ? head_misfit() : PyList_New(0);
    while (chain && count--) {
        span pem = cursor_field(&c);
        PyObject *text = c.broken ? head_misfit() : PyUnicode_DecodeLatin1(pem.p, pem.n, NULL);
        if (!text || PyList_Append(chain, text) < 0)
            Py_CLEAR(chain);
        Py_XDECREF(text);
    }
    return chain ? Py_BuildValue("{sOsNsz#sOsIsI}", "server_cert", Py_None, "client_cert_chain",
                                 chain, "client_cert_name", name.n ? name.p : NULL, name.n,
                                 "client_cert_error", Py_None, "tls_version", version,
                                 "cipher_suite", cipher)
                 : NULL;
}

/* Copies a dict of dicts, because the app may modify its scope. A copy may start a collection, and
 * a finalizer may empty the dict. */
static PyObject *copy_of_dicts(PyObject *shared) {
    PyObject *copy = PyDict_Copy(shared), *key, *value;
    Py_ssize_t position = 0;
    while (copy && PyDict_Next(shared, &position, &key, &value)) {
        Py_INCREF(key);
        Py_INCREF(value);
        if (dict_set(copy, key, PyDict_Copy(value)) < 0)
            Py_CLEAR(copy);
        Py_DECREF(value);
        Py_DECREF(key);
    }
    return copy;
}

/* A copy of the dict under a key. KeyError if an app has found the template and removed the key. */
static PyObject *copy_of_item(PyObject *dict, PyObject *key) {
    PyObject *item = PyObject_GetItem(dict, key);
    PyObject *copy = item ? PyDict_Copy(item) : NULL;
    Py_XDECREF(item);
    return copy;
}

static PyObject *scope_extensions(core *st, snake_generation *app, snake_slot *slot,
                                  const request_head *h) {
    bool websocket = slot->features & SNAKE_WEBSOCKET;
    PyObject *shared =
        websocket ? PyObject_GetItem(app->websocket_template, st->s_extensions)
                  : PySequence_GetItem(app->extensions,
                                       slot->features & (SNAKE_EARLY_HINTS | SNAKE_TRAILERS_TAKEN));
    PyObject *extensions = shared ? copy_of_dicts(shared) : NULL;
    Py_XDECREF(shared);
    if (extensions && slot->features & SNAKE_TLS) {
        cursor c = head_behind_headers(h, slot);
        if (websocket)
            cursor_field(&c); /* the subprotocols */
        if (dict_set(extensions, st->s_tls, scope_tls(c)) < 0)
            Py_CLEAR(extensions);
    }
    return extensions;
}

static PyObject *scope_subprotocols(span offered) {
    PyObject *list = PyList_New(0);
    for (span item; list && head_next_item(&offered, &item);) {
        PyObject *name = PyUnicode_DecodeLatin1(item.p, item.n, NULL);
        if (!name || PyList_Append(list, name) < 0)
            Py_CLEAR(list);
        Py_XDECREF(name);
    }
    return list;
}

/* Sets the keys that only HTTP or only a websocket has. */
static int scope_protocol(core *st, header_cache *cache, PyObject *s, snake_slot *slot,
                          const request_head *h) {
    if (!(slot->features & SNAKE_WEBSOCKET))
        return dict_set(s, st->s_method, head_cached_latin1(st, &cache->method, h->method)) < 0 ||
                       (!span_is(h->scheme, "http") &&
                        dict_set(s, st->s_scheme,
                                 head_cached_latin1(st, &cache->scheme, h->scheme)) < 0)
                   ? -1
                   : 0;
    span offered;
    PyObject *list =
        head_subprotocols(h, slot, &offered) ? scope_subprotocols(offered) : head_misfit();
    if (dict_set(s, st->s_subprotocols, list) < 0)
        return -1;
    return PyDict_SetItem(s, st->s_scheme, span_is(h->scheme, "https") ? st->s_wss : st->s_ws);
}

PyObject *scope_new(core *st, header_cache *cache, snake_generation *app, snake_slot *slot) {
    request_head h = head_read(slot);
    if (h.headers.broken)
        return head_misfit();
    PyObject *s =
        PyDict_Copy(slot->features & SNAKE_WEBSOCKET ? app->websocket_template : app->template);
    if (!s)
        return NULL;
    /* The templates already have type, asgi, HTTP 1.1, http and an empty root_path. */
    if (scope_protocol(st, cache, s, slot, &h) < 0 ||
        dict_set(s, st->s_asgi, copy_of_item(s, st->s_asgi)) < 0 ||
        dict_set(s, st->s_extensions, scope_extensions(st, app, slot, &h)) < 0 ||
        dict_set(s, st->s_path, scope_path(&h)) < 0 ||
        dict_set(s, st->s_raw_path, head_bytes(st, h.raw_path)) < 0 ||
        dict_set(s, st->s_query_string, head_bytes(st, h.query)) < 0 ||
        (h.script.n && dict_set(s, st->s_root_path,
                                PyUnicode_DecodeUTF8(h.script.p, h.script.n, "replace")) < 0) ||
        (!span_is(h.version, "1.1") &&
         dict_set(s, st->s_http_version, head_latin1(st, h.version)) < 0) ||
        dict_set(s, st->s_client, address(st, &cache->client, h.client_host, h.client_port)) < 0 ||
        dict_set(s, st->s_server, address(st, &cache->server, h.server_host, h.server_port)) < 0 ||
        (app->state && dict_set(s, st->s_state, PyDict_Copy(app->state)) < 0) ||
        dict_set(s, st->s_headers, scope_headers(st, cache, h.headers, slot->header_count)) < 0)
        Py_CLEAR(s);
    return s;
}
