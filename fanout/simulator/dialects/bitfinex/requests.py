"""Events: requests and their answers, and what the venue says of itself.

The words of errors are those of the documents where these have them, or the recorded ones. Codes
beyond 10000, 10001, 10300 and 10301 are uncertain.
"""

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from fanout.simulator.dialects.base import Answer, Mood, Session
from fanout.simulator.dialects.bitfinex.channels import Own, own_of, session_of
from fanout.simulator.dialects.bitfinex.frames import BOOK, RAW, TRADES

MAX_CHANNELS: Final = 25
SERVER_ID: Final = "083bd8d4-aca7-4690-a573-eabfc8103de8"

UNKNOWN_EVENT: Final = 10000
SUBSCRIPTION_FAILED: Final = 10300
SUBSCRIBED_ALREADY: Final = 10301
UNKNOWN_CHANNEL: Final = 10302
TOO_MANY_CHANNELS: Final = 10305
NOT_SUBSCRIBED: Final = 10401

RESTART: Final = 20051
MAINTENANCE: Final = 20060
MAINTENANCE_ENDED: Final = 20061

_SYMBOL: Final = re.compile(r"t[A-Z0-9]+(?::[A-Z0-9]+)?")
_PRECISIONS: Final = {"P0": BOOK, "R0": RAW}
_LENGTHS: Final = ("1", "25", "100", "250")
_ECHOED: Final = ("channel", "symbol", "pair", "prec", "freq", "len", "subId")

Request = dict[str, Any]


class _RefusedError(Exception):
    """A request that is answered with an error. It never leaves this file."""

    def __init__(self, code: int, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.event = {"event": "error", "msg": message, "code": code, **fields}


def welcome(session: Session) -> Answer:
    info = {"event": "info", "version": 2, "serverId": SERVER_ID, "platform": {"status": 1}}
    return Answer((_encode(info),), session)


def answer(session: Session, text: str, now_ms: int, mood: Mood) -> Answer:
    try:
        request = _parse(text)
        handler = _HANDLERS.get(str(request.get("event")))
        if handler is None:
            raise _RefusedError(UNKNOWN_EVENT, "event: invalid")
        return handler(own_of(session), request, now_ms, mood)
    except _RefusedError as refused:
        return Answer((_encode(refused.event),), session)


def restart() -> bytes:
    return _info(RESTART, "Stop/Restart Websocket Server (please reconnect)")


def maintenance(begins: bool) -> bytes:
    if not begins:
        return _info(MAINTENANCE_ENDED, "Maintenance ended. You can resume normal activity.")
    return _info(MAINTENANCE, "Entering in Maintenance mode. Please pause any activity.")


def _ping(own: Own, request: Request, now_ms: int, mood: Mood) -> Answer:
    cid = {"cid": request["cid"]} if "cid" in request else {}
    reply = _encode({"event": "pong", "ts": now_ms, **cid})
    return Answer((reply,), session_of(own), is_pong=True)


def _conf(own: Own, request: Request, now_ms: int, mood: Mood) -> Answer:
    flags = request.get("flags", 0)
    if type(flags) is not int or flags < 0:
        raise _RefusedError(UNKNOWN_EVENT, "flags: invalid")
    reply = _encode({"event": "conf", "status": "OK", "flags": flags})
    return Answer((reply,), session_of(own.with_flags(flags)))


def _subscribe(own: Own, request: Request, now_ms: int, mood: Mood) -> Answer:
    fields = _fields(request)
    symbol = fields["symbol"]
    if symbol in mood.refused:
        refusal = _RefusedError(SUBSCRIPTION_FAILED, "symbol: invalid", **fields)
        return Answer((_encode(refusal.event),), session_of(own), refused=(symbol,))
    name = f"{_PRECISIONS.get(fields.get('prec', ''), TRADES)}:{symbol}"
    if own.number_of(name) is not None:
        raise _RefusedError(SUBSCRIBED_ALREADY, "subscribe: dup", **fields)
    if len(own.channels) == MAX_CHANNELS:
        raise _RefusedError(TOO_MANY_CHANNELS, "limit of open channels: reached", **fields)
    own = own.with_channel(name)
    reply = {"event": "subscribed", "chanId": own.number_of(name), **fields}
    return Answer((_encode(reply),), session_of(own), greeted=(name,))


def _fields(request: Request) -> Request:
    """What the answer repeats, with the defaults that the request leaves out."""
    fields: Request = {name: request[name] for name in _ECHOED if name in request}
    channel, symbol = fields.get("channel"), fields.get("symbol")
    if channel not in (TRADES, BOOK):
        raise _RefusedError(UNKNOWN_CHANNEL, "channel: unknown", **fields)
    if not isinstance(symbol, str) or not _SYMBOL.fullmatch(symbol):
        raise _RefusedError(SUBSCRIPTION_FAILED, "symbol: invalid", **fields)
    fields["pair"] = symbol[1:]
    if channel == TRADES:
        return {
            name: value for name, value in fields.items() if name not in ("prec", "freq", "len")
        }
    defaults: Request = {"prec": "P0", "freq": "F0", "len": "25", **fields}
    known = {"prec": _PRECISIONS, "freq": ("F0",), "len": _LENGTHS}
    for name, values in known.items():
        if str(defaults[name]) not in values:
            raise _RefusedError(SUBSCRIPTION_FAILED, f"{name}: invalid", **fields)
    return defaults


def _unsubscribe(own: Own, request: Request, now_ms: int, mood: Mood) -> Answer:
    number = request.get("chanId")
    if number not in [each.number for each in own.channels]:
        raise _RefusedError(NOT_SUBSCRIBED, "unsubscribe: invalid", chanId=number)
    reply = _encode({"event": "unsubscribed", "status": "OK", "chanId": number})
    return Answer((reply,), session_of(own.without_channel(number)))


_HANDLERS: Final[dict[str, Callable[[Own, Request, int, Mood], Answer]]] = {
    "ping": _ping,
    "conf": _conf,
    "subscribe": _subscribe,
    "unsubscribe": _unsubscribe,
}


def _parse(text: str) -> Request:
    try:
        request = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _RefusedError(UNKNOWN_EVENT, "invalid JSON") from error
    if not isinstance(request, dict):
        raise _RefusedError(UNKNOWN_EVENT, "event: invalid")
    return request


def _info(code: int, message: str) -> bytes:
    return msgspec.json.encode({"event": "info", "code": code, "msg": message})


def _encode(value: Any) -> str:
    return msgspec.json.encode(value).decode()
