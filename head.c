/* The packed request head (layout: pack in request.go) as environ and scope. */
#include "core.h"
#include <stdlib.h>
#include <string.h>

/* The fields before the headers, in the order in which Go packs them. */
typedef struct head {
    span method, script, path, raw_path, query, version, scheme, client_host, client_port,
        server_host, server_port, uri, user;
    cursor headers; /* and what follows them; broken if a field did not fit */
} head;

/* What lies in the slot's in. */
static cursor packed(const snake_slot *slot) {
    static const unsigned char nothing[1];
    if (!slot_in_fits(slot))
        return (cursor){nothing, nothing, false};
    return (cursor){slot->in, slot->in + slot->in_len, false};
}

static head read_head(const snake_slot *slot) {
    head h;
    span *const fields[] = {&h.method,      &h.script,      &h.path,        &h.raw_path,
                            &h.query,       &h.version,     &h.scheme,      &h.client_host,
                            &h.client_port, &h.server_host, &h.server_port, &h.uri,
                            &h.user};
    cursor c = packed(slot);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        *fields[i] = cursor_field(&c);
    h.headers = c;
    return h;
}

static PyObject *misfit(void) {
    PyErr_SetString(PyExc_SystemError, "a request's head does not fit into its buffer");
    return NULL;
}

typedef struct header {
    unsigned index; /* of a known name, or 0 */
    span name;      /* with index 0 */
    span value;
} header;

static inline header next_header(const core *st, cursor *c) {
    header h = {cursor_byte(c), {"", 0}, {"", 0}};
    if (h.index > st->header_count)
        cursor_break(c);
    if (!h.index)
        h.name = cursor_field(c);
    h.value = cursor_field(c);
    return h;
}

static bool span_is(span s, const char *text) {
    return (size_t)s.n == strlen(text) && !memcmp(s.p, text, (size_t)s.n);
}

/* ---- values */

static PyObject *latin1(core *st, span s) {
    return s.n ? PyUnicode_DecodeLatin1(s.p, s.n, NULL) : Py_NewRef(st->empty_str);
}

static PyObject *bytes(core *st, span s) {
    return s.n ? PyBytes_FromStringAndSize(s.p, s.n) : Py_NewRef(st->empty_bytes);
}

/* 0 stands for a port that is not known, and for what is none: handlers may set RemoteAddr. */
static PyObject *port_number(span s) {
    long port = 0;
    for (Py_ssize_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9' || port > UINT16_MAX / 10)
            return PyLong_FromLong(0);
        port = port * 10 + (s.p[i] - '0');
    }
    return PyLong_FromLong(port > UINT16_MAX ? 0 : port);
}

header_cache *header_cache_new(core *st) {
    return calloc(1, sizeof(header_cache) + (st->header_count + 1) * sizeof(cached_value));
}

void header_cache_free(core *st, header_cache *cache) {
    if (!cache)
        return;
    cached_value *fixed[] = {&cache->method, &cache->scheme, &cache->client, &cache->server,
                             &cache->port};
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        Py_CLEAR(fixed[i]->value);
    for (uint32_t i = 0; i <= st->header_count; i++)
        Py_CLEAR(cache->headers[i].value);
    free(cache);
}

static inline bool is_cached(const cached_value *c, span s) {
    return c->value && c->len == s.n && !memcmp(c->data, s.p, (size_t)s.n);
}

enum { CACHE_AT_MOST = 256 };

static PyObject *cached_latin1(core *st, cached_value *c, span s) {
    if (is_cached(c, s))
        return Py_NewRef(c->value);
    PyObject *value = latin1(st, s);
    if (!value || s.n > CACHE_AT_MOST)
        return value;
    Py_ssize_t len;
    const char *data = PyUnicode_AsUTF8AndSize(value, &len); /* the same bytes if ASCII */
    if (!data)
        PyErr_Clear();
    else if (len == s.n) {
        Py_XDECREF(c->value);
        *c = (cached_value){Py_NewRef(value), data, len};
    }
    return value;
}

