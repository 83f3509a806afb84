"""Faults of one stream: an impairment takes a message, and returns the messages to send now.

Each impairment belongs to a single stream. It may hold a message and send it later, or withhold it
for good and report that. No impairment waits: it counts messages, or reads the clock when a message
comes.

Nothing here parses a venue's messages. `garbled` changes the encoded bytes, in which it finds the
price, the quantity and the id as the market spelled them.
"""

import random
import re
from collections import deque
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Protocol

import msgspec
import trio

from fanout.simulator.faults import (
    CountedFault,
    Cross,
    Delay,
    Garble,
    Repeat,
    Shuffle,
    Silence,
    Skip,
    StreamFault,
)
from fanout.simulator.market.ticks import Tick, Trade

_NUMBER = re.compile(rb"[0-9]+(?:\.[0-9]+)?")
_BARE = re.compile(rb"(?<=[:,\[ ])-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?(?=[,}\] ])")
"""Numbers of JSON that are no part of a text."""
_RECORDED_LEVEL = re.compile(rb'"([0-9.]+)"\s*,\s*(?:"B"\s*:\s*)?"([0-9.]+)"')
_RECORDED_ID = re.compile(rb'"u"\s*:\s*([0-9]+)')

Withhold = Callable[[Tick], None]


class Impairment(Protocol):
    """A fault of one stream."""

    def take(self, tick: Tick) -> Sequence[Tick]:
        """The messages to send now that this one has come."""

    def release(self) -> Sequence[Tick]:
        """The messages that it still holds, to be sent now."""

    def is_over(self) -> bool:
        """Whether it has ended: every message passes unchanged."""


def impairment_of(fault: StreamFault, withhold: Withhold, dice: random.Random) -> Impairment:
    match fault:
        case Silence():
            return _Silent(fault, withhold)
        case Skip():
            return _Skipped(_Turns(fault, dice), withhold)
        case Garble():
            return _Garbled(_Turns(fault, dice), withhold, fault.how)
        case Repeat():
            return _Later(_Turns(fault, dice), fault.later, sent_first=True)
        case Delay():
            return _Later(_Turns(fault, dice), fault.by, sent_first=False)
        case Cross():
            return _Crossed(_Turns(fault, dice))
        case Shuffle():
            return _Shuffled(_Turns(fault, dice), fault.window, dice)
    raise AssertionError(f"{fault} is no fault of a stream")


class _Turns:
    """Selects messages: the next `count`; or, with a chance, so many in a row at random times."""

    def __init__(self, fault: CountedFault | Cross, dice: random.Random) -> None:
        self._count, self._chance, self._dice = fault.count, fault.chance, dice
        self._left = fault.count if fault.chance is None else 0

    def next(self) -> bool:
        if not self._left and self._chance is not None and self._dice.random() < self._chance:
            self._left = self._count
        if not self._left:
            return False
        self._left -= 1
        return True

    def is_over(self) -> bool:
        return self._chance is None and not self._left


class _Silent:
    def __init__(self, fault: Silence, withhold: Withhold) -> None:
        self._withhold = withhold
        self._until_s = None if fault.for_s is None else trio.current_time() + fault.for_s

    def take(self, tick: Tick) -> Sequence[Tick]:
        if self.is_over():
            return (tick,)
        self._withhold(tick)
        return ()

    def release(self) -> Sequence[Tick]:
        return ()

    def is_over(self) -> bool:
        return self._until_s is not None and trio.current_time() >= self._until_s


class _Skipped:
    def __init__(self, turns: _Turns, withhold: Withhold) -> None:
        self._turns, self._withhold = turns, withhold

    def take(self, tick: Tick) -> Sequence[Tick]:
        if not self._turns.next():
            return (tick,)
        self._withhold(tick)
        return ()

    def release(self) -> Sequence[Tick]:
        return ()

    def is_over(self) -> bool:
        return self._turns.is_over()


class _Garbled:
    """A message that cannot be read counts as withheld."""

    def __init__(self, turns: _Turns, withhold: Withhold, how: str) -> None:
        self._turns, self._withhold, self._how = turns, withhold, how

    def take(self, tick: Tick) -> Sequence[Tick]:
        if not self._turns.next():
            return (tick,)
        self._withhold(tick)
        return (msgspec.structs.replace(tick, garbled=(*tick.garbled, self._how)),)

    def release(self) -> Sequence[Tick]:
        return ()

    def is_over(self) -> bool:
        return self._turns.is_over()


class _Crossed:
    """Only a synthetic update can be crossed, and only while there are asks."""

    def __init__(self, turns: _Turns) -> None:
        self._turns = turns

    def take(self, tick: Tick) -> Sequence[Tick]:
        depth = tick.depth
        if depth is None or depth.crossing is None or not self._turns.next():
            return (tick,)
        # The update itself may remove a bid at that price.
        others = (each for each in depth.bids if each[0] != depth.crossing[0])
        crossed = msgspec.structs.replace(depth, bids=[depth.crossing, *others])
        return (msgspec.structs.replace(tick, depth=crossed),)

    def release(self) -> Sequence[Tick]:
        return ()

    def is_over(self) -> bool:
        return self._turns.is_over()


