/* The list of log records for Go, and the end of every message. */
#include "core.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Live as long as the process: Go holds the addresses. */
static message_list records = {.fd = -1};
static uint32_t listed_bytes; /* [atomic] bytes of records that Go has not freed yet */

enum { LOG_BACKLOG_LIMIT = 8 << 20, LOG_WAIT_US = 1000000 };
/* Go copies a record several times and escapes it, so a longer record could exhaust the server's
 * memory. */
enum { LOG_MESSAGE_AT_MOST = 16 << 20, LOG_SOURCE_AT_MOST = 4 << 10 };

int log_list_init(void) { return message_list_init(&records); }

snake_list snake_logs(void) { return (snake_list){&records.newest, &records.rung, records.fd}; }

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
    snake_message *record = malloc(sizeof *record + len);
    if (!record) {
        PyErr_NoMemory();
        return -1;
    }
    record->level = level;
    record->id = app;
    record->source_len = source_len;
    record->len = len;
    memcpy(record->data, source, source_len);
    memcpy(record->data + source_len, message, taken);
    memcpy(record->data + source_len + taken, remark, remark_len);

    record->counted = (uint32_t)(sizeof *record + len); /* LOG_MESSAGE_AT_MOST and a bit */
    if (__atomic_load_n(&listed_bytes, __ATOMIC_RELAXED) > LOG_BACKLOG_LIMIT) {
        Py_BEGIN_ALLOW_THREADS;
        uint64_t deadline = now_us() + LOG_WAIT_US;
        uint32_t bytes;
        while ((bytes = __atomic_load_n(&listed_bytes, __ATOMIC_RELAXED)) > LOG_BACKLOG_LIMIT &&
               now_us() < deadline)
            futex_wait(&listed_bytes, bytes, 10000);
        Py_END_ALLOW_THREADS;
    }
    __atomic_fetch_add(&listed_bytes, record->counted, __ATOMIC_RELAXED);

    message_list_add(&records, record);
    return 0;
}

int snake_logs_pending(void) { return __atomic_load_n(&listed_bytes, __ATOMIC_ACQUIRE) != 0; }

void snake_message_free(snake_message *message) {
    uint32_t before = __atomic_fetch_sub(&listed_bytes, message->counted, __ATOMIC_RELAXED);
    if (before > LOG_BACKLOG_LIMIT)
        futex_wake(&listed_bytes, 1);
    free(message);
}
