"""A dialect with everything that Binance lacks: a welcome, several replies, greetings, numbers of
each connection's messages, messages on a clock, and every fault that needs the dialect's part.

A request is words: `sub NAME...`, `ping`, `login`, `refresh`, `beat SECONDS`, `sums`, `bye`, and
`hush`, which gets no answer. A message of a stream begins with its number and the stream's name.
"""

from typing import Final

import msgspec

from fanout.simulator.dialects.base import (
    CALM,
    Ability,
    Answer,
    Close,
    Market,
    Mood,
    Pulse,
    Session,
)
from fanout.simulator.dialects.binance_spot import BinanceSpot
from fanout.simulator.faults import AuthFault

REFUSED: Final = Close(4001, "refused")


class Own(msgspec.Struct, frozen=True):
    has_access: bool = False
    has_sums: bool = False
    beat_s: float | None = None


class Toy(BinanceSpot):
    name = "toy"
    title = "The toy"
    is_personal = True
    limits = msgspec.structs.replace(
        BinanceSpot.limits, messages_per_second=100, first_request_s=5.0, request_s=60.0
    )
    abilities: frozenset[Ability] = frozenset(
        {
            "lose",
            "resnapshot",
            "refuse topic",
            "refuse request",
            "refuse missing",
            "mute",
            "maintain",
            "auth",
            "checksum",
        }
    )

    def welcome(self, session: Session) -> Answer:
        return Answer(("hello",), msgspec.structs.replace(session, own=Own()))

    def answer(self, session: Session, text: str, now_ms: int, mood: Mood = CALM) -> Answer:
        own = _own(session)
        match text.split():
            case ["ping"]:
                return Answer(("pong",), session, is_pong=True)
            case ["sub", *names]:
                return _subscribed(session, names, mood)
            case ["beat", seconds]:
                return _with(session, msgspec.structs.replace(own, beat_s=float(seconds)))
            case ["sums"]:
                return _with(session, msgspec.structs.replace(own, has_sums=True))
            case ["login" | "refresh" as how]:
                refused = {"login": ("reject", "revoke"), "refresh": ("expire", "revoke")}[how]
                if mood.auth in refused:
                    return Answer((f"no {how}",), session)
                return _with(session, msgspec.structs.replace(own, has_access=True), how)
            case ["bye"]:
                return Answer(("bye", "bye"), session, REFUSED)
        return Answer((), session)

    def greeting(self, name: str, stream: str, market: Market, session: Session) -> list[bytes]:
        if stream.endswith("@trade"):
            newest = market.newest(stream.partition("@")[0], 2)
            return [b"past %d" % trade.trade_id for trade in newest]
        whole = market.whole(stream)
        if whole is None:
            return [b"no book"]
        return [msgspec.json.encode({"u": whole.last_id, "b": whole.bids, "a": whole.asks})]

    def pulses(self, session: Session) -> tuple[Pulse, ...]:
        beat_s = _own(session).beat_s
        steady = Pulse("steady", 10.0)
        return (steady,) if beat_s is None else (steady, Pulse("beat", beat_s, answer_s=3.0))

    def pulse(self, name: str, session: Session, market: Market, now_ms: int) -> list[bytes]:
        return [name.encode()]

    def personal(
        self, message: bytes, name: str | None, session: Session, count: int
    ) -> tuple[bytes, int]:
        if name is None:
            return message, count
        return b"%d %b %b" % (count + 1, name.encode(), message), count + 1

    def maintenance(self, begins: bool, now_ms: int, session: Session) -> list[bytes]:
        return [b"closed" if begins else b"open"]

    def deprived(self, session: Session, how: AuthFault, now_ms: int) -> Answer | None:
        own = _own(session)
        if not own.has_access:
            return None
        without = _with(
            session, msgspec.structs.replace(own, has_access=False), f"no access: {how}"
        )
        close = REFUSED if how == "revoke" else None
        return msgspec.structs.replace(without, close=close)

    def wrong_checksum(
        self, name: str, stream: str, market: Market, session: Session
    ) -> list[bytes]:
        return [b"sum 0"] if _own(session).has_sums else []


def _own(session: Session) -> Own:
    return session.own if isinstance(session.own, Own) else Own()


def _with(session: Session, own: Own, *replies: str) -> Answer:
    return Answer(replies, msgspec.structs.replace(session, own=own))


def _subscribed(session: Session, names: list[str], mood: Mood) -> Answer:
    how = {name: mood.refused.get(name.partition("@")[0].upper()) for name in names}
    refused = tuple({name.partition("@")[0].upper() for name in names if how[name]})
    if "request" in how.values():
        return Answer(("no request",), session, refused=refused)
    good = [name for name in names if how[name] is None]
    replies = [f"no {name}" for name in names if how[name] == "topic"]
    replies += [f"ok {name}" for name in good]
    streams = tuple(dict.fromkeys((*session.streams, *good)))
    session = msgspec.structs.replace(session, streams=streams)
    return Answer(tuple(replies), session, greeted=tuple(good), refused=refused)
