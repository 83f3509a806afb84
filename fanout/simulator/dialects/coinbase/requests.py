"""Live requests: subscribe and unsubscribe, as a pure function of a session and a message.

The streams of a session are `channel:product`, of Advanced Trade's heartbeats the channel alone. A
request with one bad product fails whole. Texts of errors that users of the exchange have shown are
theirs; a comment marks our own.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from fanout.simulator.dialects.base import Answer, Mood, Session

SUBSCRIBE: Final = "subscribe"
KINDS: Final = (SUBSCRIBE, "unsubscribe")


class RefusedError(Exception):
    """A request that is answered with an error. It never leaves the dialect."""

    def __init__(self, reason: str, refused: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.refused = refused


Asked = tuple[str, Sequence[str]]
"""A channel and its products."""

Parse = Callable[[dict[str, Any]], Sequence[Asked]]
"""What a venue's request asks for. Raises `RefusedError`."""


def answer(
    session: Session,
    text: str,
    mood: Mood,
    trades: str,
    parse: Parse,
    listed: Callable[[Sequence[str]], str],
    error: Callable[[str], str],
) -> Answer:
    """`trades` is the channel that every product has. `listed` makes the venue's answer to a good
    request, from all streams of the session, and `error` the one to a bad request."""
    try:
        request = _object(text)
        names = [name_of(*each) for each in _each(parse(request))]
        if request["type"] == SUBSCRIBE:
            _refuse_bad(names, trades, mood)
    except RefusedError as refusal:
        return Answer((error(str(refusal)),), session, refused=refusal.refused)
    if request["type"] == SUBSCRIBE:
        streams = tuple(dict.fromkeys((*session.streams, *names)))
    else:
        gone = _gone(names, session)
        streams = tuple(each for each in session.streams if each not in gone)
    new = tuple(name for name in streams if name not in session.streams)
    session = msgspec.structs.replace(session, streams=streams)
    return Answer((listed(streams),), session, greeted=new)


def name_of(channel: str, product: str) -> str:
    return f"{channel}:{product}" if product else channel


def products_of(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
        raise RefusedError("product_ids must be a list of products")  # our words
    return [each.upper() for each in value]


def by_channel(streams: Iterable[str]) -> dict[str, list[str]]:
    """The products of each channel, in the order in which they were asked for."""
    found: dict[str, list[str]] = {}
    for name in streams:
        channel, _, product = name.partition(":")
        found.setdefault(channel, []).append(product)
    return found


def _object(text: str) -> dict[str, Any]:
    try:
        request = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise RefusedError("Malformed JSON") from error
    if not isinstance(request, dict) or request.get("type") not in KINDS:
        raise RefusedError("Type has to be either subscribe or unsubscribe")
    return request


def _each(asked: Sequence[Asked]) -> Iterable[tuple[str, str]]:
    return ((channel, product) for channel, products in asked for product in products or ("",))


def _gone(names: Sequence[str], session: Session) -> set[str]:
    """The streams to leave. A channel alone means all of its products."""
    whole = {name for name in names if ":" not in name}
    return {each for each in session.streams if each in names or each.partition(":")[0] in whole}


def _refuse_bad(names: Sequence[str], trades: str, mood: Mood) -> None:
    for product in filter(None, dict.fromkeys(name.partition(":")[2] for name in names)):
        refused = (product,) if product in mood.refused else ()
        if refused or not mood.has(name_of(trades, product)):
            raise RefusedError(f"{product} is not a valid product", refused)
