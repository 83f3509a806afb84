"""One run on paper, apart from tasks and sockets: records in, reports out, each in the journal
before anybody else gets it.

The desks are made once the headers of all inputs have come: they have the instruments. Records that
come before wait here.
"""

from collections.abc import Callable, Sequence
from typing import Final

from fanout.analytics.consumer.merge import Merged
from fanout.analytics.errors import AnalyticsError
from fanout.cli.outcome import OutputError, say
from fanout.cli.trading.calibrations import with_calibrations
from fanout.cli.trading.files import KILL, RunFiles, ask
from fanout.errors import ConfigError
from fanout.protocol.constants import DataKinds
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Header
from fanout.trading.errors import TradingError
from fanout.trading.kill import KillCause
from fanout.trading.reports import Report
from fanout.trading.running.config import PaperConfig
from fanout.trading.running.earlier import Earlier
from fanout.trading.running.floor import Floor, Plan
from fanout.trading.running.journal import VERSION, Started
from fanout.trading.running.plans import plan_of
from fanout.versions import versions

_BOOKS: Final = DataKinds.BOOK_BY_PRICE | DataKinds.BOOK_BY_ORDER

FULL: Final = "the journal cannot be written: every order is cancelled, and the run ends"


class Session:
    """A run. It is the `Taker` of an `Engine`. `streams` are the names of the inputs, `kept[i]`
    says if input `i` is a journal. `earlier` is what earlier starts have left."""

    def __init__(
        self,
        config: PaperConfig,
        files: RunFiles,
        earlier: Earlier,
        *,
        streams: Sequence[str],
        kept: Sequence[bool],
    ) -> None:
        self.records = 0
        self.rows = 0
        self.newest_ns = 0
        self.floor: Floor | None = None
        """None until all headers have come."""
        self.venue = ""
        self.on_open: Callable[[Floor], None] | None = None
        """Called once the desks are made, before the first record."""
        self._config = config
        self._files = files
        self._earlier = earlier
        self._since_ns = earlier.newest_ns
        self._streams = tuple(streams)
        self._kept = tuple(kept)
        self._headers: list[Header | None] = [None] * len(streams)
        self._held: list[Merged] = []
        self._unsaid: list[Report] = []
        """Reports that `unsaid` or the next `take` returns, whichever comes first."""

    @property
    def instruments(self) -> int:
        """How many symbols are traded."""
        return len(self._config.symbols)

    # What the engine calls.

    def begin(self, stream: int, header: Header) -> None:
        """Take the header of a stream. Raises `ConfigError` where it does not fit."""
        if not header.instruments:
            return
        self._headers[stream] = header
        if self.floor is None and all(self._headers):
            self._open([each for each in self._headers if each is not None])

    def take(self, merged: Sequence[Merged]) -> list[Report]:
        """The reports that these records cause, which are in the journal. Raises `OutputError` if
        that cannot be written: then every order is cancelled."""
        self.records += len(merged)
        floor = self.floor
        if floor is None:
            self._hold(merged)
            return []
        if self._held:
            merged, self._held = [*self._held, *merged], []
        said: list[Report] = []
        for stream, record in merged:
            received_ns = getattr(record, "received_ns", 0)
            if self._kept[stream] and 0 < received_ns <= self._since_ns:
                continue  # the run has traded on it already
            if received_ns > self.newest_ns:
                self.newest_ns = received_ns
            reports = floor.take(stream, record)
            if reports:
                said += reports
        return [*self.unsaid(), *self._told(said)]

    def _hold(self, merged: Sequence[Merged]) -> None:
        self._held += merged
        if len(self._held) > self._config.system.queue_records:
            missing = [
                name
                for name, header in zip(self._streams, self._headers, strict=True)
                if header is None
            ]
            raise ConfigError(
                f"{missing[0]} has sent nothing, while {len(self._held):,} records of other inputs "
                "wait for it: leave it out, or start it"
            )

    # What else happens.

    def do(self, act: Callable[[Floor], list[Report]]) -> list[Report]:
        """Let something happen to the desks, and write it down. Nothing happens before there are
        desks. Raises as `take`, and what `act` raises."""
        if self.floor is None:
            return []
        said = self._told(act(self.floor))
        self._unsaid += said
        return said

    def unsaid(self) -> list[Report]:
        """What did not come of a record, and was not returned before."""
        said, self._unsaid = self._unsaid, []
        return said

    def _told(self, said: list[Report]) -> list[Report]:
        if said:
            try:
                self._files.append(said)
            except OutputError as error:
                self._give_up()
                raise OutputError(f"{error}: {FULL}") from error
            self.rows += len(said)
        return said

    def _give_up(self) -> None:
        """Nothing works without a journal. The file keeps the next start from trading."""
        assert self.floor is not None, "it has reported"
        self.floor.pull(KillCause.FILE, FULL)
        try:
            ask(self._files.directory / KILL, FULL)
        except OutputError as error:
            say(f"{error}: the next start trades unless that file is there")

    # The beginning.

    def _open(self, headers: Sequence[Header]) -> None:
        try:
            config, plans = self._plans(headers)
            self.floor = floor = Floor(config.exchange, plans, self._earlier)
        except (TradingError, AnalyticsError) as error:
            raise ConfigError(str(error)) from error
        self._files.begin(
            Started(
                version=VERSION,
                fanout=versions()["fanout"],
                venue=self.venue,
                instruments=tuple(each.instrument for each in plans),
                settings=dict(config.settings),
                inputs=self._streams,
            )
        )
        self._unsaid += self._told(floor.restored)
        if self.on_open is not None:
            self.on_open(floor)

    def _plans(self, headers: Sequence[Header]) -> tuple[PaperConfig, list[Plan]]:
        """A desk for each symbol, at the one input that has it, and the configuration with the
        numbers of its calibrations."""
        for name, header in zip(self._streams, headers, strict=True):
            self._require_fit(name, header)
        found = {symbol: self._found(symbol, headers) for symbol in self._config.symbols}
        config = with_calibrations(
            self._config, self.venue, [instrument for _, instrument in found.values()]
        )
        return config, [plan_of(config, *each) for each in found.values()]

    def _require_fit(self, name: str, header: Header) -> None:
        venue = self._config.venue or self._venue_before or self.venue or header.venue
        if header.venue != venue:
            raise ConfigError(f"{name} has {header.venue}, and this run trades at {venue}")
        self.venue = venue
        if not header.data & _BOOKS or not header.data & DataKinds.TRADES:
            raise ConfigError(
                f"{name}: channel {header.channel} needs trades and books: serve it with --data "
                "trades,book"
            )

    @property
    def _venue_before(self) -> str:
        """The venue of earlier starts; empty without one."""
        started = self._earlier.started
        return "" if started is None else started.venue

    def _found(self, symbol: str, headers: Sequence[Header]) -> tuple[int, Instrument]:
        found = [
            (stream, each)
            for stream, header in enumerate(headers)
            for each in header.instruments
            if each.symbol == symbol
        ]
        if not found:
            raise ConfigError(f"no input has {symbol}: {_some(headers)}")
        if len(found) > 1:
            one, other = (self._streams[stream] for stream, _ in found[:2])
            raise ConfigError(f"{symbol} comes from {one} and from {other}: leave one out")
        return found[0]


def _some(headers: Sequence[Header], most: int = 10) -> str:
    """Some of the symbols that there are."""
    names = [each.symbol for header in headers for each in header.instruments]
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return f"there is {', '.join(names[:most])}{more}"
