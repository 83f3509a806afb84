"""Requests on Bybit's public connections, as a pure function of a session and a message.

    {"req_id":"1","op":"subscribe","args":["publicTrade.BTCUSDT"]}
    {"success":true,"ret_msg":"","conn_id":"...","req_id":"1","op":"subscribe"}

A bad topic fails the whole request. What becomes of its good topics is not documented: here an
unknown topic takes them with it, and a fault's refusal does not, so that a client meets both. A
topic that is subscribed already fails the request too (https://github.com/ccxt/ccxt/issues/30284).
"""

from typing import Any, Final

import msgspec

from fanout.simulator.dialects.base import Answer, Mood, Session

CONNECTION: Final = "cejreaspqfm9se7usbrg-2xh"
MAX_CHARACTERS: Final = 21_000
"""Of all topics of a connection."""


class _Request(msgspec.Struct):
    op: str
    req_id: str = ""
    args: list[str] = []


_decode = msgspec.json.Decoder(_Request).decode


def answer(session: Session, text: str, mood: Mood) -> Answer:
    try:
        request = _decode(text)
    except (msgspec.DecodeError, RecursionError):
        return _failed(session, _Request(op=""), "error:request not valid json")
    match request.op:
        case "ping":
            return Answer((_reply(request, ret_msg="pong"),), session, is_pong=True)
        case "subscribe":
            return _subscribe(session, request, mood)
        case "unsubscribe":
            gone = set(request.args)
            streams = tuple(name for name in session.streams if name not in gone)
            return Answer((_reply(request),), msgspec.structs.replace(session, streams=streams))
    return _failed(session, request, f"error:unknown op,op:{request.op[:80]}")


def _subscribe(session: Session, request: _Request, mood: Mood) -> Answer:
    for name in request.args:
        if not mood.has(name):
            return _failed(session, request, f"error:handler not found,topic:{name}")
        if name in session.streams:
            return _failed(session, request, f"error:already subscribed,topic:{name}")
    if sum(map(len, (*session.streams, *request.args))) > MAX_CHARACTERS:
        return _failed(session, request, "error:args size too large")
    bad = {name for name in request.args if mood.refused.get(_symbol(name)) == "request"}
    good = tuple(name for name in request.args if name not in bad)
    session = msgspec.structs.replace(session, streams=(*session.streams, *good))
    if not bad:
        return Answer((_reply(request),), session, greeted=good)
    symbols = tuple(sorted({_symbol(name) for name in bad}))
    message = f"Invalid symbol :[{symbols[0]}]"
    reply = _reply(request, success=False, ret_msg=message)
    return Answer((reply,), session, greeted=good, refused=symbols)


def _symbol(name: str) -> str:
    return name.rpartition(".")[2]


def _failed(session: Session, request: _Request, message: str) -> Answer:
    return Answer((_reply(request, success=False, ret_msg=message),), session)


def _reply(request: _Request, *, success: bool = True, ret_msg: str = "") -> str:
    reply: dict[str, Any] = {
        "success": success,
        "ret_msg": ret_msg,
        "conn_id": CONNECTION,
        "req_id": request.req_id,
        "op": request.op,
    }
    return msgspec.json.encode(reply).decode()
