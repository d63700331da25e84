/* Shared by all C files: the state of the _caddysnake module and the interfaces between the files.
 * Uses only the stable ABI of Python 3.10. */
#ifndef SNAKE_CORE_H
#define SNAKE_CORE_H

#define _GNU_SOURCE 1
#if !__has_include(<Python.h>)
#error "No Python headers: apt-get install python3-dev (Fedora: dnf install python3-devel)"
#endif
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030A0000
#include <Python.h>
#include <stdbool.h>
#include <stdint.h>

#include "cursor.h"
#include "ring.h"

/* Interned names. In the first list, the string equals the member's name. */
/* clang-format off */
#define SNAKE_NAMES(X)                                                                             \
    X(REQUEST_METHOD) X(SCRIPT_NAME) X(PATH_INFO) X(QUERY_STRING) X(SERVER_NAME) X(SERVER_PORT)    \
    X(SERVER_PROTOCOL) X(REMOTE_ADDR) X(REMOTE_PORT) X(REMOTE_USER) X(REQUEST_URI) X(RAW_URI)      \
    X(HTTPS) X(type) X(method) X(path) X(raw_path) X(query_string) X(root_path) X(headers)         \
    X(scheme) X(client) X(server) X(http_version) X(state) X(status) X(body) X(more_body) X(run)   \
    X(close) X(throw) X(cancel) X(done) X(set_result) X(__await__) X(trailers) X(more_trailers)        \
    X(links) X(text) X(bytes) X(code) X(reason) X(subprotocol) X(subprotocols) X(extensions) X(tls)   \
    X(asgi) X(__dict__) X(dict)
#define SNAKE_STRINGS(X)                                                                           \
    X(url_scheme, "wsgi.url_scheme") X(input, "wsgi.input")                                        \
    X(input_terminated, "wsgi.input_terminated") X(start, "http.response.start")                   \
    X(response_body, "http.response.body") X(pathsend, "http.response.pathsend")                   \
    X(response_trailers, "http.response.trailers") X(early_hint, "http.response.early_hint")       \
    X(ws_accept, "websocket.accept") X(ws_send, "websocket.send") X(ws_close, "websocket.close")   \
    X(ws_denial_start, "websocket.http.response.start")                                            \
    X(ws_denial_body, "websocket.http.response.body") X(https, "https") X(on, "on")                \
    X(ws, "ws") X(wss, "wss")
/* clang-format on */

typedef struct header_name {
    PyObject *environ_key; /* "HTTP_USER_AGENT" */
    PyObject *lower;       /* b"user-agent" */
    bool secret;           /* never cached */
} header_name;

/* Python functions of the bridge package, set by _caddysnake.set_hooks(). */
enum {
    HOOK_ERROR,   /* (app id, exception, kind, environ or scope or None, client_left): logs the
                     exception */
    HOOK_INPUT,   /* (read) -> file object over a streamed request body */
    HOOK_FILE,    /* (file wrapper) -> (fd, offset, length) or None: can the kernel send it? */
    HOOK_SYSTEM,  /* () -> object: saves the system's per-thread state */
    HOOK_RESTORE, /* (saved state) -> bool: restores it, False if it can't */
    HOOK_SETTLE,  /* (): runs Python code for a moment */
    HOOK_OWNER,   /* () -> View, None or NotImplemented: owner of a thread that C code made */
    HOOK_COUNT
};

/* State of the _caddysnake module. The process has one interpreter and one such state. All
 * references come before header_names. */
