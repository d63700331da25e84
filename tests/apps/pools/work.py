"""What the processes of both do."""

import multiprocessing
import os
import time

FORK = multiprocessing.get_context("fork")


def where(_):
    return str(os.getpid())


def where_and_who(_):
    time.sleep(0.05)  # so that both workers have something to do
    return str(os.getpid()), os.environ.get("NAME", "")
