/* Objects of any kind become the head of a response, hints and trailers. */
#include "fuzz.h"
#include <string.h>

enum { DEPTH_AT_MOST = 5 };

static PyObject *build(cursor *c, int depth);

static PyObject *build_list(cursor *c, int depth) {
    PyObject *list = PyList_New(0);
    for (unsigned n = cursor_byte(c) % 16; list && n--;) {
        PyObject *item = build(c, depth + 1);
        if (!item || PyList_Append(list, item) < 0)
            Py_CLEAR(list);
        Py_XDECREF(item);
    }
    return list;
}

/* Calls what makes an object of another, which it takes. */
static PyObject *made(PyObject *(*make)(PyObject *), PyObject *from) {
    PyObject *object = from ? make(from) : NULL;
    Py_XDECREF(from);
    return object;
}

static PyObject *build(cursor *c, int depth) {
    unsigned kind = cursor_byte(c) % (depth < DEPTH_AT_MOST ? 11 : 8);
    if (kind == 0)
        return Py_NewRef(Py_None);
    if (kind == 1)
        return PyLong_FromLong((int32_t)cursor_uint32(c));
    if (kind == 2)
        return PyBool_FromLong(cursor_byte(c) & 1);
    if (kind >= 8) {
        PyObject *list = build_list(c, depth);
        return kind == 8 ? list : made(kind == 9 ? PyList_AsTuple : PyObject_GetIter, list);
    }
    span s = cursor_take(c, cursor_byte(c));
    if (kind == 3)
        return PyUnicode_DecodeLatin1(s.p, s.n, NULL);
    if (kind == 4)
        return PyUnicode_DecodeUTF8(s.p, s.n, "surrogateescape");
    PyObject *bytes = PyBytes_FromStringAndSize(s.p, s.n);
    return kind == 5 ? bytes
                     : made(kind == 6 ? PyByteArray_FromObject : PyMemoryView_FromObject, bytes);
}

static PyObject *message_of(PyObject *status, PyObject *headers) {
    PyObject *message = PyDict_New();
    if (!message || (status != Py_None && PyDict_SetItem(message, fuzz_state->s_status, status)) ||
        (headers != Py_None && PyDict_SetItem(message, fuzz_state->s_headers, headers)))
        fuzz_fail("no message");
    return message;
}

static void check_count(const unsigned char *packed, size_t len, uint32_t count) {
    cursor c = {packed, packed + len, false};
    for (uint32_t i = 0; i < count; i++) {
        uint32_t name = cursor_uint32(&c), value = cursor_uint32(&c);
        cursor_take(&c, name);
        cursor_take(&c, value);
    }
    if (c.broken || cursor_left(&c) || PyErr_Occurred())
        fuzz_fail("the packed fields are not what was counted");
}

/* The head in the ring consists of as many fields as it says. */
static void check_head(snake_slot *slot) {
    enum { FACTS = 2 * sizeof(uint32_t) };
    uint32_t count;
    const unsigned char *head = slot->out.data + SNAKE_RECORD_HEAD;
    memcpy(&count, head + sizeof count, sizeof count);
    check_count(head + FACTS, slot->head_len - FACTS, count);
}

/* What was packed consists of as many fields as were counted, in the slot, too. */
static void check_packed(snake_slot *slot, packed_fields *fields, int rc) {
    if (rc >= 0)
        check_count(fields->data, fields->len, fields->count);
    if (rc >= 0 && (rc = head_to_slot(fields, slot, 200)) == 0) {
        response_head head = {200, -1};
        rc = head_add_content_length(slot, &head, fields->len);
        check_head(slot);
    }
    fuzz_check(rc < 0 ? NULL : Py_NewRef(Py_None));
    fields_free(fields);
}

static void check_links(PyObject *iterable) {
    packed_fields links;
    fields_init(&links);
    int rc = links_from_iterable(&links, iterable);
    cursor c = {links.data, links.data + links.len, false};
    while (cursor_left(&c))
        cursor_field(&c);
    if (c.broken)
        fuzz_fail("the packed links are not whole");
    fuzz_check(rc < 0 ? NULL : Py_NewRef(Py_None));
    fields_free(&links);
}

static int accept(snake_slot *slot, packed_fields *fields, PyObject *message, PyObject *chosen) {
    PyObject *subprotocol = chosen == Py_None ? NULL : chosen;
    int rc = head_from_accept(fuzz_state, fields, message, subprotocol);
    return rc < 0 ? rc : fields_check_subprotocols(fields, slot);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const unsigned char head[13 * 4 + 4 + 9] = {[52] = 9, [56] = 'a', 'b', ',', 'c',
                                                       'h',      'a',        't', ',', 'x'};
    snake_slot *slot = fuzz_slot();
    fuzz_head(slot, head, sizeof head);
    cursor c = {data, data + size, false};
    response_head parsed;
    packed_fields fields;
    fields_init(&fields);
    unsigned target = cursor_byte(&c) % 5;
    PyObject *one = build(&c, 0), *two = build(&c, 0);
    PyObject *message = one && two ? message_of(one, two) : NULL;
    if (!message)
        PyErr_Clear(); /* such as a memoryview of nothing */
    else if (target == 0)
        check_packed(slot, &fields, head_from_wsgi(&fields, &parsed, one, two));
    else if (target == 1)
        check_packed(slot, &fields, head_from_asgi(fuzz_state, &fields, &parsed, message));
    else if (target == 2)
        check_packed(slot, &fields, accept(slot, &fields, message, one));
    else if (target == 3)
        check_packed(slot, &fields, fields_from_pairs(&fields, two));
    else
        check_links(two);
    Py_XDECREF(message);
    Py_XDECREF(one);
    Py_XDECREF(two);
    return 0;
}
