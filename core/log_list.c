/* The list of log records for Go, announced like completions. */
#include "core.h"
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Lives as long as the process: Go holds the addresses. */
static struct {
    snake_log *newest;
    uint32_t rung;
    int fd;
    uint32_t bytes; /* [atomic] bytes listed and not yet freed by Go */
} log_list = {.fd = -1};

enum { LOG_BACKLOG_LIMIT = 8 << 20, LOG_WAIT_US = 1000000 };
/* Go copies a record several times and escapes it, so a longer record could exhaust the server's
 * memory. */
enum { LOG_MESSAGE_AT_MOST = 16 << 20, LOG_SOURCE_AT_MOST = 4 << 10 };

int log_list_init(void) {
    log_list.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return log_list.fd < 0 ? -1 : 0;
}

snake_list snake_logs(void) {
    return (snake_list){(void **)&log_list.newest, &log_list.rung, log_list.fd};
}

/* The length of text cut to at most at_most bytes, without splitting a UTF-8 character. */
static size_t cut_text(const char *text, size_t len, size_t at_most) {
    if (len <= at_most)
        return len;
    while (at_most && ((unsigned char)text[at_most] & 0xc0) == 0x80)
        at_most--;
    return at_most;
}

int log_put(uint32_t level, uint32_t app, const char *source, size_t source_len,
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
    if (__atomic_load_n(&log_list.bytes, __ATOMIC_RELAXED) > LOG_BACKLOG_LIMIT) {
        Py_BEGIN_ALLOW_THREADS;
        uint64_t deadline = now_us() + LOG_WAIT_US;
        uint32_t bytes;
        while ((bytes = __atomic_load_n(&log_list.bytes, __ATOMIC_RELAXED)) > LOG_BACKLOG_LIMIT &&
               now_us() < deadline)
            futex_wait(&log_list.bytes, bytes, 10000);
        Py_END_ALLOW_THREADS;
    }
    __atomic_fetch_add(&log_list.bytes, size, __ATOMIC_RELAXED);

    snake_log *head = __atomic_load_n(&log_list.newest, __ATOMIC_RELAXED);
    do
        record->next = head;
    while (!__atomic_compare_exchange_n(&log_list.newest, &head, record, true, __ATOMIC_SEQ_CST,
                                        __ATOMIC_RELAXED));
    if (!__atomic_exchange_n(&log_list.rung, 1, __ATOMIC_SEQ_CST))
        write_eventfd(log_list.fd);
    return 0;
}

int snake_logs_pending(void) { return __atomic_load_n(&log_list.bytes, __ATOMIC_ACQUIRE) != 0; }

void snake_log_free(snake_log *record) {
    uint32_t size = (uint32_t)(sizeof *record + record->len);
    uint32_t before = __atomic_fetch_sub(&log_list.bytes, size, __ATOMIC_RELAXED);
    if (before > LOG_BACKLOG_LIMIT)
        futex_wake(&log_list.bytes, 1);
    free(record);
}
