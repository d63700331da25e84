"""The valid WSGI apps of the other modules behind `wsgiref.validate.validator`.

The validator plays the strict server to the app and the strict app to the server: what either does
against PEP 3333 is an AssertionError. VALIDATED names the app; a folder before it is a sibling of
this one: `flask_site/flask_app:app`.
"""

import importlib
import os
import sys
from pathlib import Path
from wsgiref.validate import validator


def load(name):
    folder, _, name = name.rpartition("/")
    if folder:
        sys.path.insert(0, str(Path(__file__).resolve().parent.parent / folder))
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


app = validator(load(os.environ["VALIDATED"]))
