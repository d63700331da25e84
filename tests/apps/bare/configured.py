"""The talkative app, with logging configured as most programs do it."""

import logging

from talkative import app as app

logging.basicConfig(level=logging.INFO, format="%(message)s")
