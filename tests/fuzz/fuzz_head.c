/* A packed request head, of any bytes, becomes an environ and a scope. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static header_cache *cache;
    if (!cache && !(cache = header_cache_new(fuzz_state)))
        fuzz_fail("no memory");
    cursor c = {data, data + size, false};
    snake_slot *slot = fuzz_slot();
    unsigned flags = cursor_byte(&c);
    slot->features =
        flags & (SNAKE_EARLY_HINTS | SNAKE_TRAILERS_TAKEN | SNAKE_TLS | SNAKE_WEBSOCKET);
    slot->features |= flags >> 4 & 1 ? SNAKE_BODY_WHOLE : 0;
    slot->header_count = flags >> 5 & 1 ? cursor_uint32(&c) : cursor_byte(&c);
    fuzz_head(slot, c.p, cursor_left(&c));
    head_method_is(slot, "HEAD");
    head_offers_subprotocol(slot, "chat", 4);
    fuzz_check(scope_new(fuzz_state, fuzz_app->cache, fuzz_app, slot));
    fuzz_check(environ_new(fuzz_state, cache, fuzz_app, slot));
    return 0;
}
