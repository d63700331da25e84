"""Ways to run on other threads, in tasks and contexts: each comes to the tenant's own modules."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from import_checks import first_import_in_a_request, import_module


def _on(start: Callable[[Callable[[], None]], None]) -> str:
    found = []

    def target() -> None:
        import on_a_thread

        found.append(on_a_thread.NAME)

    start(target)
    return found[0]


def thread() -> str:
    def start(target):
        worker = threading.Thread(target=target)
        worker.start()
        worker.join()

    return _on(start)


def thread_of_a_thread() -> str:
    found = []
    worker = threading.Thread(target=lambda: found.append(thread()))
    worker.start()
    worker.join()
    return found[0]


def timer() -> str:
    def start(target):
        worker = threading.Timer(0, target)
        worker.start()
        worker.join()

    return _on(start)


def raw_thread() -> str:
    import _thread

    def start(target):
        done = threading.Event()

        def run():
            target()
            done.set()

        _thread.start_new_thread(run, ())
        done.wait()

    return _on(start)


def executor() -> str:
    with ThreadPoolExecutor() as pool:
        return pool.submit(first_import_in_a_request).result()


def executor_of_a_shared_package() -> str:
    import shared_executor

    return shared_executor.POOL.submit(import_module).result()


async def callback_of_a_future() -> str:
    import shared_executor

    found = []
    done = threading.Event()

    def look(_future):
        found.append(import_module())
        done.set()

    shared_executor.POOL.submit(threading.Event().wait, 0.05).add_done_callback(look)
    assert await asyncio.to_thread(done.wait, 20)
    return found[0]


def initializer_of_an_executor() -> str:
    found = []
    with ThreadPoolExecutor(1, initializer=lambda: found.append(import_module())) as pool:
        pool.submit(int).result()
    return found[0]


async def to_thread() -> str:
    return await asyncio.to_thread(first_import_in_a_request)


async def run_in_executor() -> str:
    return await asyncio.get_running_loop().run_in_executor(None, import_module)


async def task() -> str:
    async def step() -> str:
        await asyncio.sleep(0)
        import in_a_task

        return in_a_task.NAME

    return await asyncio.create_task(step())


def empty_context() -> str:
    import contextvars

    return contextvars.Context().run(import_module)
