"""One symbol's records in a journal, for a fit."""

import time
from collections.abc import Iterator
from contextlib import closing
from typing import Final

from fanout.analytics.fits.made import MadeFor, Origin
from fanout.cli.saving.progress import Progress
from fanout.cli.source import parse_start
from fanout.clients.journal import JournalClient
from fanout.clients.outcomes import Disconnected, Received, Restarted
from fanout.config.assets import typed_symbols
from fanout.config.moment import moment_text, parse_moment
from fanout.errors import ConfigError, UsageError, shown
from fanout.protocol.constants import DataKinds, FeedState
from fanout.protocol.errors import NotRepresentableError
from fanout.protocol.fixedpoint import from_text
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import End, Header, Loss, Status
from fanout.protocol.request import Moment, Position
from fanout.versions import versions

_SHOWN_EVERY: Final = 16_384
"""Records from one progress line to the next: a fraction of a second."""

_PRICES: Final = DataKinds.QUOTES | DataKinds.BOOK_BY_PRICE | DataKinds.BOOK_BY_ORDER


class Reading:
    """The records of one symbol in a journal, and where they are from. Iterate over it once."""

    def __init__(
        self, symbol: str, url: str, start: str | Position | Moment, stop_ns: int | None
    ) -> None:
        self.symbol = symbol
        self.epochs_ns: list[int] = []
        self._client = JournalClient(url, start=start, symbols=[symbol])
        self._stop_ns = stop_ns

    @classmethod
    def of(cls, symbol: str, url: str, start: str | None, to: str | None) -> "Reading":
        """From the command line. Raises `UsageError`."""
        names = typed_symbols([symbol])
        if len(names) != 1:
            raise UsageError(f"{shown(symbol)!r} is not one symbol: give one, such as BTCUSDT")
        if not url.startswith("journal://"):
            raise UsageError(f"--from {shown(url)}: a fit is made from journal://DIR/CHANNEL")
        if start == "live":
            raise UsageError("--start live: a fit needs the past; leave it out, or give a time")
        stop_ns = None if to is None else parse_moment(to, "--to")
        return cls(names[0], url, parse_start(start or "oldest"), stop_ns)

    def __iter__(self) -> Iterator[Received]:
        """Raises `ConfigError` if the channel has no prices, and as `JournalClient`."""
        progress = Progress()
        with self._client as client, closing(progress):
            for count, record in enumerate(client):
                if not count % _SHOWN_EVERY and _time_of(record):
                    progress.show(f"read to {moment_text(_time_of(record))}")
                if self._stop_ns is not None and _time_of(record) >= self._stop_ns:
                    break
                if not isinstance(record, Disconnected | Restarted):
                    self._note(self._header)
                yield record
        if not self.epochs_ns:
            raise ConfigError(f"no record of {self.symbol} there: give another --start or --to")

    def _note(self, header: Header) -> None:
        if self.epochs_ns and self.epochs_ns[-1] == header.epoch_ns:
            return
        self.epochs_ns.append(header.epoch_ns)
        if not header.data & _PRICES:
            raise ConfigError(
                f"{self._client.url}: channel {header.channel} has neither books nor quotes, which "
                "a fit needs: record with --data book"
            )

    def price_of(self, flag: str, text: str) -> int:
        """A price above 0 as it was typed, in units of the instrument's exponent. Raises
        `UsageError`."""
        self._client.connect()
        try:
            price = from_text(text, self.instrument.price_exponent)
        except NotRepresentableError as error:
            raise UsageError(f"{flag}: {error}") from error
        if price <= 0:
            raise UsageError(f"{flag} {shown(text)}: give a price above 0")
        return price

    @property
    def _header(self) -> Header:
        header = self._client.header
        assert header is not None, "it comes before every record but Disconnected"
        return header

    @property
    def data(self) -> DataKinds:
        """What the channel has, after the records."""
        return self._header.data

    @property
    def instrument(self) -> Instrument:
        """As the newest header has it, after the records."""
        return next(each for each in self._header.instruments if each.symbol == self.symbol)

    @property
    def made_for(self) -> MadeFor:
        return MadeFor.of(self._header.venue, self.instrument)

    @property
    def origin(self) -> Origin:
        """What a fit says of its records. It is made now."""
        return Origin(
            journal=self._client.url,
            channel=self._header.channel,
            epochs_ns=tuple(self.epochs_ns),
            fitted_ns=time.time_ns(),
            fanout=versions()["fanout"],
        )


def is_hole(record: Received) -> bool:
    """Whether records of the symbol may be missing here, or its prices are not the venue's."""
    match record:
        case Loss() | Restarted() | Disconnected() | End():
            return True
        case Status(state=state):
            return state is not FeedState.LIVE
    return False


def _time_of(record: Received) -> int:
    return getattr(record, "received_ns", 0)
