"""Werkzeug's own test app, with its middleware around it."""

from pathlib import Path

from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.shared_data import SharedDataMiddleware
from werkzeug.testapp import test_app

HERE = Path(__file__).resolve().parent

app = SharedDataMiddleware(
    DispatcherMiddleware(test_app, {"/mounted": test_app}), {"/files": str(HERE / "files")}
)
