//go:build !pyext

/* What a worker does before Python code runs in it, in the linked executable and in the wheel's
 * module: it takes the control socket, on which Caddy's first message brings the names of headers
 * and the bridge package (docs/decisions/0060), and gives up what is Caddy's. */
#define _GNU_SOURCE 1 /* as in Python.h */
#include "worker_start.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sysexits.h>
#include <unistd.h>

enum {
    MAX_HEADERS = 254, /* a packed head names a header by one byte */
    MAX_NAMES = 16 << 10,
    MAX_SOURCES = 64 << 20,
};

const char *worker_control_problem(int fd) {
    struct stat status;
    struct ucred peer;
    int type;
    socklen_t type_len = sizeof type, peer_len = sizeof peer;
    if (fstat(fd, &status))
        return strerror(errno);
    if (!S_ISSOCK(status.st_mode) || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len) ||
        type != SOCK_SEQPACKET)
        return "not a SEQPACKET socket";
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_len) || peer.pid != getppid())
        return "its peer is not the parent process";
    if (fcntl(fd, F_SETFD, FD_CLOEXEC))
        return strerror(errno);
    return NULL;
}

/* Receives Caddy's first message: the names, each with its NUL, and one descriptor. Returns the
 * length, 0 if Caddy is gone, or -1. */
static ssize_t receive_hello(int fd, char *names, size_t cap, int *sources) {
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } rights;
    struct iovec part = {names, cap};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = rights.bytes,
                             .msg_controllen = sizeof rights.bytes};
    ssize_t len;
    do
        len = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    while (len < 0 && errno == EINTR);
    if (len <= 0)
        return len;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) || !header ||
        header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS ||
        header->cmsg_len != CMSG_LEN(sizeof(int)) || names[len - 1])
        return -1;
    memcpy(sources, CMSG_DATA(header), sizeof(int));
    return len;
}

/* Splits the names at their NULs. Returns how many there are, or -1 if they are too many. */
static int split_names(const char *names, size_t len, const char **split) {
    int count = 0;
    for (size_t at = 0; at < len; at += strlen(names + at) + 1) {
        if (count == MAX_HEADERS)
            return -1;
        split[count++] = names + at;
    }
    return count;
}

/* Maps the bridge package's sources. Returns 0, or -1. */
static int map_sources(int fd, snake_options *options) {
    struct stat status;
    int rc = -1;
    if (fstat(fd, &status) || !S_ISREG(status.st_mode) || status.st_size <= 0 ||
        status.st_size > MAX_SOURCES)
        goto out;
    void *mapped = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (mapped == MAP_FAILED)
        goto out;
    options->sources = mapped;
    options->sources_len = (size_t)status.st_size;
    rc = 0;
out:
    close(fd);
    return rc;
}

/* Gives up the capabilities that Caddy may have to bind its ports. Root keeps its own. Returns 0,
 * or -1. */
static int drop_capabilities(void) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0, 0, 0}};
    if (!geteuid())
        return 0;
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); /* fails only if there are none */
    return syscall(SYS_capset, &header, none) ? -1 : 0;
}

int worker_prepare(int control, snake_options *options) {
    static char names[MAX_NAMES];
    static const char *split[MAX_HEADERS];
    int sources;
    ssize_t len = receive_hello(control, names, sizeof names, &sources);
    int count = len > 0 ? split_names(names, (size_t)len, split) : -1;
    if (len == 0)
        return EXIT_SUCCESS;
    *options = (snake_options){.header_names = split};
    if (count < 0 || map_sources(sources, options)) {
        fprintf(stderr, "python worker: the first message on the control socket is broken\n");
        return EX_PROTOCOL;
    }
    options->header_count = (uint32_t)count;
    /* Not setsid: a session would be a group of its own for the scheduler, which would then let the
     * worker preempt Caddy at each request. */
    if (setpgid(0, 0) || drop_capabilities()) {
        fprintf(stderr, "python worker: %s\n", strerror(errno));
        return EX_OSERR;
    }
    prctl(PR_SET_NAME, "python-worker", 0, 0, 0);
    return -1;
}