static PyObject *cached_bytes(core *st, cached_value *c, span s) {
    if (is_cached(c, s))
        return Py_NewRef(c->value);
    PyObject *value = bytes(st, s);
    if (value && s.n <= CACHE_AT_MOST) {
        Py_XDECREF(c->value);
        *c = (cached_value){Py_NewRef(value), PyBytes_AsString(value), s.n};
    }
    return value;
}

/* dict[key] = value, stealing value. -1 with an exception; value may be NULL from a failed call. */
static int set(PyObject *dict, PyObject *key, PyObject *value) {
    if (!value)
        return -1;
    int rc = PyDict_SetItem(dict, key, value);
    Py_DECREF(value);
    return rc;
}

/* ---- WSGI */

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
        header h = next_header(st, &c);
        if (c.broken) {
            misfit();
            return -1;
        }
        if (h.index) {
            header_name *known = &st->header_names[h.index];
            if (set(environ, known->environ_key,
                    known->secret ? latin1(st, h.value)
                                  : cached_latin1(st, &cache->headers[h.index], h.value)) < 0)
                return -1;
            continue;
        }
        PyObject *key = environ_key(h.name);
        int rc = key ? set(environ, key, latin1(st, h.value)) : -1;
        Py_XDECREF(key);
        if (rc < 0)
            return -1;
    }
    return 0;
}

/* wsgi.input of a body that is there or empty; a streamed one is the caller's. */
static int environ_input(core *st, PyObject *environ, const snake_slot *slot) {
    if (slot->body_kind == SNAKE_BODY_STREAM)
        return 0;
    if (!slot->body_len)
        return set(environ, st->s_input, PyObject_CallNoArgs(st->bytes_io));
    PyObject *body = body_inline(slot);
    if (!body)
        return -1;
    PyObject *input = PyObject_CallFunctionObjArgs(st->bytes_io, body, NULL);
    Py_DECREF(body);
    return set(environ, st->s_input, input);
}

/* HTTP/2 and HTTP/3 with a minor version, as CGI spells them (RFC 3875 section 4.1.16). */
static PyObject *server_protocol(core *st, span version) {
    PyObject *text = latin1(st, version);
    PyObject *protocol =
        text ? PyUnicode_FromFormat("HTTP/%U%s", text, version.n == 1 ? ".0" : "") : NULL;
    Py_XDECREF(text);
    return protocol;
}

PyObject *environ_new(core *st, header_cache *cache, snake_app *app, snake_slot *slot) {
    head h = read_head(slot);
    if (h.headers.broken)
        return misfit();
    PyObject *e = PyDict_Copy(app->template);
    if (!e)
        return NULL;
    /* The template has HTTP/1.1, http and empty strings. */
    if (set(e, st->s_REQUEST_METHOD, cached_latin1(st, &cache->method, h.method)) < 0 ||
        (h.script.n && set(e, st->s_SCRIPT_NAME, latin1(st, h.script)) < 0) ||
        set(e, st->s_PATH_INFO, latin1(st, h.path)) < 0 ||
        (h.query.n && set(e, st->s_QUERY_STRING, latin1(st, h.query)) < 0) ||
        set(e, st->s_REQUEST_URI, latin1(st, h.uri)) < 0 ||
        PyDict_SetItem(e, st->s_RAW_URI, PyDict_GetItem(e, st->s_REQUEST_URI)) < 0 ||
        set(e, st->s_SERVER_NAME, cached_latin1(st, &cache->server, h.server_host)) < 0 ||
        set(e, st->s_SERVER_PORT, cached_latin1(st, &cache->port, h.server_port)) < 0 ||
        set(e, st->s_REMOTE_ADDR, cached_latin1(st, &cache->client, h.client_host)) < 0 ||
        set(e, st->s_REMOTE_PORT, latin1(st, h.client_port)) < 0 ||
        (h.user.n && set(e, st->s_REMOTE_USER, latin1(st, h.user)) < 0) ||
        (!span_is(h.version, "1.1") &&
         set(e, st->s_SERVER_PROTOCOL, server_protocol(st, h.version)) < 0) ||
        (span_is(h.scheme, "https") && (PyDict_SetItem(e, st->s_url_scheme, st->s_https) < 0 ||
                                        PyDict_SetItem(e, st->s_HTTPS, st->s_on) < 0)) ||
        environ_headers(st, cache, e, h.headers, slot->header_count) < 0 ||
        environ_input(st, e, slot) < 0)
        Py_CLEAR(e);
    return e;
}

