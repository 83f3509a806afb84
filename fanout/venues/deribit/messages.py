"""JSON-RPC 2.0 as Deribit speaks it, over WebSocket and REST. Pure.

    -> {"jsonrpc":"2.0","id":1,"method":"public/subscribe","params":{"channels":[...]}}
    <- {"jsonrpc":"2.0","id":1,"result":[...],"usIn":...,"usOut":...,"usDiff":...}
    <- {"jsonrpc":"2.0","id":1,"error":{"code":13778,"message":"raw_subscriptions_..."}}
    <- {"jsonrpc":"2.0","method":"subscription","params":{"channel":"...","data":...}}

https://docs.deribit.com/articles/json-rpc-overview

Deribit writes prices and amounts as JSON numbers. They stay `msgspec.Raw` until `decimal_text`
reads their digits.
"""

from collections.abc import Callable
from typing import Annotated, Any, Final

import msgspec

from fanout.errors import shown
from fanout.protocol.constants import U64_MAX
from fanout.venues.numbers import BROKEN
from fanout.venues.times import MAX_TIME_MS

NO_VALUE: Final = msgspec.Raw(b"")
"""A field that is not there. `null` is."""

TOO_MANY_REQUESTS: Final = 10028
TIMED_OUT: Final = 13888
INVALID_CREDENTIALS: Final = 13004
UNAUTHORIZED: Final = 13009
RAW_NEEDS_ACCESS: Final = 13778
PASSING: Final = frozenset({10040, 10041, 10047, 10066, 11051, 11094, 13028, TIMED_OUT})
"""Codes of trouble that passes: retry, settlement, full queues, maintenance, internal error, no
answer in time. They are documented; that they pass is what nautechsystems/nautilus_trader notes."""
UNREADABLE: Final = frozenset({-32700, -32600, -32601})
"""Codes of JSON-RPC for a request that is too large, or that the venue cannot read at all."""

Natural = Annotated[int, msgspec.Meta(ge=0)]
Millis = Annotated[int, msgspec.Meta(ge=0, le=MAX_TIME_MS)]


class Error(msgspec.Struct, gc=False):
    """`data` is optional, and names the parameter and the reason."""

    code: int
    message: str
    data: Any = None

    def words(self, hide: Callable[[str], str] = str) -> str:
        """The error on one line. `hide` takes secrets out of the venue's text."""
        reason = self.data.get("reason") if isinstance(self.data, dict) else None
        more = f": {shown(hide(reason))}" if isinstance(reason, str) and reason else ""
        return f"{shown(hide(self.message))} ({self.code}){more}"


class Message(msgspec.Struct):
    """Any message: an answer to a request, or a notification."""

    id: int | None = None
    result: msgspec.Raw = NO_VALUE
    error: Error | None = None
    method: str = ""
    params: msgspec.Raw = NO_VALUE


class Refused(msgspec.Struct):
    """A REST answer, of which only the error is of interest."""

    error: Error | None = None


decode_message = msgspec.json.Decoder(Message).decode
_decode_refused = msgspec.json.Decoder(Refused).decode


def request(number: int, method: str, params: dict[str, Any]) -> str:
    """A request, as text."""
    message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
    return msgspec.json.encode(message).decode()


def error_of(body: bytes) -> Error | None:
    """The error in a REST answer; None if it has none, or is not Deribit's."""
    try:
        return _decode_refused(body).error
    except BROKEN:
        return None


def fits(*numbers: int) -> bool:
    """Whether natural numbers fit the fields of a record."""
    return max(numbers) <= U64_MAX
