//go:build asan

/* What AddressSanitizer needs to know, in a build with it (make test-asan). */
const char *__asan_default_options(void);

/* Python frees little at its end. Go takes SIGSEGV itself, and has its own stacks. */
const char *__asan_default_options(void) {
    return "detect_leaks=0:handle_segv=0:handle_sigbus=0:handle_sigfpe=0:"
           "detect_stack_use_after_return=0";
}
