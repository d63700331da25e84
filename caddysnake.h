/* The boundary between Go and the C core: the only file that both sides read.
 *
 * A request is one snake_slot. Go packs the request into the slot and pushes the slot to an app. Go
 * learns what the app did from one list (snake_completions), which one eventfd announces. Only
 * snake_start takes the GIL.
 *
 * Fields marked [atomic] are touched only with atomic operations: by __atomic built-ins in C and by
 * sync/atomic in Go (cgo cannot map _Atomic). */
#ifndef CADDYSNAKE_H
#define CADDYSNAKE_H

#include <stddef.h>
#include <stdint.h>

/* What C tells Go about a slot (snake_slot.to_go). */
enum {
    SNAKE_GO_RESPONSE = 1,  /* out holds a piece of the response; Go owns out until snake_ack */
    SNAKE_GO_WANT_BODY = 2, /* the app waits for the next piece of the request body */
    SNAKE_GO_RELEASED = 4,  /* Python is done with the slot for good */
    SNAKE_GO_HINT = 8,      /* the slot has hints to send before the response */
};

/* What a piece of the response contains (snake_slot.out_flags). */
enum {
    SNAKE_OUT_HEAD = 1,      /* the piece has the status and the headers */
    SNAKE_OUT_END = 2,       /* the response is complete */
    SNAKE_OUT_FAIL = 4,      /* the app failed before the head; no other field is valid */
    SNAKE_OUT_ABORT = 8,     /* the app failed after the head: break the connection */
    SNAKE_OUT_FILE = 16,     /* the body is a part of a file */
    SNAKE_OUT_SHARED = 64,   /* the app has the file open too, and shares its offset */
    SNAKE_OUT_TRAILERS = 32, /* headers follow the body */
};

/* Why the client is gone (snake_slot.gone). */
enum {
    SNAKE_GONE = 1,            /* the client can neither send nor receive */
    SNAKE_STOPPED_SENDING = 2, /* HTTP/1: the client may still read */
    SNAKE_TIMED_OUT = 3,       /* Go has answered in the app's place */
    SNAKE_CLOSED = 4,          /* a websocket: its last messages and its close follow as chunks */
};

/* What the connection offers (snake_slot.features). */
enum {
    SNAKE_EARLY_HINTS = 1, /* Go may send informational responses */
    SNAKE_TRAILERS = 2,    /* the client accepts trailers */
    SNAKE_TLS = 4,         /* the packed head ends with TLS facts */
    SNAKE_WEBSOCKET = 8, /* the request asks for a websocket; its subprotocols follow the headers */
    SNAKE_UNSIZED = 16,  /* the streamed body has no Content-Length */
};

/* Where the request body is (snake_slot.body_kind). */
enum { SNAKE_BODY_NONE = 0, SNAKE_BODY_INLINE = 1, SNAKE_BODY_STREAM = 2 };

/* State of the stream buffer (snake_slot.body_state). */
enum {
    SNAKE_CHUNK_NONE = 0,
    SNAKE_CHUNK_WANTED = 1, /* Go reads from the client */
    SNAKE_CHUNK_READY = 2,
    SNAKE_CHUNK_LOST = 3, /* the client is gone */
};

/* How the chunk in the stream buffer ends (snake_slot.chunk_end). */
enum { SNAKE_MORE = 0, SNAKE_EOF = 1, SNAKE_LOST = 2, SNAKE_TOO_LARGE = 3 };

typedef struct snake_generation
    snake_generation; /* one loaded generation of an app; opaque to Go */

/* Buffer lengths are size_t; lengths packed into buffers are u32. The reader checks every length
 * against the buffer, whoever wrote it: core/cursor.h in C, cursor.go in Go. */

/* Links for a 103 response: each a u32 length and its bytes. Made by C, freed by Go. */
typedef struct snake_hint {
    struct snake_hint *next;
    size_t len; /* no padding before data, which cgo cannot name */
    char data[];
} snake_hint;

/* Counts a connection's exchanges that still run after their client left. */
typedef struct snake_abandoned {
    uint32_t running; /* [atomic] at 0, Go is the only owner */
} snake_abandoned;

/* A connection with this many abandoned exchanges starts no more. The limit equals the number of
 * streams that a connection may have. */
enum { SNAKE_MAX_ABANDONED = 250 };

