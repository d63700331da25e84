"""The Python side of caddysnake: loading apps and everything about them that changes.

It runs inside Caddy, next to the C core (``_caddysnake``). Requests do not pass through it:
the core calls the apps directly.
"""
