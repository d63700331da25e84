/* Removes inherited state from forked children.
 *
 * Go's signal handlers: Go's threads do not exist in the child, so it would swallow SIGTERM, and
 * multiprocessing's fork pools would hang. Signals are blocked from before the fork until the
 * handlers are reset, which leaves no window.
 *
 * Go's sockets: a listener that Caddy replaces or closes would stay open in the child, and the
 * kernel would still assign it connections, which no process accepts. A connection that Caddy
 * closes would stay open for the client. */
#include "core.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static __thread sigset_t mask_before;
static __thread int *inherited; /* the descriptors that Go polls at the time of the fork */
static int netpoll_member = -1;
static volatile sig_atomic_t is_child;

static void before_fork(void) {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &mask_before);
    inherited = netpoll_all(netpoll_member);
}

static void after_in_parent(void) {
    free(inherited);
    inherited = NULL;
    pthread_sigmask(SIG_SETMASK, &mask_before, NULL);
}

static bool is_socket(int fd) {
    struct stat status;
    return fd > STDERR_FILENO && !fstat(fd, &status) && S_ISSOCK(status.st_mode);
}

static void close_inherited(void) {
    for (int *fd = inherited; fd && *fd >= 0; fd++) {
        if (is_socket(*fd))
            close(*fd);
    }
    free(inherited);
    inherited = NULL;
}

static void after_in_child(void) {
    static const int handled[] = {SIGTERM, SIGINT,  SIGQUIT, SIGHUP,  SIGUSR1, SIGUSR2,  SIGSEGV,
                                  SIGBUS,  SIGFPE,  SIGABRT, SIGPROF, SIGURG,  SIGCHLD,  SIGWINCH,
                                  SIGTSTP, SIGCONT, SIGTTIN, SIGTTOU, SIGALRM, SIGVTALRM};
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = SIG_DFL;
    for (size_t i = 0; i < sizeof handled / sizeof *handled; i++)
        sigaction(handled[i], &action, NULL);
    is_child = 1;
    close_inherited();
    pthread_sigmask(SIG_SETMASK, &mask_before, NULL);
}

int fork_init(int member) {
    netpoll_member = member;
    return pthread_atfork(before_fork, after_in_parent, after_in_child) ? -1 : 0;
}

static void note_child(void) { is_child = 1; }

int fork_init_plain(void) { return pthread_atfork(NULL, NULL, note_child) ? -1 : 0; }

bool fork_is_child(void) { return is_child; }

/* False when a write fails; the child has no place to report that. */
static bool write_all(int fd, const char *data, size_t len) {
    while (len) {
        ssize_t written = write(fd, data, len);
        if (written < 0 && errno != EINTR)
            return false;
        if (written > 0) {
            data += written;
            len -= (size_t)written;
        }
    }
    return true;
}

void fork_say(int fd, const char *line, size_t len) {
    Py_BEGIN_ALLOW_THREADS;
    if (write_all(fd, line, len))
        write_all(fd, "\n", 1);
    Py_END_ALLOW_THREADS;
}
