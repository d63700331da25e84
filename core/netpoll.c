/* Finds Go's descriptors: the members of the epoll instance of Go's netpoller. Only the kernel
 * knows all of them, through /proc. */
#include "core.h"
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct descriptors {
    int *fds;
    size_t count, capacity;
} descriptors;

static bool is_epoll(const char *name) {
    char path[sizeof "/proc/self/fd/" + NAME_MAX], target[64];
    snprintf(path, sizeof path, "/proc/self/fd/%s", name);
    ssize_t length = readlink(path, target, sizeof target - 1);
    if (length < 0)
        return false;
    target[length] = '\0';
    return !strcmp(target, "anon_inode:[eventpoll]");
}

/* Calls visit for every descriptor in an epoll instance, until it returns false. */
static void each_in(int epoll, bool (*visit)(int fd, void *data), void *data) {
    char line[256];
    snprintf(line, sizeof line, "/proc/self/fdinfo/%d", epoll);
    FILE *info = fopen(line, "re");
    if (!info)
        return;
    while (fgets(line, sizeof line, info)) {
        if (!strncmp(line, "tfd:", 4) && !visit(atoi(line + 4), data))
            break;
    }
    fclose(info);
}

static bool is_other(int fd, void *wanted) {
    int *found = wanted;
    if (fd != *found)
        return true;
    *found = -1;
    return false;
}

/* The epoll instance that contains a descriptor; -1 if none does. */
static int find_epoll(int member) {
    DIR *all = opendir("/proc/self/fd");
    int found = -1;
    for (struct dirent *entry; found < 0 && all && (entry = readdir(all));) {
        if (!is_epoll(entry->d_name))
            continue;
        int wanted = member;
        each_in(atoi(entry->d_name), is_other, &wanted);
        if (wanted < 0)
            found = atoi(entry->d_name);
    }
    if (all)
        closedir(all);
    return found;
}

static bool collect(int fd, void *data) {
    descriptors *found = data;
    if (found->count + 1 >= found->capacity) {
        size_t capacity = found->capacity ? 2 * found->capacity : 64;
        int *fds = realloc(found->fds, capacity * sizeof *fds);
        if (!fds)
            return false;
        found->fds = fds;
        found->capacity = capacity;
    }
    found->fds[found->count++] = fd;
    found->fds[found->count] = -1;
    return true;
}

/* Go's epoll instance, which contains member; -1 if /proc does not say. */
static int go_epoll(int member) {
    static int epoll = -1; /* [atomic] Go never closes it */
    int known = __atomic_load_n(&epoll, __ATOMIC_RELAXED);
    if (known < 0) {
        known = find_epoll(member);
        __atomic_store_n(&epoll, known, __ATOMIC_RELAXED);
    }
    return known;
}

bool netpoll_has(int member, int fd) {
    int known = go_epoll(member), wanted = fd;
    if (fd < 0 || known < 0)
        return false;
    if (fd != known)
        each_in(known, is_other, &wanted);
    return fd == known || wanted < 0;
}

int *netpoll_all(int member) {
    int known = go_epoll(member);
    descriptors found = {0};
    if (known >= 0)
        each_in(known, collect, &found);
    return found.fds;
}
