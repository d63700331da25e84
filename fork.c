/* What a forked child must not inherit: Go's signal handlers. Go's threads are
 * not there to serve them, so the child would swallow SIGTERM and
 * multiprocessing's fork pools would hang. Signals stay blocked from before the
 * fork until the handlers are reset, which leaves no window. */
#include "core.h"
#include <pthread.h>
#include <signal.h>
#include <string.h>

static __thread sigset_t mask_before;
static volatile sig_atomic_t is_child;

static void before_fork(void) {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &mask_before);
}

static void after_in_parent(void) { pthread_sigmask(SIG_SETMASK, &mask_before, NULL); }

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
    pthread_sigmask(SIG_SETMASK, &mask_before, NULL);
}

int fork_init(void) {
    return pthread_atfork(before_fork, after_in_parent, after_in_child) ? -1 : 0;
}

bool fork_is_child(void) { return is_child; }
