"""`python -m caddysnake_py` is the console script `caddysnake`."""

from caddysnake_py.launcher import main

main()
