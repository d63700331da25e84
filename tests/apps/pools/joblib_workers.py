"""The same with joblib, whose workers are loky's. There is one pool for all who ask for it."""

import os

import work
from joblib import Parallel, delayed

NAME = os.environ.get("NAME", "")


def app(environ, start_response):
    found = Parallel(n_jobs=2)(delayed(work.where_and_who)(number) for number in range(8))
    start_response("200 OK", [])
    if environ["QUERY_STRING"]:
        return [" ".join({who for _, who in found}).encode()]
    return [" ".join({pid for pid, _ in found}).encode()]
