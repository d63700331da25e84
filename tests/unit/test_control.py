"""The control socket of a worker."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from collections.abc import Iterator

import pytest

from caddysnake_py.control import Control, shorten


@pytest.fixture
def ends() -> Iterator[tuple[Control, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    control = Control(ours.detach())
    yield control, theirs
    control.close()
    theirs.close()


def test_a_message_carries_fields_and_descriptors(ends: tuple[Control, socket.socket]) -> None:
    control, caddy = ends
    with tempfile.TemporaryFile() as file:
        file.write(b'{"app": "main:app"}')
        file.flush()
        socket.send_fds(caddy, [b'{"op": "start", "x": 1}'], [file.fileno()])
    message = control.receive()
    assert message is not None
    assert (message.op, message.fields["x"]) == ("start", 1)
    assert not os.get_inheritable(message.files[0])
    assert message.content() == {"app": "main:app"}
    assert message.files == []


def test_nothing_more_comes_once_caddy_is_gone(ends: tuple[Control, socket.socket]) -> None:
    control, caddy = ends
    caddy.close()
    assert control.receive() is None
    control.send("stopped", idle=True)


def test_a_record_always_fits_into_a_message(ends: tuple[Control, socket.socket]) -> None:
    control, caddy = ends
    control.log(1000, 7, "x" * 500, ('\\"' * 1_000_000).encode(), "one")
    data = caddy.recv(1 << 20)
    assert len(data) <= 128 << 10
    record = json.loads(data)
    assert (record["op"], record["level"], len(record["source"])) == ("log", 100, 256)
    assert record["ids"] == "one"


@pytest.mark.parametrize("text", ["", "short", "\N{SNOWMAN}" * 10])
def test_a_text_that_fits_is_left_as_it_is(text: str) -> None:
    assert shorten(text.encode()) == text


def test_a_long_text_loses_its_middle_and_says_so() -> None:
    text = shorten(("a" + "\N{SNOWMAN}" * 50_000 + "end").encode())
    assert text.startswith("a\N{SNOWMAN}")
    assert text.endswith("\N{SNOWMAN}end")
    assert "bytes are left out]" in text
    assert "\ufffd" not in text