/* ---- ASGI */

static PyObject *address(core *st, cached_value *c, span host, span port) {
    if (!host.n)
        return Py_NewRef(Py_None);
    PyObject *pair = PyTuple_New(2);
    PyObject *name = cached_latin1(st, c, host);
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
        return misfit();
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (uint32_t i = 0; list && i < count; i++) {
        header h = next_header(st, &c);
        if (c.broken) {
            Py_DECREF(list);
            return misfit();
        }
        PyObject *n, *v, *pair = PyTuple_New(2);
        if (h.index) {
            header_name *known = &st->header_names[h.index];
            n = Py_NewRef(known->lower);
            v = known->secret ? bytes(st, h.value)
                              : cached_bytes(st, &cache->headers[h.index], h.value);
        } else {
            n = lower_name(h.name);
            v = bytes(st, h.value);
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
    return list;
}

/* The full path: ASGI's path includes root_path. */
static PyObject *scope_path(const head *h) {
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

static cursor behind_headers(const head *h, const snake_slot *slot) {
    cursor c = h->headers;
    for (uint32_t i = 0; i < slot->header_count && !c.broken; i++) {
        if (!cursor_byte(&c))
            cursor_field(&c);
        cursor_field(&c);
    }
    return c;
}

/* The "tls" extension of ASGI. The server's own certificate is not known here. */
static PyObject *scope_tls(cursor c) {
    uint32_t version = cursor_uint32(&c), cipher = cursor_uint32(&c), count = cursor_uint32(&c);
    span name = cursor_field(&c);
    PyObject *chain = c.broken ? misfit() : PyList_New(0);
    while (chain && count--) {
        span pem = cursor_field(&c);
        PyObject *text = c.broken ? misfit() : PyUnicode_DecodeLatin1(pem.p, pem.n, NULL);
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

/* A copy of a dict of dicts: a request may do with it what it likes. */
static PyObject *copy_of_dicts(PyObject *shared) {
    PyObject *copy = PyDict_Copy(shared), *key, *value;
    Py_ssize_t position = 0;
    while (copy && PyDict_Next(shared, &position, &key, &value))
        if (set(copy, key, PyDict_Copy(value)) < 0)
            Py_CLEAR(copy);
    return copy;
}

static PyObject *scope_extensions(core *st, snake_app *app, snake_slot *slot, const head *h) {
    bool websocket = slot->features & SNAKE_WEBSOCKET;
    PyObject *shared = websocket
                           ? PyDict_GetItemWithError(app->websocket_template, st->s_extensions)
                           : PyTuple_GetItem(app->extensions,
                                             slot->features & (SNAKE_EARLY_HINTS | SNAKE_TRAILERS));
    PyObject *extensions = shared ? copy_of_dicts(shared) : NULL;
    if (extensions && slot->features & SNAKE_TLS) {
        cursor c = behind_headers(h, slot);
        if (websocket)
            cursor_field(&c); /* the subprotocols */
        if (set(extensions, st->s_tls, scope_tls(c)) < 0)
            Py_CLEAR(extensions);
    }
    return extensions;
}

/* A list with commas. False if it does not fit. */
static bool offered_subprotocols(const head *h, const snake_slot *slot, span *offered) {
    cursor c = behind_headers(h, slot);
    *offered = cursor_field(&c);
    return !c.broken;
}

/* Takes the next item off a list with commas. */
static bool next_item(span *list, span *item) {
    if (!list->n)
        return false;
    const char *comma = memchr(list->p, ',', (size_t)list->n);
    *item = (span){list->p, comma ? comma - list->p : list->n};
    Py_ssize_t taken = item->n + (comma ? 1 : 0);
    *list = (span){list->p + taken, list->n - taken};
    return true;
}

static PyObject *scope_subprotocols(span offered) {
    PyObject *list = PyList_New(0);
    for (span item; list && next_item(&offered, &item);) {
        PyObject *name = PyUnicode_DecodeLatin1(item.p, item.n, NULL);
        if (!name || PyList_Append(list, name) < 0)
            Py_CLEAR(list);
        Py_XDECREF(name);
    }
    return list;
}

bool head_offers_subprotocol(const snake_slot *slot, const char *name, size_t len) {
    head h = read_head(slot);
    span offered, item;
    if (!offered_subprotocols(&h, slot, &offered))
        return false;
    while (next_item(&offered, &item))
        if ((size_t)item.n == len && !memcmp(item.p, name, len))
            return true;
    return false;
}

/* What only HTTP or only a websocket has. */
static int scope_protocol(core *st, header_cache *cache, PyObject *s, snake_slot *slot,
                          const head *h) {
    if (!(slot->features & SNAKE_WEBSOCKET))
        return set(s, st->s_method, cached_latin1(st, &cache->method, h->method)) < 0 ||
                       (!span_is(h->scheme, "http") &&
                        set(s, st->s_scheme, cached_latin1(st, &cache->scheme, h->scheme)) < 0)
                   ? -1
                   : 0;
    span offered;
    PyObject *list =
        offered_subprotocols(h, slot, &offered) ? scope_subprotocols(offered) : misfit();
    if (set(s, st->s_subprotocols, list) < 0)
        return -1;
    return PyDict_SetItem(s, st->s_scheme, span_is(h->scheme, "https") ? st->s_wss : st->s_ws);
}

PyObject *scope_new(core *st, header_cache *cache, snake_app *app, snake_slot *slot) {
    head h = read_head(slot);
    if (h.headers.broken)
        return misfit();
    PyObject *s =
        PyDict_Copy(slot->features & SNAKE_WEBSOCKET ? app->websocket_template : app->template);
    if (!s)
        return NULL;
    /* The templates have type, asgi, HTTP 1.1, http and an empty root_path. */
    if (scope_protocol(st, cache, s, slot, &h) < 0 ||
        set(s, st->s_asgi, PyDict_Copy(PyDict_GetItem(s, st->s_asgi))) < 0 ||
        set(s, st->s_extensions, scope_extensions(st, app, slot, &h)) < 0 ||
        set(s, st->s_path, scope_path(&h)) < 0 ||
        set(s, st->s_raw_path, bytes(st, h.raw_path)) < 0 ||
        set(s, st->s_query_string, bytes(st, h.query)) < 0 ||
        (h.script.n &&
         set(s, st->s_root_path, PyUnicode_DecodeUTF8(h.script.p, h.script.n, "replace")) < 0) ||
        (!span_is(h.version, "1.1") && set(s, st->s_http_version, latin1(st, h.version)) < 0) ||
        set(s, st->s_client, address(st, &cache->client, h.client_host, h.client_port)) < 0 ||
        set(s, st->s_server, address(st, &cache->server, h.server_host, h.server_port)) < 0 ||
        (app->state && set(s, st->s_state, PyDict_Copy(app->state)) < 0) ||
        set(s, st->s_headers, scope_headers(st, cache, h.headers, slot->header_count)) < 0)
        Py_CLEAR(s);
    return s;
}

bool head_method_is(snake_slot *slot, const char *method) {
    cursor c = packed(slot);
    return span_is(cursor_field(&c), method);
}
