/* Requests and responses as Python objects, for both protocols. */
#ifndef SNAKE_HTTP_H
#define SNAKE_HTTP_H

#include "core.h"

/* ---- head.c: the packed request head, converted to Python objects */
typedef struct cached_value {
    PyObject *value;
    const char *data; /* data of value, not owned */
    Py_ssize_t len;
} cached_value;
/* The values that a thread saw last, as most requests repeat them. One thread owns the cache. */
typedef struct header_cache {
    cached_value method, scheme, client, server, port;
    cached_value headers[]; /* indexed like header_names */
} header_cache;
header_cache *header_cache_new(core *st);
void header_cache_free(core *st, header_cache *cache);
/* NULL with an exception; SystemError if the head does not fit into its buffer. */
PyObject *environ_new(core *st, header_cache *cache, snake_generation *app, snake_slot *slot);
PyObject *scope_new(core *st, header_cache *cache, snake_generation *app, snake_slot *slot);
bool head_method_is(snake_slot *slot, const char *method);
/* Whether the client offers this websocket subprotocol. */
bool head_offers_subprotocol(const snake_slot *slot, const char *name, size_t len);

/* Looks up a key. The reference is new, because app code (a key's __eq__, for instance) may change
 * the dict. Returns 1 if the key exists, 0 if not, -1 with an exception; *value is NULL for 0 and
 * -1. */
static inline int dict_item(PyObject *dict, PyObject *key, PyObject **value) {
    *value = Py_XNewRef(PyDict_GetItemWithError(dict, key));
    return *value ? 1 : PyErr_Occurred() ? -1 : 0;
}

/* ---- packed.c */
/* Packed header fields in memory of their own. Reading the app's headers runs app code, which may
 * complete the response; the slot then belongs to another request. */
typedef struct packed_fields {
    unsigned char *data; /* points to small or to allocated memory */
    size_t len, cap;
    uint32_t count;
    unsigned char small[2048]; /* saves most responses an allocation */
} packed_fields;
void fields_init(packed_fields *fields);
void fields_free(packed_fields *fields);
int fields_put(packed_fields *fields, const char *name, size_t name_len, const char *value,
               size_t value_len);
int fields_append(packed_fields *fields, const packed_fields *more);
/* Appends a link of an early hint: u32 length, bytes. */
int links_put(packed_fields *links, const char *link, size_t len);
/* Makes fields the head of the slot's response, in place of one that is not sent yet. Runs no app
 * code. -1 with ValueError if the head is too long. */
int head_to_slot(const packed_fields *fields, snake_slot *slot, uint32_t status);

/* ---- fields.c: response status and headers, checked and packed */
typedef struct response_head {
    uint32_t status;
    int64_t content_length; /* -1: the app set none */
} response_head;
/* Both check everything, raise in the app, and do not touch the slot. */
int head_from_wsgi(packed_fields *fields, response_head *head, PyObject *status, PyObject *headers);
int head_from_asgi(core *st, packed_fields *fields, response_head *head, PyObject *message);
/* The head of websocket.accept; subprotocol may be NULL. */
int head_from_accept(core *st, packed_fields *fields, PyObject *message, PyObject *subprotocol);
/* ValueError unless the client offered the subprotocol in fields. Runs no app code. */
int fields_check_subprotocols(const packed_fields *fields, const snake_slot *slot);
/* Checks and packs an iterable of header pairs. */
int fields_from_pairs(packed_fields *fields, PyObject *pairs);
/* Checks and packs an iterable of links, which are bytes. */
int links_from_iterable(packed_fields *links, PyObject *iterable);
int head_add_content_length(snake_slot *slot, response_head *head, uint64_t n);
/* Responses with these statuses have no body (RFC 9110 section 6.4.1). */
static inline bool status_has_no_body(uint32_t status) { return status == 204 || status == 304; }

/* ---- body.c: the streamed request body */
/* Takes the next piece of the body, which may be empty. Sets *end to SNAKE_DATA if more follows, or
 * to SNAKE_END, SNAKE_LOST or SNAKE_TOO_LARGE; to SNAKE_LOST when it raises. */
PyObject *body_take(snake_slot *slot, uint32_t *end);
/* The payload of a record, as bytes. */
PyObject *record_bytes(const ring_record *record);

#endif
