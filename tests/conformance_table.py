"""The table of conformance items and their tests: `python tests/conformance_table.py` prints it.

Tests name the items they cover in `@pytest.mark.conformance("S07", ...)`. The markers are read from
the sources, so neither a server nor the packages of the test apps are needed. The items are those
of WSGI, of ASGI, of tenants and reloads, and of the connection below them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).resolve().parent

SECTIONS = {
    "WSGI: the request": {
        "W01": "environ is exactly a dict of exactly str, and the app's own",
        "W02": "every key that PEP 3333 demands",
        "W03": "the path is UTF-8 bytes as latin-1, the query stays raw",
        "W04": "the path is decoded once; REQUEST_URI is what was received",
        "W06": "SCRIPT_NAME and PATH_INFO add up to the path",
        "W07": "CONTENT_TYPE and CONTENT_LENGTH have no prefix",
        "W08": "a chunked upload has an end but no length",
        "W09": "repeated headers are joined",
        "W10": "a header with an underscore passes for no other",
        "W11": "no HTTP_PROXY",
        "W13": "SERVER_PROTOCOL",
        "W14": "nothing of the server's environment",
        "W15": "the client is who connected, or whom a trusted proxy names",
        "W17": "SERVER_NAME and SERVER_PORT make a working URL",
        "W18": "each request has an environ of its own",
        "W19": "wsgi.multithread and wsgi.multiprocess are true to the facts",
    },
    "WSGI: wsgi.input and wsgi.errors": {
        "I01": "reads and lines may be mixed",
        "I02": "an empty line is not the end",
        "I03": "nothing is lost after a partial read",
        "I04": "negative, absent and zero sizes",
        "I05": "reading past the end returns",
        "I07": "iteration and hints",
        "I08": "uploads stream through flat memory",
        "I09": "slow uploads hold up nobody",
        "I11": "an unread body is never taken for a request",
        "I12": "wsgi.errors gives one record per line",
        "I14": "100 Continue only when the app reads",
        "I15": "413 for a body over the configured limit",
    },
    "WSGI: the response": {
        "S01": "start_response on the first step of a generator",
        "S02": "start_response is never called",
        "S03": "start_response is called twice",
        "S05": "exc_info after output",
        "S06": "write()",
        "S07": "an error after empty blocks",
        "S08": "an error on the first step",
        "S09": "an error in the middle of a response",
        "S10": "each block is sent before the next is asked for",
        "S11": "close() runs exactly once",
        "S12": "iteration stops when the client has left",
        "S13": "one block gets a Content-Length",
        "S14": "an empty body",
        "S15": "more or less data than the Content-Length says",
        "S17": "204, 304 and 1xx have no body",
        "S18": "HEAD gets the headers of GET",
        "S19": "blocks that are not bytes",
        "S20": "bytes-like blocks, tuples",
        "S21": "invalid headers and statuses",
        "S24": "hop-by-hop headers of the app",
        "S25": "two cookies stay two",
        "S27": "unusual statuses",
        "S28": "wsgi.file_wrapper",
        "S29": "wsgiref.validate",
        "S30": "HTTP/1.0 clients",
        "S31": "threads",
        "S32": "threading.local and contextvars",
        "S33": "exceptions that would end a process",
        "S35": "threads, signals and processes of the app",
    },
    "ASGI: the scope": {
        "A01": "asgi.version and spec_version",
        "A02": "http_version",
        "A03": "method, path, raw_path, query_string",
        "A04": "a path that is not UTF-8",
        "A05": "headers: order, case, duplicates, host first",
        "A06": "client and server",
        "A07": "root_path and path",
        "A09": "state of the lifespan",
        "A10": "https and wss",
        "A12": "extensions that work on this connection",
    },
    "ASGI: HTTP messages": {
        "E01": "the first message of a GET",
        "E02": "a second receive waits",
        "E03": "disconnect after the response, again and again",
        "E04": "a client that leaves while the app receives",
        "E05": "a client that closes its side only",
        "E06": "uploads in pieces",
        "E07": "back-pressure of uploads",
        "E09": "a return without a response",
        "E10": "exceptions before the head is out",
        "E11": "a return before the response is complete",
        "E12": "an exception in the middle of a response",
        "E13": "messages at the wrong time",
        "E15": "defaults",
        "E16": "headers as any iterable",
        "E18": "statuses",
        "E19": "headers that would inject",
        "E20": "kinds of bytes",
        "E21": "transfer-encoding of the app",
        "E23": "responses without a body",
        "E24": "back-pressure of responses",
        "E25": "server-sent events",
        "E26": "sending to a client that left",
        "E28": "receive as a task, under timeouts and cancel scopes",
        "E29": "a real asyncio task",
        "E30": "context variables",
        "E32": "SystemExit and KeyboardInterrupt",
        "E33": "a blocked loop",
        "E34": "background tasks",
        "E35": "concurrency",
        "E36": "path send",
        "E37": "trailers",
        "E38": "early hints",
        "E39": "one Date, one Server",
        "E40": "detection",
    },
    "ASGI: lifespan": {
        "L01": "startup before the first request",
        "L02": "a startup that fails",
        "L03": "an app without lifespan",
        "L05": "shutdown after the last request",
        "L06": "startup of the new before shutdown of the old",
        "L07": "a new version that fails",
        "L08": "one loop and thread for lifespan and requests",
    },
    "ASGI: websockets": {
        "K01": "nothing before accept",
        "K02": "refusals",
        "K03": "apps that fail before accept",
        "K04": "apps that end after accept",
        "K05": "subprotocols and headers",
        "K06": "messages to the app",
        "K07": "messages of the app",
        "K08": "fragments and pings",
        "K09": "codes and reasons",
        "K12": "clients that break the protocol",
        "K14": "compression",
        "K15": "pings and silence",
        "K17": "upgrade requests to apps without websockets",
        "K18": "slow readers",
        "K19": "slow apps",
        "K20": "reload and stop",
        "K21": "HTTP/2",
        "K23": "the Autobahn test suite",
    },
    "Tenants": {
        "T01": "the same names, other code and other packages",
        "T02": "hostile names",
        "T03": "tenants that do not exist or can't be loaded",
        "T05": "limits, and what they give back",
        "T13": "one app at two sites with different settings",
        "T14": "what is process-wide, and what is not",
        "T15": "output of apps in Caddy's log",
        "T16": "Pythons and environments that don't fit",
        "T18": "processes of the app",
    },
    "Reloads": {
        "T06": "changes under traffic",
        "T07": "code that can't be loaded, until it can",
        "T08": "the ways in which files change",
        "T09": "streams and websockets on code that was replaced",
        "T10": "what many reloads leave behind",
        "T11": "reload and stop of the server",
    },
    "The connection": {
        "M01": "ambiguous or broken framing",
        "M02": "no Host, two Hosts",
        "M03": "pipelined requests",
        "M05": "headers that are too large",
        "M06": "clients that never finish",
        "M08": "Caddy's other handlers around the app",
        "M09": "unusual methods",
    },
}


def _names(tree: ast.Module) -> Iterator[tuple[str, list[ast.expr]]]:
    """Each test with the markers on it and on its module."""
    shared: list[ast.expr] = []
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark":
            shared = node.value.elts if isinstance(node.value, ast.List) else [node.value]
        elif isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node.name, [*node.decorator_list, *shared]


def covered() -> dict[str, list[str]]:
    """The tests of each item, as `file::test`."""
    found: dict[str, list[str]] = {}
    for path in sorted(TESTS.glob("test_*.py")):
        for name, markers in _names(ast.parse(path.read_text())):
            for marker in markers:
                if isinstance(marker, ast.Call) and ast.unparse(marker.func).endswith(
                    ".conformance"
                ):
                    for item in marker.args:
                        found.setdefault(ast.literal_eval(item), []).append(f"{path.name}::{name}")
    return found


def missing() -> list[str]:
    """The items without a test."""
    found = covered()
    return [item for items in SECTIONS.values() for item in items if item not in found]


def table() -> str:
    found = covered()
    lines = []
    for section, items in SECTIONS.items():
        lines += [f"### {section}", "", "| ID | what | tests |", "|---|---|---|"]
        for item, what in items.items():
            tests = "<br>".join(f"`{test}`" for test in found.get(item, []))
            lines.append(f"| {item} | {what} | {tests} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
