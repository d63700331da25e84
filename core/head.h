/* The packed request head (layout: pack in request.go): its fields, and their values as Python
 * objects. */
#ifndef SNAKE_HEAD_H
#define SNAKE_HEAD_H

#include "http.h"

/* The fields before the headers, in the order in which Go packs them. */
typedef struct request_head {
    span method, script, path, raw_path, query, version, scheme, client_host, client_port,
        server_host, server_port, uri, user;
    cursor headers; /* and the rest of the head; broken if a field did not fit */
} request_head;

/* The fields and the start of the headers. Breaks headers if something does not fit. */
request_head head_read(const snake_slot *slot);
/* The data behind the headers: subprotocols of a websocket, then TLS. */
cursor head_behind_headers(const request_head *h, const snake_slot *slot);
/* The client's comma-separated list of subprotocols. False if it does not fit. */
bool head_subprotocols(const request_head *h, const snake_slot *slot, span *offered);
/* Takes the next item off a comma-separated list. */
bool head_next_item(span *list, span *item);
/* Raises SystemError. */
PyObject *head_misfit(void);

typedef struct header {
    unsigned index; /* of a known name; 0: the name is spelled out */
    span name;      /* with index 0 */
    span value;
} header;

static inline header head_next_header(const core *st, cursor *c) {
    header h = {cursor_byte(c), {"", 0}, {"", 0}};
    if (h.index > st->header_count)
        cursor_break(c);
    if (!h.index)
        h.name = cursor_field(c);
    h.value = cursor_field(c);
    return h;
}

static inline bool span_is(span s, const char *text) {
    return (size_t)s.n == strlen(text) && !memcmp(s.p, text, (size_t)s.n);
}

PyObject *head_latin1(core *st, span s);
PyObject *head_bytes(core *st, span s);
PyObject *head_cached_latin1(core *st, cached_value *c, span s);
PyObject *head_cached_bytes(core *st, cached_value *c, span s);

/* dict[key] = value; steals value, which may be NULL from a failed call. -1 with an exception. */
static inline int dict_set(PyObject *dict, PyObject *key, PyObject *value) {
    if (!value)
        return -1;
    int rc = PyDict_SetItem(dict, key, value);
    Py_DECREF(value);
    return rc;
}

#endif
