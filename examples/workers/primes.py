"""Counts primes in plain Python, which keeps a core busy, and says in which process."""

import os

from flask import Flask

app = Flask(__name__)


@app.get("/primes/<int:limit>")
def primes(limit):
    limit = min(limit, 10_000_000)
    sieve = bytearray([1]) * (limit + 1)
    sieve[:2] = bytes(len(sieve[:2]))
    count = 0
    for number in range(limit + 1):
        if sieve[number]:
            count += 1
            for multiple in range(number * number, limit + 1, number):
                sieve[multiple] = 0
    return {"primes": count, "worker": os.getpid()}
