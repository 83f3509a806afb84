"""Subscribe and unsubscribe at OKX, as a pure function of a session and a message.

    {"op":"subscribe","args":[{"channel":"books","instId":"BTC-USDT"}]}

Each argument gets an answer of its own. `trades` begins with its newest message, and `books` with
the whole book. A second subscription is acknowledged as the first one was. Then `books` sends the
whole book again, and `trades` nothing (recorded in 2022).

An error has the code 64001 for a channel that is at `business` only, in words that name no channel,
60018 for any other channel or instrument that the route does not have, and 60012 for a message that
is no request (https://www.okx.com/docs-v5/en/#error-code-websocket).
"""

from typing import Any, Final

import msgspec

from fanout.simulator.dialects.base import Answer, Mood, Session

CONNECTION: Final = "a4d3ae55"
PING: Final = "ping"
PONG: Final = "pong"
ON_BUSINESS: Final = frozenset({"trades-all"})


class _Arg(msgspec.Struct):
    channel: str
    instId: str  # noqa: N815  the venue's name

    @property
    def name(self) -> str:
        return f"{self.channel}:{self.instId}"


class _Request(msgspec.Struct):
    op: str
    args: list[_Arg]


_decode = msgspec.json.Decoder(_Request).decode


def answer(session: Session, text: str, mood: Mood) -> Answer:
    if text == PING:
        return Answer((PONG,), session, is_pong=True)
    try:
        request = _decode(text)
    except (msgspec.DecodeError, RecursionError):
        return Answer((_error("60012", f"Invalid request: {text[:200]}"),), session)
    match request.op:
        case "subscribe":
            return _subscribe(session, request.args, mood)
        case "unsubscribe":
            return _unsubscribe(session, request.args)
    return Answer((_error("60012", f"Invalid request: {text[:200]}"),), session)


def _subscribe(session: Session, args: list[_Arg], mood: Mood) -> Answer:
    replies, names, refused = list[str](), list[str](), list[str]()
    for arg in args:
        is_wrong = mood.refused.get(arg.instId) == "topic"
        if is_wrong:
            refused.append(arg.instId)
        if is_wrong or not mood.has(arg.name):
            replies.append(_no_topic(arg))
            continue
        if _is_elsewhere(session, arg.channel):
            replies.append(_migrated() if arg.channel in ON_BUSINESS else _no_topic(arg))
            continue
        names.append(arg.name)
        replies.append(_event("subscribe", arg))
    streams = tuple(dict.fromkeys((*session.streams, *names)))
    return Answer(
        tuple(replies),
        msgspec.structs.replace(session, streams=streams),
        greeted=tuple(name for name in names if _is_greeted(session, name)),
        refused=tuple(dict.fromkeys(refused)),
    )


def _is_greeted(session: Session, name: str) -> bool:
    return name.startswith("books:") or (name.startswith("trades:") and name not in session.streams)


def _unsubscribe(session: Session, args: list[_Arg]) -> Answer:
    gone = {arg.name for arg in args}
    streams = tuple(name for name in session.streams if name not in gone)
    replies = tuple(_event("unsubscribe", arg) for arg in args)
    return Answer(replies, msgspec.structs.replace(session, streams=streams))


def _is_elsewhere(session: Session, channel: str) -> bool:
    return (channel in ON_BUSINESS) != (session.own == "business")


def _event(event: str, arg: _Arg) -> str:
    return _encode({"event": event, "arg": arg, "connId": CONNECTION})


def _no_topic(arg: _Arg) -> str:
    what = f"Wrong URL or channel:{arg.channel},instId:{arg.instId} doesn't exist"
    return _error("60018", f"{what}. Please use the correct URL, channel and parameters")


def _migrated() -> str:
    what = "This channel has been migrated to the '/business' URL"
    return _error("64001", f"{what}. Please subscribe using the new URL.")


def _error(code: str, message: str) -> str:
    return _encode({"event": "error", "msg": message, "code": code, "connId": CONNECTION})


def _encode(value: Any) -> str:
    return msgspec.json.encode(value).decode()
