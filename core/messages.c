/* Lists of messages for Go, each announced by an eventfd. */
#include "core.h"
#include <stdlib.h>
#include <sys/eventfd.h>

int message_list_init(message_list *list) {
    list->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return list->fd < 0 ? -1 : 0;
}

void message_list_add(message_list *list, snake_message *message) {
    snake_message *head = __atomic_load_n(&list->newest, __ATOMIC_RELAXED);
    do
        message->next = head;
    while (!__atomic_compare_exchange_n(&list->newest, &head, message, true, __ATOMIC_SEQ_CST,
                                        __ATOMIC_RELAXED));
    if (!__atomic_exchange_n(&list->rung, 1, __ATOMIC_SEQ_CST))
        write_eventfd(list->fd);
}
