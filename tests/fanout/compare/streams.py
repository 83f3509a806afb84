"""Two streams for a comparison, on a clock that a test sets."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from msgspec.structs import replace

from fanout.clients.outcomes import Received
from fanout.compare import Comparison, Finding, Identity, Report, What
from fanout.protocol import DataKinds, FeedState, Gap, GapState, Header, Loss, LossReason, Status
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Trade
from tests.protocol.golden import BTC, HEADER, LIFE

S: Final = 10**9
WITHIN_NS: Final = 60 * S
MS: Final = 1_791_382_992_838
ALL: Final = DataKinds.TRADES | DataKinds.QUOTES | DataKinds.BOOK_BY_PRICE

__all__ = ["BTC", "LIFE"]

Timed = tuple[int, Received]
"""A record and the time of its arrival."""


def trade(number: int, instrument: Instrument = BTC, **fields: object) -> Trade:
    """A trade whose id, time, price and quantity follow from one number."""
    made = Trade(
        instrument, number, MS + number, 8_000_000 + number, 1 + number % 7, bool(number % 2)
    )
    return replace(made, seq=number + 1, **fields)


def run_of(first: int, count: int, instrument: Instrument = BTC) -> list[Trade]:
    return [trade(number, instrument) for number in range(first, first + count)]


def loss(count: int) -> Loss:
    return Loss(first_seq=1, last_seq=count, reason=LossReason.SLOW)


def gap(first_id: int, last_id: int, state: GapState = GapState.OPEN) -> Gap:
    return Gap(seq=1, instrument=BTC, first_id=first_id, last_id=last_id, state=state)


def status(state: FeedState, instrument: Instrument | None = None) -> Status:
    return Status(seq=1, instrument=instrument, state=state, since_ns=0)


def paced(records: Iterable[Received], *, late_ns: int = 0, step_ns: int = S) -> list[Timed]:
    """One record a second, from second 1 on."""
    return [(step_ns * (each + 1) + late_ns, record) for each, record in enumerate(records)]


class Found:
    """A comparison and all its findings."""

    def __init__(
        self,
        *,
        identity: Identity = Identity.ASCENDING,
        within_ns: int = WITHIN_NS,
        headers: tuple[Header, Header] | None = None,
        **options: Any,
    ) -> None:
        """`options` are those of `Comparison`."""
        self.findings: list[Finding] = []
        self.comparison = Comparison(
            self.findings.append,
            identity=identity,
            within_ns=within_ns,
            **options,
        )
        for side, header in enumerate(headers or (replace(HEADER, data=ALL),) * 2):
            self.comparison.serve(side, header)
        self._report: Report | None = None

    def take(self, a: Sequence[Timed], b: Sequence[Timed]) -> None:
        """Take both streams in the order of arrival; A first where both arrive at once."""
        both = [(at, 0, each) for at, each in a] + [(at, 1, each) for at, each in b]
        for at_ns, side, record in sorted(both, key=lambda each: each[:2]):
            self.comparison.take(side, record, at_ns)

    @property
    def report(self) -> Report:
        if self._report is None:
            self.comparison.close()
            self._report = self.comparison.finish()
        return self._report

    @property
    def differences(self) -> list[tuple[What, int, str]]:
        """What differs: the kind, the id and the field."""
        assert self.report
        return [(each.what, each.number, each.field) for each in self.findings]


def compared(a: Iterable[Received], b: Iterable[Received], **options: object) -> Found:
    """Two streams that bring a record a second; B is 10 ms later."""
    found = Found(**options)  # type: ignore[arg-type]
    found.take(paced(a), paced(b, late_ns=S // 100))
    return found
