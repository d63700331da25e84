"""The black-box harness: starts the real server, speaks to it over sockets, checks it after tests.

Each module holds one concept. Nothing here imports the product: it is known only by its binary, its
Caddyfile, its log and its answers.
"""
