"""Writes what the C fuzz targets begin with: seeds.py FOLDER makes FOLDER/<target>/<n>."""

from __future__ import annotations

import sys
from pathlib import Path
from struct import pack


def field(data: bytes) -> bytes:
    return pack("<I", len(data)) + data


def head(*headers: bytes) -> bytes:
    """A packed request head; see `pack` in request.go."""
    fields = [b"GET", b"/app", b"/a b", b"/a%20b", b"q=1", b"1.1", b"https", b"::1", b"4711"]
    fields += [b"example.com", b"443", b"/app/a%20b?q=1", b"ada"]
    return b"".join(map(field, fields)) + b"".join(headers)


HEADERS = [b"\1" + field(b"example.com"), b"\0" + field(b"X-A") + field(b"b"), b"\2" + field(b"c")]
SUBPROTOCOLS = field(b"chat,superchat")
TLS = pack("<III", 0x0304, 0x1301, 1) + field(b"CN=ada") + field(b"-----BEGIN")


def request(flags: int, headers: int, packed: bytes) -> bytes:
    """See fuzz_head.c."""
    return bytes([flags, headers]) + packed


def ring(flags: int, at: int, *written: bytes) -> bytes:
    """See fuzz_records.c."""
    return bytes([flags]) + pack("<I", at) + b"".join(map(field, written))


def record(kind: int, payload: bytes) -> bytes:
    return pack("<II", kind, len(payload)) + payload + bytes(-len(payload) % 8)


def counted(kind: int, data: bytes) -> bytes:
    """A str or bytes of fuzz_fields.c."""
    return bytes([kind, len(data)]) + data


def pairs(kind: int, *names: bytes) -> bytes:
    """A list of headers whose names and values are of this kind."""
    both = [b"\x09\x02" + counted(kind, name) + counted(kind, b"value") for name in names]
    return bytes([8, len(names)]) + b"".join(both)


PART = 1 << 16
plain = head(*HEADERS)
status = b"\1" + pack("<I", 200)
names = [b"content-type", b"content-length", b"Connection", b"sec-websocket-protocol"]
SEEDS = {
    "head": [
        request(0, 3, plain),
        request(4, 3, plain + TLS),
        request(8, 3, plain + SUBPROTOCOLS),
        request(12, 3, plain + SUBPROTOCOLS + TLS),
        request(16, 3, plain),
        request(0, 3, plain[:-1]),
    ],
    "records": [
        ring(1, 0, record(11, b"hello") + record(12, b"\0\1"), record(13, b"\xe8\3bye")),
        ring(1, 65_520, record(PART | 11, b"hel"), record(11, b"lo")),
        ring(0, 65_520, record(2, b"hello"), record(0, b""), record(3, b"")),
        ring(0, 0, record(2, b"hello")[:-8]),
        ring(2, 0, record(2, b"hello")),
        ring(1, 0, b"\x0b\0\0\0\xff\xff\xff\xff"),
        ring(0, 0, record(5, b"")),
    ],
    "fields": [
        b"\0" + counted(3, b"200 OK") + pairs(3, *names),
        b"\1" + status + pairs(5, *names),
        b"\2" + counted(3, b"chat") + pairs(5, b"x-a"),
        b"\2\0" + pairs(5, b"sec-websocket-protocol"),
        b"\3\0" + pairs(6, b"x-checksum"),
        b"\4\0\x08\x02" + counted(5, b"</a.css>; rel=preload") + counted(7, b"</b>"),
    ],
}

for target, inputs in SEEDS.items():
    folder = Path(sys.argv[1], target)
    folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(inputs):
        (folder / str(number)).write_bytes(data)
