"""Answers Caddy's question for the metrics of a worker's application."""

from __future__ import annotations

import json
import threading

from caddysnake_py import app_metrics, loader
from caddysnake_py.control import Control, shorten


def _content() -> str:
    try:
        return app_metrics.collect()
    except BaseException as error:
        text = loader.error_text(error).encode("utf-8", "backslashreplace")
        return json.dumps({"error": shorten(text)})


def answer(control: Control, question: int) -> None:
    """Runs the collectors, on a thread of their own: one of them may never return."""

    def run() -> None:
        control.send_long("metrics", _content(), question=question)

    try:
        threading.Thread(target=run, name="caddy-metrics", daemon=True).start()
    except RuntimeError as error:
        content = json.dumps({"error": f"cannot start a thread: {error}"})
        control.send_long("metrics", content, question=question)
