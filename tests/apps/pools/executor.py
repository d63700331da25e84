"""An executor of processes that lives as long as the app, as one for long computations does."""

from concurrent.futures import ProcessPoolExecutor

import work

pool = ProcessPoolExecutor(2, mp_context=work.FORK)


def app(environ, start_response):
    answers = list(pool.map(work.where, range(2)))
    start_response("200 OK", [])
    return [" ".join(answers).encode()]