typedef struct core {
#define X(n) PyObject *s_##n;
    SNAKE_NAMES(X)
#undef X
#define X(n, text) PyObject *s_##n;
    SNAKE_STRINGS(X)
#undef X
    PyObject *empty_str, *empty_bytes;
    PyObject *disconnect_message; /* {"type": "http.disconnect"}: apps get copies only */
    PyObject *request_message;    /* {"type": "http.request", "body": b"", "more_body": False} */
    PyObject *bytes_io;           /* io.BytesIO */
    PyObject *file_wrapper;       /* wsgiref.util.FileWrapper */
    PyObject *context;            /* contextvars.Context */
    PyObject *cancelled_error;    /* asyncio.CancelledError */
    PyObject *thread_local;       /* Python's own _thread._local */
    PyObject *current_thread;     /* threading.current_thread */
    PyObject *gettrace, *settrace, *getprofile, *setprofile; /* from sys; so are the next two */
    PyObject *set_asyncgen_hooks, *set_origin_depth;
    PyObject *get_running_loop, *set_running_loop; /* from asyncio */
    PyObject *hooks[HOOK_COUNT];                   /* see HOOK_* */
    PyObject *planted;                             /* set of names; see view_names.c */
    PyTypeObject *generation_type, *command_type, *wsgi_type, *asgi_type, *await_type, *view_type,
        *name_type, *local_type;
    header_name *header_names; /* [0] is unused: index 0 means that the head spells the name out */
    uint32_t header_count;
} core;

/* ---- segment.c, slot.c: C's private half of a slot */
typedef struct snake_slot {
    snake_wire *wire; /* the shared half */
    ring in, out;
    uint32_t id;             /* constant, like wire and the rings' memory */
    struct snake_slot *next; /* link of the app's queue, once the slot is taken off `incoming` */
    snake_generation *app;
    void *owner;        /* the ASGI exchange or the WSGI thread that runs the request */
    uint32_t ticket;    /* place in line while the WSGI app has no free place; else 0 */
    uint32_t told_gone; /* [atomic] the last value of gone that the app's loop was told */
    /* The request. */
    span head; /* the packed head, until slot_head_done */
    uint32_t header_count, features;
    uint32_t body_end; /* the record that ended `in`, or 0 */
    bool body_asked;
    /* The response's head, as long as it is written but not sent. */
    uint32_t head_at, head_len, head_count; /* head_len 0: there is none */
    bool is_begun;                          /* a head was sent */
} snake_slot;
/* NULL if there is no such slot. */
snake_slot *slot_at(uint32_t id);
/* NULL before the first request. */
snake_segment *segment_first(void);
/* Adds a segment that Caddy shares with this worker process. -1 with an exception. */
int segment_map(int fd);
/* Whether the segments belong to Caddy's process too. */
bool segment_is_shared(void);

/* A new list that apps cannot find: gc.get_objects() would show it, and code that runs meanwhile
 * could shorten it. PyObject_GC_Track() ends that, before an app gets the list. */
static inline PyObject *hidden_list(Py_ssize_t size) {
    PyObject *list = PyList_New(size);
    if (list)
        PyObject_GC_UnTrack(list);
    return list;
}

/* ---- queue.c: many producers, one consumer at a time */
typedef struct queue {
    uint32_t *incoming;    /* [atomic] index + 1 of the newest slot; 0: none */
    uint32_t own;          /* incoming, unless a segment has it */
    snake_slot *pending;   /* [atomic] oldest first; only the consumer changes it */
    snake_generation *app; /* opens the requests that Caddy pushes from its own process; or NULL */
} queue;
void queue_init(queue *q);
/* The queue of the one app of a worker process. */
void queue_init_shared(queue *q, snake_generation *app);
void queue_push(queue *q, snake_slot *slot);
/* Gives a request back, by the consumer: it is the next one. */
void queue_return(queue *q, snake_slot *slot);
snake_slot *queue_pop(queue *q);
static inline bool queue_is_empty(queue *q) {
    return !__atomic_load_n(&q->pending, __ATOMIC_SEQ_CST) &&
           !__atomic_load_n(q->incoming, __ATOMIC_SEQ_CST);
}

/* ---- completions.c: slots with news for Go */
int completions_init(void);
/* Announces completions by Caddy's eventfd instead of an own one. */
void completions_use(int fd);
/* Lists a slot. Go sees it after the next completions_announce(), or within two milliseconds after
 * completions_announce_later(). */
