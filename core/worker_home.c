/* What a worker process shares with Caddy: eventfds and the control socket. Caddy pushes requests
 * and wakes the app without running code of this process; see worker_home.go. */
#include "core.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Set before the first request. */
static int down_fd = -1, control_fd = -1;

void worker_share(int control, int down) {
    control_fd = control;
    down_fd = down;
}

int worker_down(void) { return down_fd; }

int worker_send_file(const snake_slot *slot, int fd) {
    char text[80];
    int len = PyOS_snprintf(text, sizeof text, "{\"op\": \"file\", \"slot\": %u, \"serial\": %u}",
                            slot->id, __atomic_load_n(&slot->wire->serial, __ATOMIC_RELAXED));
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof fd)];
    } rights;
    struct iovec part = {text, (size_t)len};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = rights.bytes,
                             .msg_controllen = sizeof rights.bytes};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    ssize_t sent;
    do
        sent = sendmsg(control_fd, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    close(fd);
    return sent < 0 ? -1 : 0;
}