typedef struct snake_slot {
    /* Links. C owns both; Go's reader reads done_next once, before it notifies anyone. */
    struct snake_slot *done_next;
    struct snake_slot *queue_next;
    snake_generation *app; /* set by snake_push */
    void *owner;           /* C: the ASGI exchange or the WSGI thread that runs the request */
    uint32_t id;           /* index of Go's counterpart; constant */
    uint32_t ticket;       /* C: place in line while the WSGI app has no free place; else 0 */

    uint32_t to_go;     /* [atomic] SNAKE_GO_*; C sets, Go takes and clears */
    uint32_t to_py;     /* [atomic] events for the app's queue; C only */
    uint32_t gone;      /* [atomic] 0, or SNAKE_GONE … */
    uint32_t out_state; /* [atomic] C only: who owns out; see core/slot.c */

    /* Request: Go writes it before snake_push; C reads it until the slot is released. */
    unsigned char *in; /* packed head (see request.go), then the inline body */
    size_t in_cap;
    size_t in_len;
    uint32_t header_count;
    uint32_t features;  /* SNAKE_EARLY_HINTS … */
    uint32_t body_kind; /* SNAKE_BODY_* */
    size_t body_offset; /* of the inline body, within in */
    size_t body_len;

    /* One piece of a streamed request body, or records of websocket messages: Go fills the buffer
     * after SNAKE_GO_WANT_BODY and returns it with snake_body_ready. C empties the buffer before it
     * asks again. */
    unsigned char *chunk;
    size_t chunk_cap;
    size_t chunk_len;
    uint32_t chunk_end;  /* SNAKE_MORE … */
    uint32_t body_state; /* [atomic] SNAKE_CHUNK_* */

    /* A piece of the response: C writes it before SNAKE_GO_RESPONSE; Go owns it until snake_ack. */
    unsigned char *out; /* headers: u32 name length, u32 value length, bytes …; then body */
    size_t out_cap;
    size_t out_len;
    size_t out_head_len; /* out[0:out_head_len] are headers, the rest is body */
    size_t out_body_end; /* with SNAKE_OUT_TRAILERS: out[out_body_end:out_len] are headers */
    uint32_t out_header_count;
    uint32_t out_trailer_count;
    uint32_t out_status;
    uint32_t out_flags;
    int32_t file_fd; /* with SNAKE_OUT_FILE: Go closes it; otherwise -1 */
    int64_t file_offset;
    int64_t file_len;
    snake_hint *hints; /* [atomic] newest first; Go takes them with SNAKE_GO_HINT */
    /* The counter that includes this exchange, or NULL. Go sets it before snake_gone. C takes it if
     * the app runs on without the slot; otherwise Go decrements it with the slot's release. */
    snake_abandoned *abandoned;
} snake_slot;

/* A record for Caddy's log. C makes it; Go frees it with snake_log_free. */
typedef struct snake_log {
    struct snake_log *next;
    uint32_t level;    /* Python's levels: 10 debug, 20 info, 30 warning, 40 error, 50 critical */
    uint32_t app;      /* the id from the load; 0: none */
    size_t source_len; /* data[0:source_len]: logger or stream name; the rest is the message */
    size_t len;        /* no padding before data, which cgo cannot name */
    char data[];
} snake_log;

/* A list of work that C leaves for Go. */
typedef struct {
    void **newest;  /* [atomic] a snake_slot or a snake_log; Go swaps in NULL */
    uint32_t *rung; /* [atomic] 1: the eventfd was written; Go clears it before it takes the list */
    int fd;
} snake_list;

typedef struct {
    const char *const *header_names; /* canonical; a packed head names a header by index + 1 */
    uint32_t header_count;
    const char *sources; /* the bridge package: name NUL source NUL …, both never empty */
    size_t sources_len;
} snake_options;

/* Starts or adopts the interpreter, once per process. Returns 0, or -1 with a message in err. */
int snake_start(const snake_options *options, char *err, size_t err_cap);
snake_list snake_completions(void); /* slots with to_go set */
snake_list snake_logs(void);        /* log records */
/* Full version of the running Python. Valid after snake_start. */
const char *snake_python_version(void);

/* NULL when memory is out. Slots are never freed; Go pools them. */
snake_slot *snake_slot_new(uint32_t id);
/* Grow a buffer to at least cap bytes; discard its contents. Return 0, or -1: memory is out. */
int snake_slot_reserve_in(snake_slot *slot, size_t cap);
int snake_slot_reserve_chunk(snake_slot *slot, size_t cap);
/* Frees unusually large buffers before Go pools the slot. */
void snake_slot_trim(snake_slot *slot);

/* Hands a request to an app (NULL: a command for the bridge). Go must not touch the request fields
 * afterwards. */
void snake_push(snake_generation *app, snake_slot *slot);
/* Go has written the piece in out to the client, or discarded it. C may fill out again. */
void snake_ack(snake_slot *slot);
/* Go has filled the chunk buffer that C asked for. */
void snake_body_ready(snake_slot *slot);
/* The client is gone (SNAKE_GONE …). Wakes whatever the app waits for. */
void snake_gone(snake_slot *slot, uint32_t why);
/* Returns a counter at 0, or NULL when memory is out. */
snake_abandoned *snake_abandoned_new(void);
void snake_abandoned_free(snake_abandoned *counter);
void snake_abandoned_begin(snake_abandoned *counter);
/* The counter may be freed after this call. */
void snake_abandoned_end(snake_abandoned *counter);
extern uint32_t snake_abandoned_total; /* [atomic] sum of all counters */
void snake_log_free(snake_log *record);
/* Whether any record is not freed yet. */
int snake_logs_pending(void);
void snake_hints_free(snake_hint *newest);

#endif
