"""The Python side of caddysnake: loads, isolates and unloads apps.

The package runs inside Caddy, next to the C core (``_caddysnake``). Requests do not pass through
this package: the core calls the apps directly.
"""
