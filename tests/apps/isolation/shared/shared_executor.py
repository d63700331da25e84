"""A shared package with threads of its own."""

from concurrent.futures import ThreadPoolExecutor

POOL = ThreadPoolExecutor(1)
