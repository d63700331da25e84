/* The boundary between Go and the C core: the only file that both sides read.
 *
 * A request is one slot of a segment, which is memory that Go and the side that runs Python share.
 * A slot has a wire part, which both sides read and write, and two byte rings: `in` from Go to the
 * app, and `out` back. Slots are named by index, and rings are read by counters, so a segment means
 * the same wherever it is mapped. Go packs the request into `in` and pushes the slot to an app. Go
 * learns of the app's answer from one list (snake_segment.up), which one eventfd announces.
 *
 * Fields marked [atomic] are touched only with atomic operations: by __atomic built-ins in C and by
 * sync/atomic in Go (cgo cannot map _Atomic). A side never reads back a field that only it writes:
 * it keeps a copy of its own. */
#ifndef CADDYSNAKE_H
#define CADDYSNAKE_H

#include <stddef.h>
#include <stdint.h>

/* ---- the segment
 *
 * A segment begins with snake_segment in a page of its own. Its slots follow (snake_slot_offset),
 * then its rings (snake_ring_offset). A home of apps may have several segments; slots are numbered
 * through them, and the lists are in the first one. */
enum {
    SNAKE_PAGE = 4096,
    SNAKE_RING = 64 << 10,     /* bytes of one ring; a power of two */
    SNAKE_SEGMENT_SLOTS = 256, /* slots of one segment */
};

typedef struct snake_segment {
    uint32_t up;   /* [atomic] index + 1 of the newest slot with news for Go; 0: none */
    uint32_t rung; /* [atomic] 1: the eventfd was written; Go clears it before it takes the list */
    uint32_t spare_up[14];
    /* For a worker process only; Caddy's process has a queue for each app. */
    uint32_t down;  /* [atomic] index + 1 of the newest slot with work for the app; 0: none */
    uint32_t armed; /* [atomic] 1: the app sleeps; Go clears it, and wakes the app */
    uint32_t spare_down[14];
} snake_segment;

/* The shared part of a slot. The sides write to cache lines of their own. */
typedef struct snake_wire {
    /* Go's side writes. */
    uint32_t in_made;     /* [atomic] bytes put into `in` */
    uint32_t out_used;    /* [atomic] bytes taken from `out` */
    uint32_t gone;        /* [atomic] 0, or SNAKE_GONE … */
    uint32_t room_wanted; /* [atomic] 1: Go waits for room in `in`; the app's side clears it */
    uint32_t serial; /* of the request: what the app's side sends apart from the rings names it */
    uint32_t spare_go[11];
    /* The app's side writes. */
    uint32_t out_made; /* [atomic] bytes put into `out` */
    uint32_t in_used;  /* [atomic] bytes taken from `in` */
    uint32_t to_go;    /* [atomic] SNAKE_GO_*; Go takes and clears */
    uint32_t next_up;  /* index + 1 of the next slot on the list `up`; 0: none */
    uint32_t waits;    /* [atomic] what the app waits for: SNAKE_WAIT_*; Go clears it */
    int32_t file;      /* the descriptor of a SNAKE_FILE record, or -1; in Caddy's process only */
    uint32_t begun;    /* [atomic] 1: the app has been called */
    uint32_t begun_at; /* when that was, in microseconds of CLOCK_MONOTONIC modulo 2^32; only for
                          requests with SNAKE_TIMED. Written before begun */
    uint32_t spare_app[6];
    /* Whoever wakes the app. */
    uint32_t to_py;     /* [atomic] events for the app's queue; see core/slot.c */
    uint32_t next_down; /* index + 1 of the next slot in the app's queue; 0: none */
} snake_wire;

/* What the app's side tells Go about a slot (snake_wire.to_go). */
enum {
    SNAKE_GO_OUT = 1,       /* there are new records in `out` */
    SNAKE_GO_WANT_BODY = 2, /* the app waits for more in `in`, or there is room again */
    SNAKE_GO_RELEASED = 4,  /* the app's side is done with the slot for good */
};

