"""What strangers say instead of a request, and how it has to be answered: by WIRE.md, section 7."""

import json
import random
import ssl
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final

from fanout.protocol import EndReason, PeerError, Position, Start, decode_request, frame
from fanout.transports.tcp.acceptor import RETRY_MS
from tests.stress.tcp.account import request

Answer = tuple[EndReason, int | None] | None
"""Why not, and when to come back; or that it is served."""

Saying = tuple[bytes, Answer]

REFUSED: Final = (EndReason.BAD_REQUEST, None)
LATE: Final = (EndReason.BAD_REQUEST, RETRY_MS)
SERVED: Final = None


def known() -> Iterator[Saying]:
    """What has a meaning, or once had one somewhere."""
    yield from ((each, SERVED) for each in _served())
    yield from ((each, REFUSED) for each in _refused())
    yield b"\x16", LATE
    yield request()[:-1], LATE


def noises(count: int, chance: random.Random) -> Iterator[Saying]:
    """Random bytes: plain, behind a true length, or in the place of a request's own."""
    for step in range(count):
        noise = chance.randbytes(chance.randrange(1, 200))
        if step % 3 == 1:
            noise = frame(noise)
        elif step % 3 == 2:
            asked = bytearray(request(start=Start.OLDEST, token="x" * 20))
            asked[chance.randrange(len(asked))] ^= 1 << chance.randrange(8)
            noise = bytes(asked)
        yield noise, expected_answer(noise)


def expected_answer(said: bytes) -> Answer:
    """To who says nothing more."""
    length = int.from_bytes(said[:4], "little")
    if len(said) >= 4 and not 0 < length <= 4096:
        return REFUSED
    if said.startswith(b"\x16\x03"):
        return REFUSED
    if len(said) < 4 + length or len(said) < 4:
        return LATE
    try:
        decode_request(said[4 : 4 + length])
    except PeerError:
        return REFUSED
    return SERVED


def _served() -> Iterable[bytes]:
    return (
        request(),
        _framed({"start": {"epoch_ns": "1", "seq": "1"}}),
        _framed({"unknown": [{}, None, 1e300]}),
        request() + b"garbage behind a request",
        request() + request(start=Start.OLDEST),
        _padded(4096),
    )


def _refused() -> Iterator[bytes]:
    yield from (size.to_bytes(4, "little") for size in (0, 4097, 2**16, 2**31, 2**32 - 1))
    yield from map(_framed, _REFUSED_VALUES)
    for name, values in _REFUSED_MEMBERS.items():
        yield from (_framed({name: each}) for each in values)
    yield request(start=Position(epoch_ns=1, seq=2**62))
    yield _padded(4097)
    yield from map(frame, _REFUSED_TEXTS)
    yield _tls_hello()
    yield b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    yield b"SSH-2.0-OpenSSH_9.2\r\n"


_REFUSED_VALUES: Final[list[object]] = [[], "live", 1, None, True, 1e300, [[]] * 100]

_REFUSED_MEMBERS: Final[dict[str, list[object]]] = {
    "start": [
        *(5, None, [], "newest", {}),
        {"seq": 1},
        {"epoch_ns": 1, "seq": 0},
        {"epoch_ns": 1, "seq": 2**63},
        {"epoch_ns": 1, "seq": 10**30},
        {"epoch_ns": -1, "seq": 1},
    ],
    "slow": [True, 0, "stop", ["skip"]],
    "token": [5, ["x"], {}],
}

_REFUSED_TEXTS: Final = [
    b"[" * 4096,
    b'{"start":' * 400,
    b'{"token":"\xff\xfe"}',
    b'{"token":"\\ud800"}',
    b'{"start":NaN}',
    b" " * 4096,
    b"\0" * 100,
    b"1" * 4096,
]


def _framed(value: object) -> bytes:
    return frame(json.dumps(value).encode())


def _padded(size: int) -> bytes:
    """A request of that many bytes, all of it JSON."""
    return frame(b'{"padding":"' + b"x" * (size - 14) + b'"}')


def _tls_hello() -> bytes:
    outgoing = ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="it")
    with suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()
