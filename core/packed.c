/* Header fields in the format that Go reads, before they are copied to a slot: u32 name length, u32
 * value length, name, value. */
#include "http.h"
#include <stdlib.h>
#include <string.h>

void fields_init(packed_fields *fields) {
    fields->data = fields->small;
    fields->len = fields->count = 0;
    fields->cap = sizeof fields->small;
}

void fields_free(packed_fields *fields) {
    if (fields->data != fields->small)
        free(fields->data);
    fields_init(fields);
}

/* Reserves n more bytes and counts them as used. NULL with MemoryError. */
static unsigned char *fields_room(packed_fields *fields, size_t n) {
    size_t needed = fields->len + n;
    if (needed > fields->cap) {
        size_t cap = needed + needed / 2;
        bool first = fields->data == fields->small;
        unsigned char *bigger = realloc(first ? NULL : fields->data, cap);
        if (!bigger) {
            PyErr_NoMemory();
            return NULL;
        }
        if (first)
            memcpy(bigger, fields->small, fields->len);
        fields->data = bigger;
        fields->cap = cap;
    }
    unsigned char *room = fields->data + fields->len;
    fields->len = needed;
    return room;
}

int fields_put(packed_fields *fields, const char *name, size_t name_len, const char *value,
               size_t value_len) {
    uint32_t lengths[2] = {(uint32_t)name_len, (uint32_t)value_len};
    if (name_len > UINT32_MAX || value_len > UINT32_MAX) {
        PyErr_SetString(PyExc_ValueError, "a response header is longer than 4 GiB");
        return -1;
    }
    unsigned char *room = fields_room(fields, sizeof lengths + name_len + value_len);
    if (!room)
        return -1;
    memcpy(room, lengths, sizeof lengths);
    memcpy(room + sizeof lengths, name, name_len);
    memcpy(room + sizeof lengths + name_len, value, value_len);
    fields->count++;
    return 0;
}

int fields_append(packed_fields *fields, const packed_fields *more) {
    unsigned char *room = fields_room(fields, more->len);
    if (!room)
        return -1;
    memcpy(room, more->data, more->len);
    fields->count += more->count;
    return 0;
}

int head_to_slot(const packed_fields *fields, snake_slot *slot, uint32_t status) {
    return slot_head_set(slot, status, fields->count, fields->data, fields->len);
}

int links_put(packed_fields *links, const char *link, size_t len) {
    uint32_t prefix = (uint32_t)len;
    if (len > UINT32_MAX) {
        PyErr_SetString(PyExc_ValueError, "a link can't be longer than 4 GiB");
        return -1;
    }
    unsigned char *room = fields_room(links, sizeof prefix + len);
    if (!room)
        return -1;
    memcpy(room, &prefix, sizeof prefix);
    memcpy(room + sizeof prefix, link, len);
    return 0;
}
