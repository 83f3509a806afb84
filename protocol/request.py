"""What a reader may ask for, in one frame of JSON, before its data begins.

    {"start": "live"}                                        from the next frame on
    {"start": "oldest"}                                      from the oldest frame that is kept
    {"start": {"epoch_ns": 1795219200000000000, "seq": 1001}}   from that sequence number on
    {"start": {"time_ns": 1795219200000000000}}              from the first record of that time on
    {"channel": "binance-spot"}                              a channel; without it the first one
    {"slow": "disconnect", "token": "..."}                   each member may be left out

A reader that sends nothing asks for `live`, `skip`, the first channel and no token. The service
ignores unknown members, so that an older service serves a newer reader as far as it can.
"""

from enum import StrEnum
from typing import Annotated, Any, Final

import msgspec

from fanout.protocol.constants import MAX_SEQ, U64_MAX
from fanout.protocol.errors import LimitExceededError, MalformedError, NotRepresentableError
from fanout.protocol.text import channel_fault, fitting

MAX_REQUEST_BYTES: Final = 4096
"""Limit of a request. Protects the service from keeping what strangers send."""


class Start(StrEnum):
    """Where to begin, for a reader without a position of its own."""

    LIVE = "live"
    OLDEST = "oldest"


class SlowPolicy(StrEnum):
    """What the service does with a reader that falls off its log."""

    SKIP = "skip"
    """It gets a LOSS, and goes on at the oldest frame that is kept."""
    DISCONNECT = "disconnect"
    """It gets an END with its position, and the connection closes."""


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """A place in a stream: the epoch, and the sequence number that is due next."""

    epoch_ns: int
    seq: int


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """A place in a stream by time: the first record at or after `time_ns`, in unix ns."""

    time_ns: int


Begin = Start | Position | Moment
"""Where a reader begins."""


class Request(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a reader asks for."""

    start: Begin = Start.LIVE
    slow: SlowPolicy = SlowPolicy.SKIP
    token: str | None = None
    channel: str = ""
    """The channel's name; empty for the service's first channel."""

    def __repr__(self) -> str:
        """Without the token, which belongs into no log and no traceback."""
        token = "None" if self.token is None else "***"
        return (
            f"Request(start={self.start!r}, slow={self.slow!r}, token={token}, "
            f"channel={self.channel!r})"
        )

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """The same for rich, which would show the fields of a struct."""
        shown = msgspec.structs.asdict(self)
        if self.token is not None:
            shown["token"] = "***"
        return list(shown.items())


_Digits = Annotated[str, msgspec.Meta(pattern=r"\A(0|[1-9][0-9]*)\Z", max_length=20)]


class _SpeltPlace(msgspec.Struct):
    """A position or a moment as a peer may spell it: a language whose numbers are doubles writes
    strings."""

    epoch_ns: int | _Digits | None = None
    seq: int | _Digits | None = None
    time_ns: int | _Digits | None = None


class _SpeltRequest(msgspec.Struct):
    start: Start | _SpeltPlace = Start.LIVE
    slow: SlowPolicy = SlowPolicy.SKIP
    token: str | None = None
    channel: str = ""


_DECODER = msgspec.json.Decoder(_SpeltRequest)


def encode_request(request: Request) -> bytes:
    """A request's payload. Raises `NotRepresentableError`, also for a channel name that no channel
    can have."""
    fault = channel_fault(request.channel) if request.channel else None
    if fault:
        raise NotRepresentableError(fault)
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
    """The request in a payload. Raises `PeerError` for every other payload. The channel may be any
    text: whether there is such a channel is for the service to say."""
    if len(payload) > MAX_REQUEST_BYTES:
        raise LimitExceededError(f"request of {len(payload):,} bytes exceeds {MAX_REQUEST_BYTES:,}")
    try:
        spelt = _DECODER.decode(payload)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        # The message may quote the reader's own text, which may be as long as its request.
        raise MalformedError(f"not a request: {fitting(str(error), 120)}") from error
    start = _place(spelt.start) if isinstance(spelt.start, _SpeltPlace) else spelt.start
    request = Request(start=start, slow=spelt.slow, token=spelt.token, channel=spelt.channel)
    _check(request)
    return request


def _place(spelt: _SpeltPlace) -> Position | Moment:
    match (spelt.epoch_ns, spelt.seq, spelt.time_ns):
        case (None, None, int() | str() as time_ns):
            return Moment(time_ns=int(time_ns))
        case (int() | str() as epoch_ns, int() | str() as seq, None):
            return Position(epoch_ns=int(epoch_ns), seq=int(seq))
    raise MalformedError("not a request: start has epoch_ns and seq, or time_ns")


def _check(request: Request) -> None:
    at = request.start
    if isinstance(at, Position) and not (0 <= at.epoch_ns <= U64_MAX and 1 <= at.seq <= MAX_SEQ):
        what = "seq" if 0 <= at.epoch_ns <= U64_MAX else "epoch_ns"
        raise MalformedError(f"position: {what} is out of range")
    if isinstance(at, Moment) and not 0 <= at.time_ns <= U64_MAX:
        raise MalformedError("moment: time_ns is out of range")
