/* Reads the packed request head and caches the values that most requests repeat. */
#include "head.h"
#include <stdlib.h>

static cursor packed(const snake_slot *slot) {
    const unsigned char *p = (const unsigned char *)slot->head.p;
    return (cursor){p, p + slot->head.n, false};
}

request_head head_read(const snake_slot *slot) {
    request_head h;
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

PyObject *head_misfit(void) {
    PyErr_SetString(PyExc_SystemError, "a request's head does not fit into its buffer");
    return NULL;
}

cursor head_behind_headers(const request_head *h, const snake_slot *slot) {
    cursor c = h->headers;
    for (uint32_t i = 0; i < slot->header_count && !c.broken; i++) {
        if (!cursor_byte(&c))
            cursor_field(&c);
        cursor_field(&c);
    }
    return c;
}

bool head_subprotocols(const request_head *h, const snake_slot *slot, span *offered) {
    cursor c = head_behind_headers(h, slot);
    *offered = cursor_field(&c);
    return !c.broken;
}

bool head_next_item(span *list, span *item) {
    if (!list->n)
        return false;
    const char *comma = memchr(list->p, ',', (size_t)list->n);
    *item = (span){list->p, comma ? comma - list->p : list->n};
    Py_ssize_t taken = item->n + (comma ? 1 : 0);
    *list = (span){list->p + taken, list->n - taken};
    return true;
}

bool head_offers_subprotocol(const snake_slot *slot, const char *name, size_t len) {
    request_head h = head_read(slot);
    span offered, item;
    if (!head_subprotocols(&h, slot, &offered))
        return false;
    while (head_next_item(&offered, &item))
        if ((size_t)item.n == len && !memcmp(item.p, name, len))
            return true;
    return false;
}

bool head_method_is(snake_slot *slot, const char *method) {
    cursor c = packed(slot);
    return span_is(cursor_field(&c), method);
}

/* ---- values */

PyObject *head_latin1(core *st, span s) {
    return s.n ? PyUnicode_DecodeLatin1(s.p, s.n, NULL) : Py_NewRef(st->empty_str);
}

PyObject *head_bytes(core *st, span s) {
    return s.n ? PyBytes_FromStringAndSize(s.p, s.n) : Py_NewRef(st->empty_bytes);
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

PyObject *head_cached_latin1(core *st, cached_value *c, span s) {
    if (is_cached(c, s))
        return Py_NewRef(c->value);
    PyObject *value = head_latin1(st, s);
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

PyObject *head_cached_bytes(core *st, cached_value *c, span s) {
    if (is_cached(c, s))
        return Py_NewRef(c->value);
    PyObject *value = head_bytes(st, s);
    if (value && s.n <= CACHE_AT_MOST) {
        Py_XDECREF(c->value);
        *c = (cached_value){Py_NewRef(value), PyBytes_AsString(value), s.n};
    }
    return value;
}
