"""The faults of answers. They wait here for requests, and for clients that are about to be told.

The dialect refuses what `mood` has it refuse, since only it knows how. What is not answered at all
is settled here, for every dialect.
"""

from collections.abc import Callable, Sequence
from math import inf

import msgspec
import trio

from fanout.errors import UsageError
from fanout.simulator.dialects.base import CALM, Answer, Mood, Session
from fanout.simulator.faults import (
    MAX_STANDING,
    Auth,
    Fault,
    Ignore,
    Maintain,
    Mute,
    Refusal,
    Refuse,
)


class AnswerFaults:
    def __init__(self) -> None:
        self._waiting: dict[str, list[_Waiting]] = {}  # by symbol, oldest first
        self._lasting: list[_Lasting] = []
        self._changed = trio.Event()

    def begin(self, fault: Refuse | Ignore, symbols: Sequence[str]) -> None:
        """Each symbol has a count of its own. Raises `UsageError` if a symbol has `MAX_STANDING`
        faults already."""
        for symbol in symbols:
            if len(self._waiting.get(symbol, ())) == MAX_STANDING:
                raise UsageError(f"{MAX_STANDING:,} faults of {symbol} stand already: clear them")
        for symbol in symbols:
            self._waiting.setdefault(symbol, []).append(_Waiting(fault, fault.count))

    def begin_lasting(self, fault: Mute | Auth | Maintain) -> None:
        """The fault ends by the clock. Raises `UsageError` if `MAX_STANDING` stand already."""
        if len(self._left()) == MAX_STANDING:
            raise UsageError(f"{MAX_STANDING:,} faults of answers stand already: clear them")
        until_s = None if fault.for_s is None else trio.current_time() + fault.for_s
        self._lasting.append(_Lasting(fault, until_s))
        self._wake()

    def clear(self) -> None:
        self._waiting.clear()
        self._lasting.clear()
        self._wake()

    def standing(self) -> list[Fault]:
        found: list[Fault] = [each.fault for faults in self._waiting.values() for each in faults]
        found += [each.fault for each in self._left()]
        return list(dict.fromkeys(found))

    def mood(self) -> Mood:
        """What the dialect has to know for its next answer."""
        if not self._waiting and not self._lasting:
            return CALM
        refused: dict[str, Refusal] = {}
        for symbol, faults in self._waiting.items():
            for each in faults:
                if isinstance(each.fault, Refuse):
                    refused.setdefault(symbol, each.fault.how)
        auth = [each.fault.how for each in self._left() if isinstance(each.fault, Auth)]
        return Mood(refused, auth[-1] if auth else None)

    def through(
        self, answer: Answer, session: Session, symbol_of: Callable[[str], str | None]
    ) -> Answer:
        """The answer that is sent, to a connection with this session. `symbol_of` has the symbol of
        a stream."""
        for symbol in answer.refused:
            self._use_up(Refuse, symbol)
        if self._waiting:
            asked = {symbol_of(name) or "" for name in _asked(answer, session)}
            if sum(self._use_up(Ignore, symbol) for symbol in asked):  # each counts its own down
                return Answer((), session)
        if answer.is_pong and any(isinstance(each.fault, Mute) for each in self._left()):
            return msgspec.structs.replace(answer, replies=())
        return answer

    @property
    def is_maintained(self) -> bool:
        return any(isinstance(each.fault, Maintain) for each in self._left())

    async def maintenance(self, *, begins: bool) -> None:
        """Wait until there is maintenance; or until there is none."""
        while self.is_maintained != begins:
            until_s = min((each.until_s or inf for each in self._left()), default=inf)
            with trio.move_on_at(until_s):
                await self._changed.wait()

    def _left(self) -> "list[_Lasting]":
        """The faults that are not over."""
        now_s = trio.current_time()
        self._lasting = [each for each in self._lasting if now_s < (each.until_s or inf)]
        return self._lasting

    def _use_up(self, kind: type[Refuse] | type[Ignore], symbol: str) -> bool:
        """Count down the oldest such fault of a symbol. False if it has none."""
        faults = self._waiting.get(symbol, [])
        found = next((each for each in faults if isinstance(each.fault, kind)), None)
        if found is None:
            return False
        found.left -= 1
        if not found.left:
            faults.remove(found)
        if not faults:
            del self._waiting[symbol]
        return True

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


class _Waiting(msgspec.Struct, eq=False):
    fault: Refuse | Ignore
    left: int


class _Lasting(msgspec.Struct, frozen=True):
    fault: Mute | Auth | Maintain
    until_s: float | None


def _asked(answer: Answer, session: Session) -> set[str]:
    """The streams that a request has subscribed to. A greeted one may have been there before."""
    return set(answer.session.streams).difference(session.streams).union(answer.greeted)