class _Later:
    """Messages, or copies of them, wait until `messages` others of their stream have been sent."""

    def __init__(self, turns: _Turns, messages: int, *, sent_first: bool) -> None:
        self._turns, self._messages, self._sent_first = turns, messages, sent_first
        self._waiting: deque[tuple[int, Tick]] = deque()
        self._taken = 0

    def take(self, tick: Tick) -> Sequence[Tick]:
        self._taken += 1
        is_hit = self._turns.next()
        sent = [tick] if self._sent_first or not is_hit else []
        if is_hit:
            self._waiting.append((self._taken + self._messages, tick))
        while self._waiting and self._waiting[0][0] <= self._taken:
            sent.append(self._waiting.popleft()[1])
        return sent

    def release(self) -> Sequence[Tick]:
        waiting, self._waiting = self._waiting, deque()
        return [tick for _, tick in waiting]

    def is_over(self) -> bool:
        return self._turns.is_over() and not self._waiting


class _Shuffled:
    def __init__(self, turns: _Turns, window: int, dice: random.Random) -> None:
        self._turns, self._window, self._dice = turns, window, dice
        self._waiting: list[Tick] = []

    def take(self, tick: Tick) -> Sequence[Tick]:
        if not self._waiting and not self._turns.next():
            return (tick,)
        self._waiting.append(tick)
        if len(self._waiting) < self._window:
            return ()
        window = self.release()
        order = list(range(self._window))
        while order == sorted(order):  # the window has two or more, so there is another order
            self._dice.shuffle(order)
        return [window[number] for number in order]

    def release(self) -> Sequence[Tick]:
        waiting, self._waiting = self._waiting, []
        return waiting

    def is_over(self) -> bool:
        return self._turns.is_over() and not self._waiting


def garbled(tick: Tick, payload: bytes) -> bytes:
    """The payload after its faults. A fault that no longer finds its field, since an earlier one
    changed it, changes nothing."""
    for how in dict.fromkeys(tick.garbled):
        match how:
            case "cut":
                payload = _cut(payload)
            case "price":
                payload = _with_no_price(tick, payload)
            case "negative":
                payload = _with_negative_quantity(tick, payload)
            case "types":
                payload = _with_other_types(tick, payload)
    return payload


def _cut(payload: bytes) -> bytes:
    text = payload.decode()  # WebSocket text must stay UTF-8, so no character is cut
    return text[: len(text) // 2].encode()


def _with_no_price(tick: Tick, payload: bytes) -> bytes:
    price, _, _ = _values(tick)
    return _replaced(payload, price, lambda found: b'"not a price"')


def _with_negative_quantity(tick: Tick, payload: bytes) -> bytes:
    _, quantity, _ = _values(tick)
    return _replaced(payload, quantity, _negative)


def _with_other_types(tick: Tick, payload: bytes) -> bytes:
    """Text becomes a number, and a number text: the id, the price and the quantity."""
    for number in _values(tick):
        payload = _replaced(payload, number, _of_other_type)
    return payload


def _replaced(payload: bytes, number: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """The payload with the first text of a number changed. Without such a text it is the first
    JSON number of the same value, which a venue may spell differently, and with a sign."""
    if not _NUMBER.fullmatch(number):
        return payload
    text, value = b'"%b"' % number, Decimal(number.decode())
    if text in payload:
        return payload.replace(text, change(text), 1)
    for match in _BARE.finditer(payload):
        if abs(Decimal(match[0].decode())) == value:
            return payload[: match.start()] + change(match[0]) + payload[match.end() :]
    return payload


def _negative(found: bytes) -> bytes:
    if found.startswith(b'"'):
        return b'"-' + found[1:]
    return found.removeprefix(b"-") if found.startswith(b"-") else b"-" + found


def _of_other_type(found: bytes) -> bytes:
    return found.strip(b'"') if found.startswith(b'"') else b'"%b"' % found


def _values(tick: Tick) -> tuple[bytes, bytes, bytes]:
    """Price, quantity and id, as the market spells them. In a book's message, of one level."""
    row = tick.trade or tick.aggregate
    if row is None:
        return _values_of_book(tick)
    row_id = row.trade_id if isinstance(row, Trade) else row.aggregate_id
    return row.price.encode(), row.quantity.encode(), str(row_id).encode()


def _values_of_book(tick: Tick) -> tuple[bytes, bytes, bytes]:
    if tick.depth is not None:
        (price, quantity), *_ = tick.depth.bids or tick.depth.asks
        return price.encode(), quantity.encode(), str(tick.depth.last_id).encode()
    if tick.quote is not None:
        price, quantity = tick.quote.bid
        return price.encode(), quantity.encode(), str(tick.quote.update_id).encode()
    assert tick.recorded is not None, "a tick has a message"
    found = _RECORDED_LEVEL.search(tick.recorded), _RECORDED_ID.search(tick.recorded)
    level, update_id = found
    if level is None or update_id is None:
        return b"-", b"-", b"-"  # in no payload, so nothing changes
    return level[1], level[2], update_id[1]
