/* A packed request head, of any bytes, becomes an environ and a scope. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static header_cache *cache;
    if (!cache && !(cache = header_cache_new(fuzz_state)))
        fuzz_fail("no memory");
    cursor c = {data, data + size, false};
    snake_slot *slot = fuzz_slot();
    unsigned flags = cursor_byte(&c);
    slot->features = flags & (SNAKE_EARLY_HINTS | SNAKE_TRAILERS | SNAKE_TLS | SNAKE_WEBSOCKET);
    slot->body_kind = flags >> 4 & 1 ? SNAKE_BODY_INLINE : SNAKE_BODY_NONE;
    slot->header_count = flags >> 5 & 1 ? cursor_uint32(&c) : cursor_byte(&c);
    slot->body_offset = cursor_uint32(&c);
    slot->body_len = flags >> 6 & 1 ? SIZE_MAX - cursor_byte(&c) : cursor_byte(&c);
    fuzz_fill(&slot->in, &slot->in_cap, &slot->in_len, c.p, cursor_left(&c));
    if (flags >> 7)
        slot->in_len++; /* longer than its buffer */

    fuzz_check(environ_new(fuzz_state, cache, fuzz_app, slot));
    fuzz_check(scope_new(fuzz_state, fuzz_app->cache, fuzz_app, slot));
    if (slot->body_kind)
        fuzz_check(body_inline(slot));
    head_method_is(slot, "HEAD");
    head_offers_subprotocol(slot, "chat", 4);
    return 0;
}
