/* What C leaves for Go: slots with news and log records. Each is a list that Go
 * takes whole, announced by an eventfd in Go's netpoller. A Python thread
 * therefore never enters Go's runtime (docs/decisions/0002). */
#include "core.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* The list heads live as long as the process: Go holds their addresses. */
static struct {
    snake_slot *done;
    uint32_t done_rung;
    int done_fd;
    uint64_t deferred_since; /* [atomic] µs; 0: nothing waits for a later ring */
    snake_log *logs;
    uint32_t logs_rung;
    int logs_fd;
    uint32_t logs_bytes; /* [atomic] listed and not yet freed by Go */
} ring = {.done_fd = -1, .logs_fd = -1};

enum { LOG_BACKLOG_LIMIT = 8 << 20, LOG_WAIT_US = 1000000, RING_LATE_US = 500 };
/* Go copies a record several times and escapes it: a longer one could take the server's memory. */
enum { LOG_MESSAGE_AT_MOST = 16 << 20, LOG_SOURCE_AT_MOST = 4 << 10 };

int ring_init(void) {
    ring.done_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    ring.logs_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return ring.done_fd < 0 || ring.logs_fd < 0 ? -1 : 0;
}

snake_ring snake_ring_get(void) {
    return (snake_ring){&ring.done, &ring.done_rung, ring.done_fd,
                        &ring.logs, &ring.logs_rung, ring.logs_fd};
}

/* Go polls edge-triggered and never reads: each write wakes it, the value is of no interest. */
void write_eventfd(int fd) {
    uint64_t one = 1;
    while (write(fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

void ring_list(snake_slot *slot, uint32_t events) {
    if (__atomic_fetch_or(&slot->to_go, events, __ATOMIC_ACQ_REL))
        return; /* still listed: Go takes all its news at once */
    snake_slot *head = __atomic_load_n(&ring.done, __ATOMIC_RELAXED);
    do
        slot->done_next = head;
    while (!__atomic_compare_exchange_n(&ring.done, &head, slot, true, __ATOMIC_SEQ_CST,
                                        __ATOMIC_RELAXED));
}

void ring_now(void) {
    __atomic_store_n(&ring.deferred_since, 0, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&ring.done, __ATOMIC_SEQ_CST) &&
        !__atomic_exchange_n(&ring.done_rung, 1, __ATOMIC_SEQ_CST))
        write_eventfd(ring.done_fd);
}

void ring_later(void) {
    uint64_t never = 0;
    if (__atomic_compare_exchange_n(&ring.deferred_since, &never, now_us(), false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_RELAXED))
        monitor_wake();
}

bool ring_watch(uint64_t now) {
    uint64_t since = __atomic_load_n(&ring.deferred_since, __ATOMIC_SEQ_CST);
    if (since && now > since + RING_LATE_US) {
        ring_now();
        return false;
    }
    return since != 0;
}

/* How much of a text is taken when no more than so many bytes are: none of a character's bytes
 * without the others. */
static size_t cut_text(const char *text, size_t len, size_t at_most) {
    if (len <= at_most)
        return len;
    while (at_most && ((unsigned char)text[at_most] & 0xc0) == 0x80)
        at_most--;
    return at_most;
}

int ring_log(uint32_t level, uint32_t app, const char *source, size_t source_len,
             const char *message, size_t message_len) {
    if (fork_is_child()) {
        fork_say(source_len == 6 && !memcmp(source, "stdout", 6) ? STDOUT_FILENO : STDERR_FILENO,
                 message, message_len);
        return 0;
    }
    char remark[64] = "";
    size_t taken = cut_text(message, message_len, LOG_MESSAGE_AT_MOST);
    if (taken < message_len)
        PyOS_snprintf(remark, sizeof remark, " … (%zu more bytes)", message_len - taken);
    source_len = cut_text(source, source_len, LOG_SOURCE_AT_MOST);
    size_t remark_len = strlen(remark), len = source_len + taken + remark_len;
    snake_log *record = malloc(sizeof *record + len);
    if (!record) {
        PyErr_NoMemory();
        return -1;
    }
    record->level = level;
    record->app = app;
    record->source_len = source_len;
    record->len = len;
    memcpy(record->data, source, source_len);
    memcpy(record->data + source_len, message, taken);
    memcpy(record->data + source_len + taken, remark, remark_len);

    uint32_t size = (uint32_t)(sizeof *record + len); /* at most LOG_MESSAGE_AT_MOST and a bit */
    if (__atomic_load_n(&ring.logs_bytes, __ATOMIC_RELAXED) > LOG_BACKLOG_LIMIT) {
        Py_BEGIN_ALLOW_THREADS;
        uint64_t deadline = now_us() + LOG_WAIT_US;
        uint32_t bytes;
        while ((bytes = __atomic_load_n(&ring.logs_bytes, __ATOMIC_RELAXED)) > LOG_BACKLOG_LIMIT &&
               now_us() < deadline)
            futex_wait(&ring.logs_bytes, bytes, 10000);
        Py_END_ALLOW_THREADS;
    }
    __atomic_fetch_add(&ring.logs_bytes, size, __ATOMIC_RELAXED);

    snake_log *head = __atomic_load_n(&ring.logs, __ATOMIC_RELAXED);
    do
        record->next = head;
    while (!__atomic_compare_exchange_n(&ring.logs, &head, record, true, __ATOMIC_SEQ_CST,
                                        __ATOMIC_RELAXED));
    if (!__atomic_exchange_n(&ring.logs_rung, 1, __ATOMIC_SEQ_CST))
        write_eventfd(ring.logs_fd);
    return 0;
}

int snake_logs_pending(void) { return __atomic_load_n(&ring.logs_bytes, __ATOMIC_ACQUIRE) != 0; }

void snake_log_free(snake_log *record) {
    uint32_t size = (uint32_t)(sizeof *record + record->len);
    uint32_t before = __atomic_fetch_sub(&ring.logs_bytes, size, __ATOMIC_RELAXED);
    if (before > LOG_BACKLOG_LIMIT)
        futex_wake(&ring.logs_bytes, 1);
    free(record);
}
