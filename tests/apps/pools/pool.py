"""The same with a pool of multiprocessing."""

import work

pool = work.FORK.Pool(2)


def app(environ, start_response):
    answers = pool.map(work.where, range(2))
    start_response("200 OK", [])
    return [" ".join(answers).encode()]