/* What the app waits for (snake_wire.waits). After moving a counter or setting gone, Go takes the
 * bits and calls snake_notify with those that it took. */
enum {
    SNAKE_WAIT_IN = 1,   /* more records in `in` */
    SNAKE_WAIT_ROOM = 2, /* room in `out` */
    SNAKE_IDLE = 4, /* for snake_notify only: nothing has happened on a websocket or in a response
                       for a while, so the app's side returns the memory of the empty `out` */
};

/* Events of a slot for the app (snake_wire.to_py). Whoever sets the first one puts the slot on the
 * app's queue; the app takes and clears them. */
enum {
    SNAKE_TO_PY_NEW = 1, /* a new request */
    SNAKE_TO_PY_IN = 2,  /* SNAKE_WAIT_IN is over; and so on */
    SNAKE_TO_PY_ROOM = 4,
    SNAKE_TO_PY_GONE = 8,
    SNAKE_TO_PY_IDLE = 32,
    SNAKE_TO_PY_CLOSED = 16, /* the app's side has closed the slot: nothing more is queued */
};

/* ---- records
 *
 * A ring holds records: kind (u32), length (u32), payload. Each begins at a multiple of 8 bytes,
 * and counters move by whole records with their padding. Counters only grow, modulo 2^32; a byte's
 * place in the ring is its number modulo SNAKE_RING. A payload may wrap around the ring's end; a
 * record's head of 8 bytes never does. The reader checks every length against the bytes that are in
 * the ring, whoever wrote it: core/ring.h in C, internal/ring in Go. */
enum { SNAKE_RECORD_HEAD = 8 };
enum {
    SNAKE_SKIP = 0, /* nothing: padding. A writer that finds the ring empty goes back to its start,
                       so that an idle slot occupies few pages of memory */
    SNAKE_HEAD = 1, /* `in`: u32 header count, u32 features, the packed head (request.go), at the
                       ring's start and without wrapping. `out`: u32 status, u32 header count,
                       headers (u32 name length, u32 value length, name, value) */
    SNAKE_DATA = 2, /* body bytes */
    SNAKE_END = 3,  /* the body or response is complete. Nothing follows, as after the next three */
    SNAKE_LOST = 4, /* `in`: the client is gone or sent an invalid body */
    SNAKE_TOO_LARGE = 5, /* `in`: the body is larger than the server allows */
    SNAKE_FAIL = 6,      /* `out`: the app failed before its head */
    SNAKE_ABORT = 7,     /* `out`: the app failed after its head: break the connection */
    SNAKE_HINT = 8,      /* `out`: links for a 103 response: each a u32 length and its bytes */
    SNAKE_TRAILERS = 9,  /* `out`: u32 count, headers; after the body */
    SNAKE_FILE = 10, /* `out`: i64 offset, i64 length, u32 1 if the app shares the file's offset,
                        u32 0: the body is this part of the file snake_wire.file */
    SNAKE_TEXT = 11, /* a websocket's message */
    SNAKE_BINARY = 12,
    SNAKE_CLOSE = 13, /* a websocket's close: u16 code, reason; nothing follows in this direction */
    SNAKE_PART = 1 << 16, /* flag of TEXT and BINARY: the message goes on in the next record */
};

/* The last records of each direction need room at any time: a writer leaves this many bytes free
 * when it writes other records. */
enum { SNAKE_RESERVED = 256 };

/* Why the client is gone (snake_wire.gone). */
enum {
    SNAKE_GONE = 1,            /* the client can neither send nor receive */
    SNAKE_STOPPED_SENDING = 2, /* HTTP/1: the client may still read */
    SNAKE_TIMED_OUT = 3,       /* Go has answered in the app's place */
    SNAKE_CLOSED = 4,          /* a websocket: `in` holds its last messages and its close */
    SNAKE_OVERDUE = 5, /* after SNAKE_GONE: the app must end now, its connection has too many
                          such requests */
};

