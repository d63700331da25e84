"""Answers Caddy's question for the metrics of a worker's application."""

from __future__ import annotations

import json
import os
import threading

from caddysnake_py import app_metrics, loader
from caddysnake_py.control import Control, shorten


def _content() -> str:
    try:
        return app_metrics.collect()
    except BaseException as error:
        text = loader.error_text(error).encode("utf-8", "backslashreplace")
        return json.dumps({"error": shorten(text)})


def _send(control: Control, question: int, content: str) -> None:
    """Sends the content in a file in memory, since it may be long."""
    file = os.memfd_create("metrics")
    try:
        with open(file, "wb", closefd=False) as stream:
            stream.write(content.encode())
        control.send("metrics", [file], question=question)
    finally:
        os.close(file)


def answer(control: Control, question: int) -> None:
    """Runs the collectors, on a thread of their own: one of them may never return."""

    def run() -> None:
        _send(control, question, _content())

    try:
        threading.Thread(target=run, name="caddy-metrics", daemon=True).start()
    except RuntimeError as error:
        _send(control, question, json.dumps({"error": f"cannot start a thread: {error}"}))
