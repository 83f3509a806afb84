"""What a reader may ask for, in one frame of JSON, before its data begins.

    {"start": "live"}                                        from the next frame on
    {"start": "oldest"}                                      from the oldest frame that is kept
    {"start": {"epoch_ns": 1795219200000000000, "seq": 1001}}   from that sequence number on
    {"slow": "disconnect", "token": "..."}                   each member may be left out
    {"channel": "binance"}                                   the service's first one without it

Who sends nothing has asked for `live`, `skip` and no token. Members that are not known are
ignored: an older service serves a newer reader as far as it can.
"""

from enum import StrEnum
from typing import Annotated, Final

import msgspec

from fanout.protocol.constants import MAX_SEQ, U64_MAX
from fanout.protocol.errors import LimitExceededError, MalformedError, NotRepresentableError
from fanout.protocol.text import fitting

MAX_REQUEST_BYTES: Final = 4096
"""Limit of a request. Protects the service from keeping what strangers send."""


class Start(StrEnum):
    """Where to begin, for who has no position of its own."""

    LIVE = "live"
    OLDEST = "oldest"


class SlowPolicy(StrEnum):
    """What becomes of a reader that was slower than the service's log is long."""

    SKIP = "skip"
    """It is told what it lost, and carries on."""
    DISCONNECT = "disconnect"
    """It is told where it stood, and the connection ends."""


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """A place in a stream: the epoch, and the sequence number that is due next."""

    epoch_ns: int
    seq: int


class Request(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a reader asks for."""

    start: Start | Position = Start.LIVE
    slow: SlowPolicy = SlowPolicy.SKIP
    token: str | None = None
    channel: str = ""

    def __repr__(self) -> str:
        """Without the token, which belongs into no log and no traceback."""
        told = "None" if self.token is None else "***"
        asked = f", channel={self.channel!r}" if self.channel else ""
        return f"Request(start={self.start!r}, slow={self.slow!r}, token={told}{asked})"


_Digits = Annotated[str, msgspec.Meta(pattern=r"\A(0|[1-9][0-9]*)\Z", max_length=20)]


class _SaidPosition(msgspec.Struct):
    """A position as a peer may spell it: a language whose numbers are doubles writes strings."""

    epoch_ns: int | _Digits
    seq: int | _Digits


class _SaidRequest(msgspec.Struct):
    start: Start | _SaidPosition = Start.LIVE
    slow: SlowPolicy = SlowPolicy.SKIP
    token: str | None = None
    channel: str = ""


_DECODER = msgspec.json.Decoder(_SaidRequest)


def encode_request(request: Request) -> bytes:
    """A request's payload. Raises `NotRepresentableError`."""
    try:
        _check(request)
        payload = msgspec.json.encode(request)
    except MalformedError as error:
        raise NotRepresentableError(str(error)) from error
    except UnicodeError as error:
        raise NotRepresentableError("a token that JSON cannot say") from error
    if len(payload) > MAX_REQUEST_BYTES:
        raise NotRepresentableError(
            f"request of {len(payload):,} bytes exceeds {MAX_REQUEST_BYTES:,}"
        )
    return payload


def decode_request(payload: bytes) -> Request:
    """The request in a payload. Raises `PeerError` for every other payload."""
    if len(payload) > MAX_REQUEST_BYTES:
        raise LimitExceededError(f"request of {len(payload):,} bytes exceeds {MAX_REQUEST_BYTES:,}")
    try:
        said = _DECODER.decode(payload)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        # The words may be the reader's own, and as long as what it sent.
        raise MalformedError(f"not a request: {fitting(str(error), 120)}") from error
    start = _meant(said.start) if isinstance(said.start, _SaidPosition) else said.start
    request = Request(start=start, slow=said.slow, token=said.token, channel=said.channel)
    _check(request)
    return request


def _meant(said: _SaidPosition) -> Position:
    return Position(epoch_ns=int(said.epoch_ns), seq=int(said.seq))


def _check(request: Request) -> None:
    at = request.start
    if isinstance(at, Position) and not (0 <= at.epoch_ns <= U64_MAX and 1 <= at.seq <= MAX_SEQ):
        what = "seq" if 0 <= at.epoch_ns <= U64_MAX else "epoch_ns"
        raise MalformedError(f"position: {what} is out of range")
