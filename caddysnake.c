/* The core as one unit. cgo compiles only the C files of this folder, and Go's build cache looks at
 * no other folder unless a Go file embeds it, as python.go does (docs/decisions/0055). */

/* Slots between Go and Python. */
#include "core/command.c"
#include "core/completions.c"
#include "core/futex.c"
#include "core/log_list.c"
#include "core/messages.c"
#include "core/monitor.c"
#include "core/queue.c"
#include "core/segment.c"
#include "core/slot.c"
#include "core/worker_home.c"

/* Requests and responses as objects. */
#include "core/body.c"
#include "core/environ.c"
#include "core/errors.c"
#include "core/fields.c"
#include "core/head.c"
#include "core/packed.c"
#include "core/scope.c"

/* WSGI. */
#include "core/wsgi.c"
#include "core/wsgi_output.c"
#include "core/wsgi_places.c"
#include "core/wsgi_pool.c"
#include "core/wsgi_result.c"
#include "core/wsgi_serve.c"
#include "core/wsgi_threads.c"
#include "core/wsgi_threadstate.c"

/* ASGI. */
#include "core/asgi.c"
#include "core/asgi_announce.c"
#include "core/asgi_await.c"
#include "core/asgi_exchange.c"
#include "core/asgi_gate.c"
#include "core/asgi_http.c"
#include "core/asgi_loop.c"
#include "core/asgi_output.c"
#include "core/asgi_websocket.c"

/* Modules: what apps share, and what each app sees. */
#include "core/open.c"
#include "core/property_module.c"
#include "core/view.c"
#include "core/view_current.c"
#include "core/view_lazy.c"
#include "core/view_local.c"
#include "core/view_modules.c"
#include "core/view_names.c"

/* Python, and the process. */
#include "core/calls.c"
#include "core/fork.c"
#include "core/generation.c"
#include "core/heap.c"
#include "core/load.c"
#include "core/module.c"
#include "core/netpoll.c"
#include "core/stacks.c"
#include "core/worker_attach.c"
#include "core/worker_watch.c"
