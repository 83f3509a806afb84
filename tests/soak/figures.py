"""What a soak measures while it runs: how the service is, second by second, and how late the soak
itself is, so that a stall of one is not put down to the other."""

from collections.abc import Sequence
from contextlib import suppress
from time import monotonic

import msgspec
import trio

from fanout.stats.snapshots import ServiceStats
from tests.stand.service import Service

MIB = 1024 * 1024
SETTLING_SHARE = 0.3
"""Of the time, at its beginning, that says nothing about growth: caches and the log fill up."""


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """How the service is at a moment. `answer_s` is how long its answer took."""

    at_s: float
    resident_mib: float
    descriptors: int
    tasks: int
    consumers: int
    cpu_s: float
    answer_s: float
    send_max_s: float


class Sampler:
    """Asks once a second, until cancelled."""

    def __init__(self, service: Service, http_url: str) -> None:
        self.samples: list[Sample] = []
        self.last: ServiceStats | None = None
        self.stall_s = 0.0
        """The longest that the soak's own loop was late."""
        self._service = service
        self._http_url = http_url
        self._began_s = monotonic()

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_ourselves)
            while True:
                with suppress(OSError):
                    await self.look()
                await trio.sleep(1)

    async def look(self) -> None:
        asked_s = monotonic()
        stats = await self._service.status(self._http_url)
        self.last = stats
        sends = [each.send.max_ns for each in stats.transports if each.send]
        process = stats.process
        self.samples.append(
            Sample(
                at_s=asked_s - self._began_s,
                resident_mib=process.resident_bytes / MIB,
                descriptors=process.descriptors,
                tasks=process.tasks,
                consumers=sum(len(each.consumers) for each in stats.transports),
                cpu_s=process.cpu_s,
                answer_s=monotonic() - asked_s,
                send_max_s=max(sends, default=0) / 1e9,
            )
        )

    async def _watch_ourselves(self) -> None:
        while True:
            due_s = monotonic() + 0.05
            await trio.sleep(0.05)
            self.stall_s = max(self.stall_s, monotonic() - due_s)

    @property
    def growth_mib_per_hour(self) -> float:
        """The slope of resident memory once things have settled, by least squares."""
        return slope([(each.at_s / 3600, each.resident_mib) for each in self._settled])

    @property
    def settled_hours(self) -> float:
        """How long things had been settled at the end."""
        return max(1.0, self._settled[-1].at_s - self._settled[0].at_s) / 3600

    @property
    def _settled(self) -> list[Sample]:
        return self.samples[int(len(self.samples) * SETTLING_SHARE) :]

    @property
    def left_over(self) -> int:
        """Descriptors at the end that were not there at the start, but for those of consumers."""
        first, last = self.samples[0], self.samples[-1]
        return (last.descriptors - last.consumers) - (first.descriptors - first.consumers)


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the line that fits best; 0 for fewer than two points."""
    if len(points) < 2:
        return 0.0
    middle_x = sum(x for x, _ in points) / len(points)
    middle_y = sum(y for _, y in points) / len(points)
    spread = sum((x - middle_x) ** 2 for x, _ in points)
    return sum((x - middle_x) * (y - middle_y) for x, y in points) / spread
