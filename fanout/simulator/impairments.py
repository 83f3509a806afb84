"""What can befall one stream: small machines, a message in, those to be sent now out.

Each knows a single stream. What it keeps back it either holds, and sends later, or withholds for
ever, and says so. Nothing here waits: time passes by messages, or is read when one comes.
"""

import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import msgspec
import trio

from fanout.simulator.faults import (
    CountedFault,
    Delay,
    Garble,
    Repeat,
    Shuffle,
    Silence,
    Skip,
    StreamFault,
)
from fanout.simulator.ticks import Tick

Withhold = Callable[[Tick], None]


class Impairment(Protocol):
    """What befalls one stream."""

    def take(self, tick: Tick) -> Sequence[Tick]:
        """What is sent now that this message has come."""

    def release(self) -> Sequence[Tick]:
        """What was taken, and neither sent nor withheld: it is sent now."""

    def is_over(self) -> bool:
        """Whether messages pass as if there were none."""


def impairment_of(fault: StreamFault, withhold: Withhold, dice: random.Random) -> Impairment:
    match fault:
        case Silence():
            return _Silent(fault, withhold)
        case Skip():
            return _Skipped(_Turns(fault, dice), withhold)
        case Garble():
            return _Garbled(_Turns(fault, dice), withhold, _GARBLED[fault.how])
        case Repeat():
            return _Later(_Turns(fault, dice), fault.later, sent_first=True)
        case Delay():
            return _Later(_Turns(fault, dice), fault.by, sent_first=False)
        case Shuffle():
            return _Shuffled(_Turns(fault, dice), fault.window, dice)
    raise AssertionError(f"{fault} befalls no stream")


class _Turns:
    """Whose turn it is: the next `count` messages; or so many in a row, whenever the dice say."""

    def __init__(self, fault: CountedFault, dice: random.Random) -> None:
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
    """A message that cannot be read tells nothing: it counts as withheld. One that another fault
    has garbled before, beyond what this one could read, stays as it is."""

    def __init__(self, turns: _Turns, withhold: Withhold, garble: Callable[[Tick], bytes]) -> None:
        self._turns, self._withhold, self._garble = turns, withhold, garble

    def take(self, tick: Tick) -> Sequence[Tick]:
        if not self._turns.next():
            return (tick,)
        self._withhold(tick)
        try:
            payload = self._garble(tick)
        except (ValueError, msgspec.DecodeError):
            return (tick,)
        return (msgspec.structs.replace(tick, payload=payload),)

    def release(self) -> Sequence[Tick]:
        return ()

    def is_over(self) -> bool:
        return self._turns.is_over()


class _Later:
    """Messages, or copies of them, wait until so many others of their stream have been sent."""

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
        while order == sorted(order):  # the window is two or more: there is another order
            self._dice.shuffle(order)
        return [window[number] for number in order]

    def release(self) -> Sequence[Tick]:
        waiting, self._waiting = self._waiting, []
        return waiting

    def is_over(self) -> bool:
        return self._turns.is_over() and not self._waiting


def _cut(tick: Tick) -> bytes:
    text = tick.payload.decode()  # the frame is to be in order, and so no character is cut
    return text[: len(text) // 2].encode()


def _with_no_price(tick: Tick) -> bytes:
    return msgspec.json.encode(_fields(tick) | {"p": "not a price"})


def _with_other_types(tick: Tick) -> bytes:
    said = _fields(tick)
    number = "t" if "t" in said else "a"
    changes = {number: str(said[number]), "p": float(said["p"]), "q": float(said["q"])}
    return msgspec.json.encode(said | changes)


def _fields(tick: Tick) -> dict[str, Any]:
    return msgspec.json.decode(tick.payload, type=dict[str, Any])


_GARBLED: Final = {"cut": _cut, "price": _with_no_price, "types": _with_other_types}
