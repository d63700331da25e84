/* Reads a packed buffer. Every length is checked against the rest of the buffer before use. A
 * length that does not fit breaks the cursor, and every later read is empty. So a reader checks
 * broken once, after reading everything. */
#ifndef SNAKE_CURSOR_H
#define SNAKE_CURSOR_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef struct span {
    const char *p; /* never NULL */
    Py_ssize_t n;
} span;

typedef struct cursor {
    const unsigned char *p, *end;
    bool broken;
} cursor;

static inline size_t cursor_left(const cursor *c) { return (size_t)(c->end - c->p); }

static inline void cursor_break(cursor *c) {
    c->broken = true;
    c->p = c->end;
}

static inline span cursor_take(cursor *c, size_t n) {
    if (n > cursor_left(c)) {
        cursor_break(c);
        return (span){"", 0};
    }
    span taken = {(const char *)c->p, (Py_ssize_t)n};
    c->p += n;
    return taken;
}

static inline unsigned cursor_byte(cursor *c) {
    span taken = cursor_take(c, 1);
    return taken.n ? (unsigned char)*taken.p : 0;
}

static inline uint32_t cursor_uint32(cursor *c) {
    uint32_t value = 0;
    span taken = cursor_take(c, sizeof value);
    if (taken.n)
        memcpy(&value, taken.p, sizeof value);
    return value;
}

/* A length and that many bytes. */
static inline span cursor_field(cursor *c) { return cursor_take(c, cursor_uint32(c)); }

#endif
