"""The faults of streams, between the market and the subscribers.

A stream without a fault costs one look-up a message. Otherwise its messages pass through its
impairments, in the order in which the faults were injected: each gets the messages that the one
before it returned. An impairment has one stream, so a fault of all symbols has one for each stream.
"""

import random
from collections.abc import Iterable, Sequence

from fanout.errors import UsageError
from fanout.simulator.faults import MAX_STANDING, Silence, StreamFault
from fanout.simulator.faults.impairments import Impairment, Withhold, impairment_of
from fanout.simulator.market.ticks import Tick


class StreamFaults:
    """`withhold` is called for every message that will never be sent."""

    def __init__(self, withhold: Withhold, seed: int) -> None:
        self._withhold = withhold
        self._seed = seed
        self._begun = 0
        self._standing: dict[str, list[tuple[StreamFault, Impairment]]] = {}

    def begin(self, fault: StreamFault, streams: Iterable[str]) -> None:
        """Raises `UsageError` if `MAX_STANDING` faults stand on a stream already."""
        names = list(streams)
        for stream in names:
            if len(self._left(stream)) == MAX_STANDING:
                raise UsageError(f"{MAX_STANDING:,} faults stand on {stream} already: clear them")
        for stream in names:
            self._begun += 1
            dice = random.Random(f"{self._seed}/{self._begun}/{stream}")
            impairment = impairment_of(fault, self._withhold, dice)
            self._standing[stream] = [*self._left(stream), (fault, impairment)]

    def through(self, tick: Tick) -> Sequence[Tick]:
        """The messages to send for this one, which the market has issued."""
        standing = self._standing.get(tick.stream)
        return (tick,) if standing is None else self._through(tick, standing)

    def is_silent(self, stream: str) -> bool:
        """Whether a stream sends nothing."""
        return any(isinstance(fault, Silence) for fault, _ in self._left(stream))

    def release(self) -> list[Tick]:
        """All messages that are held back, to be sent now, in the order of each stream."""
        standing = self._standing.values()
        return [tick for each in standing for _, held in each for tick in held.release()]

    def clear(self) -> list[Tick]:
        """End all faults. Returns the messages that were held back."""
        released = self.release()
        self._standing.clear()
        return released

    def standing(self) -> list[StreamFault]:
        """The faults that are not over, each once."""
        found = [fault for stream in self._standing for fault, _ in self._left(stream)]
        return [fault for number, fault in enumerate(found) if fault not in found[:number]]

    def _left(self, stream: str) -> list[tuple[StreamFault, Impairment]]:
        return [each for each in self._standing.get(stream, ()) if not each[1].is_over()]

    def _through(
        self, tick: Tick, standing: list[tuple[StreamFault, Impairment]]
    ) -> Sequence[Tick]:
        ticks: list[Tick] = [tick]
        for _, impairment in standing:
            ticks = [sent for each in ticks for sent in impairment.take(each)]
        left = self._left(tick.stream)
        if left:
            self._standing[tick.stream] = left
        else:
            del self._standing[tick.stream]
        return ticks