void completions_add(snake_slot *slot, uint32_t events);
void completions_announce(void);
void completions_announce_later(void);
/* For the monitor: announces when an announcement was deferred for too long. */
bool completions_watch(uint64_t now);
/* Adds one to an eventfd. */
void write_eventfd(int fd);

/* ---- messages.c: lists of messages for Go */
typedef struct message_list {
    snake_message *newest; /* [atomic] */
    uint32_t rung;         /* [atomic] */
    int fd;
} message_list;
int message_list_init(message_list *list);
/* Lists a message and announces it. Go owns it from here on. */
void message_list_add(message_list *list, snake_message *message);

/* ---- worker_home.c: what a worker process shares with Caddy, besides the segments */
void worker_share(int control, int down);
/* The eventfd that Caddy writes to wake an event loop; -1 in Caddy's own process. */
int worker_down(void);
/* Sends Caddy the file of a response, and closes fd. -1 if Caddy is gone. */
int worker_send_file(const snake_slot *slot, int fd);

/* ---- log_list.c */
int log_list_init(void);
/* Puts a record on the log list. When Go is far behind, waits without the GIL, for one second at
 * most. Returns 0, or -1 with MemoryError. */
int log_put(uint32_t level, uint32_t app, const char *source, size_t source_len,
            const char *message, size_t message_len);

/* ---- futex.c */
uint64_t now_us(void);
/* True when the time is over; 0 sets no limit. */
bool futex_wait(uint32_t *word, uint32_t value, uint64_t timeout_us);
void futex_wake(uint32_t *word, int count);
/* The same for a word of a segment, which another process may share. */
bool futex_wait_shared(uint32_t *word, uint32_t value, uint64_t timeout_us);
void futex_wake_shared(uint32_t *word, int count);

/* ---- view.c, view_modules.c, view_names.c: the modules that a thread's imports find */
typedef struct snake_view snake_view;
extern PyType_Spec view_spec;
/* The owner of the code that the current thread runs: the app's id (0: none) and the view (a strong
 * reference or NULL). While a layer's module runs for an app, the view is the layer's. */
extern __thread uint32_t current_app;
extern __thread snake_view *current_view;
uint32_t view_app(const snake_view *view);
static inline void view_enter(snake_view *view, uint32_t app) {
    current_view = (snake_view *)Py_NewRef((PyObject *)view);
    current_app = app;
}
static inline void view_leave(void) {
    PyObject *view = (PyObject *)current_view;
    current_view = NULL;
    current_app = 0;
    Py_XDECREF(view);
}
/* Functions of the _caddysnake module; see module_methods. */
PyObject *view_adopt_modules(PyObject *module, PyObject *ignored);
PyObject *view_module_enter(PyObject *module, PyObject *view);
PyObject *view_module_switch(PyObject *module, PyObject *view);
PyObject *view_module_current(PyObject *module, PyObject *ignored);
PyObject *view_module_owner(PyObject *module, PyObject *name);
PyObject *view_forget_answers(PyObject *module, PyObject *ignored);

/* ---- property_module.c */
/* Adds the type PropertyModule. Returns -1 with an exception. */
int property_module_add_type(PyObject *module);

/* ---- view_local.c: threading.local */
extern PyType_Spec local_spec;
int locals_install(core *st);
PyObject *locals_take(PyObject *module, PyObject *app);
PyObject *stacks_of_threads(PyObject *module, PyObject *args); /* stacks.c */

/* ---- view_lazy.c */
PyObject *lazy_importer(PyObject *module, PyObject *args);

/* ---- open.c */
PyObject *open_guard(PyObject *module, PyObject *args);

/* ---- heap.c */
PyObject *heap_collect(PyObject *module, PyObject *list);