/* What the connection offers, and what the request is (the features in a head). */
enum {
    SNAKE_EARLY_HINTS = 1,    /* Go may send informational responses */
    SNAKE_TRAILERS_TAKEN = 2, /* the client accepts trailers */
    SNAKE_TLS = 4,            /* the packed head ends with TLS facts */
    SNAKE_WEBSOCKET = 8, /* the request asks for a websocket; its subprotocols follow the headers */
    SNAKE_UNSIZED = 16,  /* the streamed body has no Content-Length */
    SNAKE_BODY_WHOLE = 32,  /* the whole body follows the head: one DATA and END */
    SNAKE_BODY_STREAM = 64, /* Go reads the body once the app asks for it */
    SNAKE_TIMED = 128,      /* Go wants to know when the app is called */
};

typedef struct snake_generation
    snake_generation; /* one loaded generation of an app; opaque to Go */

/* A message for Go that C makes and Go frees with snake_message_free: a record for Caddy's log, or
 * the answer to a command. */
typedef struct snake_message {
    struct snake_message *next;
    uint32_t level;    /* a log record's level: 10 debug, 20 info, 30 warning, 40 error, 50
                          critical; an answer: 0, or 1 when the bridge has lost the command */
    uint32_t id;       /* the app's id from the load (0: none), or the command's id */
    uint32_t counted;  /* C: bytes that count as backlog of the log */
    size_t source_len; /* data[0:source_len]: logger or stream name, then, after a NUL, the ids of a
                          request if there are any; the rest is the message */
    size_t len;        /* no padding before data, which cgo cannot name */
    char data[];
} snake_message;

/* A list of messages for Go, newest first. */
typedef struct {
    snake_message **newest; /* [atomic] Go swaps in NULL */
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
/* The eventfd that announces snake_segment.up of the first segment. Valid after snake_start. */
int snake_completions(void);
snake_list snake_logs(void);    /* log records */
snake_list snake_answers(void); /* answers to commands */
/* Full version of the running Python. Valid after snake_start. */
const char *snake_python_version(void);

/* Size of a segment in bytes, and the offsets of the parts of its slot i. Rings begin at multiples
 * of their size, so that madvise() takes a ring's memory on machines with pages of 64 KiB, too. */
static inline size_t snake_slot_offset(uint32_t i) {
    return SNAKE_PAGE + (size_t)i * sizeof(snake_wire);
}
static inline size_t snake_ring_offset(uint32_t i, int out) {
    size_t slots = snake_slot_offset(SNAKE_SEGMENT_SLOTS);
    size_t first = (slots + SNAKE_RING - 1) & ~(size_t)(SNAKE_RING - 1);
    return first + (2 * (size_t)i + (out ? 1 : 0)) * SNAKE_RING;
}
static inline size_t snake_segment_size(void) { return snake_ring_offset(SNAKE_SEGMENT_SLOTS, 0); }

/* Adds the next segment of Caddy's process. NULL when memory is out. A segment is never freed. */
snake_segment *snake_segment_add(void);

/* Hands a request to an app. Go has set the fields of the wire part to 0, file to -1, and filled
 * `in`. */
void snake_push(snake_generation *app, uint32_t slot);
/* Wakes the app: Go has taken bits out of snake_wire.waits, or has set gone (waits 0). */
void snake_notify(uint32_t slot, uint32_t waits);
/* A command for the bridge, JSON. 0, or -1 when memory is out. */
int snake_command(uint32_t id, const char *json, size_t len);
void snake_message_free(snake_message *message);
/* Whether any log record is not freed yet. */
int snake_logs_pending(void);

/* Measures how long threads wait for Python's lock (on 1), or no longer (0). */
void snake_measure(int on);
/* The sum of these waits, in microseconds. */
uint64_t snake_lock_wait(void);
/* How busy a generation is; the caller keeps it loaded meanwhile. */
typedef struct {
    uint32_t running;     /* WSGI: occupied places of `threads` */
    uint64_t loop_lag;    /* ASGI: microseconds until the loop gave its newest sign of life */
    uint64_t loop_silent; /* ASGI: microseconds without the one that it was asked for; 0: none */
} snake_load;
snake_load snake_load_of(snake_generation *app);

#endif