/* ---- generation.c: a generation as Go and the bridge see it */
enum generation_kind { APP_NONE, APP_WSGI, APP_ASGI };
struct snake_generation {
    PyObject_HEAD
    core *st;
    uint32_t id;
    enum generation_kind kind;
    snake_view *view;
    uint32_t inflight; /* [atomic] requests pushed and not yet finished in Python; futex */
    uint32_t watched;  /* [atomic] threads that wait for inflight to fall to 0 */
    PyObject *callable;
    PyObject *template; /* the environ or scope that every request copies */
    /* WSGI; guarded by the pool's mutex. See wsgi_places.c. */
    uint32_t threads, running;                  /* total places, and occupied places */
    uint32_t aside, aside_limit;                /* running threads without a place */
    snake_slot *deferred_first, *deferred_last; /* waiting requests */
    struct wsgi_place_returner *returners_first, *returners_last; /* waiting threads */
    /* ASGI; touched only on the loop's thread, except signal, efd and armed. */
    queue queue;
    uint32_t signal;      /* [atomic] futex; see asgi_loop.c */
    int efd;              /* -1 until the loop needs it */
    bool selects;         /* the loop is ours and sleeps in select() */
    unsigned long thread; /* ident of the loop's thread */
    uint32_t *armed;      /* [atomic] 1: the loop sleeps; a push must wake it */
    uint32_t own_armed;   /* armed, unless a segment has it */
    PyObject *state, *create_future, *call_soon, *call_later, *flush, *new_task, *new_task_options;
    struct asgi_exchange *active;
    PyObject *websocket_template; /* the scope of a websocket */
    PyObject *extensions;         /* dicts of a scope, by features & (EARLY_HINTS | TRAILERS) */
    uint64_t probed_at;           /* [atomic] time of an unanswered asgi_probe; 0: none */
    uint64_t lag;                 /* [atomic] microseconds until the newest probe was answered */
    struct header_cache *cache;
    bool draining, flush_soon, announced;
    uint64_t round_began;        /* 0: no round of requests is running */
    snake_generation *gate_next; /* gate_next and gate_stuck: guarded by the gate's mutex */
    bool gate_stuck;
};
/* A request of the app has finished in Python. */
static inline void generation_finished_one(snake_generation *app) {
    if (__atomic_sub_fetch(&app->inflight, 1, __ATOMIC_SEQ_CST) == 0 &&
        __atomic_load_n(&app->watched, __ATOMIC_SEQ_CST))
        futex_wake(&app->inflight, INT_MAX);
}
extern PyType_Spec generation_spec;

/* ---- command.c: Go's commands to the bridge */
int commands_init(void);
extern PyType_Spec command_spec;
PyObject *command_next(PyObject *module, PyObject *ignored);

/* ---- slot.c: the two directions of one request */
/* Go wakes a writer that waits for room when at least this many bytes fit. */
enum { ROOM_WORTH = SNAKE_RING / 2 - SNAKE_RESERVED - SNAKE_RECORD_HEAD };
/* Reads the head of a new request. Nothing else may touch the slot before. */
void slot_open(snake_slot *slot, snake_generation *app);
/* The app is about to be called. */
void slot_begin(snake_slot *slot);
/* The packed head is not needed any more; its place in the ring is free. */
void slot_head_done(snake_slot *slot);
/* The kind of the next record of `in`; 0: none is there. After END, LOST or TOO_LARGE, the same
 * again. Only other kinds set *record, and must be given back with slot_in_done. */
uint32_t slot_next_in(snake_slot *slot, ring_record *record);
void slot_in_done(snake_slot *slot, const ring_record *record);
/* True if there is a record. Otherwise asks Go for the body, the first time; Go clears
 * SNAKE_WAIT_IN in waits once there is more. */
bool slot_in_is_ready_or_wanted(snake_slot *slot);

/* Writes the response's head, in place of one that is not sent yet, or appends a field to it. Go
 * sees it after slot_send. -1 with ValueError if it is too long. */
int slot_head_set(snake_slot *slot, uint32_t status, uint32_t count, const void *fields,
                  size_t len);
int slot_head_add(snake_slot *slot, const void *field, size_t len);
/* The longest payload that slot_put may write now; -1: not even an empty one. */
int32_t slot_room(const snake_slot *slot);
/* Writes a record of two parts. */
void slot_put(snake_slot *slot, uint32_t kind, const void *prefix, uint32_t prefix_len,
              const void *data, uint32_t len);
/* Writes that the body is a part of a file; Go closes fd. Uses the reserved room. */
void slot_put_file(snake_slot *slot, int fd, int64_t offset, int64_t len, bool shared);
/* Lets Go read what has been written. */
void slot_send(snake_slot *slot);
/* False if there is no room for wanted bytes (at most ROOM_WORTH): C gets an event when there is.
 */
bool slot_has_room_or_wants(snake_slot *slot, int32_t wanted);
/* Go has written to the client whatever it was sent. */
bool slot_is_delivered(const snake_slot *slot);
/* The same; if not, C gets an event when Go has written more. */
bool slot_is_delivered_or_wants(snake_slot *slot);
/* Sends a hint before the response's head; links as in packed_fields. -1 with MemoryError. */
int slot_send_hint(snake_slot *slot, const void *links, size_t len);
/* Closes the slot with SNAKE_END, FAIL or ABORT. C must not touch the slot afterwards. */
void slot_close(snake_slot *slot, uint32_t kind);
/* Returns an unanswered slot to Go after the client went away. */
void slot_release(snake_slot *slot);
/* Gives the memory of the empty `out` back to the system. */
void slot_trim(snake_slot *slot);
static inline uint32_t slot_gone(snake_slot *slot) {
    return __atomic_load_n(&slot->wire->gone, __ATOMIC_SEQ_CST);
}
/* The client can no longer receive the response. */
static inline bool slot_is_lost(snake_slot *slot) {
    uint32_t gone = slot_gone(slot);
    return gone == SNAKE_GONE || gone == SNAKE_TIMED_OUT || gone == SNAKE_OVERDUE;
}

/* ---- load.c: what Caddy's metrics show of the core */
/* Around the wait for Python's lock of a thread that was woken. */
uint64_t lock_wait_begins(void);
void lock_wait_ends(uint64_t began);

/* ---- monitor.c */
/* Does the work that is due. True while there is something to watch. Called without the GIL. */
typedef bool (*monitor_watcher)(uint64_t now_us);
/* At most three watchers, added before the start. */
void monitor_add(monitor_watcher watcher);
int monitor_start(void);
void monitor_wake(void); /* cheap when the monitor is awake */

/* ---- errors.c */
/* Passes the current exception to the bridge's log and clears it. request is the environ, the scope
 * or NULL. client_left: the app knows that its client left. Returns false when the exception says
 * nothing more than that. */
bool report_exception(core *st, uint32_t app, const char *kind, PyObject *request,
                      bool client_left);
PyObject *disconnected_error(void); /* raises the OSError for a client that left */

/* ---- netpoll.c */
/* The descriptors in member's epoll instance, terminated by -1. NULL if the kernel does not say.
 * The caller frees the array. */
int *netpoll_all(int member);
/* Whether Go waits for fd, or uses fd to wait. */
bool netpoll_has(int member, int fd);

/* ---- fork.c */
/* member: a descriptor in the epoll instance of Go's netpoller. */
int fork_init(int member);
/* The same for a plain Python process: a child only learns that it is one. */
int fork_init_plain(void);
/* True in a forked child. The server's threads do not exist there, so the caller must exit. */
bool fork_is_child(void);
/* With the GIL: writes a line to a descriptor, because a forked child has no Caddy that could log
 * it. */
void fork_say(int fd, const char *line, size_t len);

/* ---- embed.c or adopt.c: owns or adopts the interpreter */
int snake_own_interpreter(char *err, size_t err_cap);
/* With the GIL: creates the module and starts the bridge. -1 with an exception set. */
int snake_adopt(void);

#endif
