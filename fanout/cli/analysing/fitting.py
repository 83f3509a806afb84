"""Reads a journal, makes a fit of it, and writes the file in one step."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from fanout.analytics.derived import settings_with
from fanout.analytics.errors import AnalyticsError, FitError
from fanout.analytics.linear import LinearFit, encode_fit, fit_linear
from fanout.analytics.made import MadeFor, Origin
from fanout.analytics.samples import Samples
from fanout.analytics.settings import FeatureSettings
from fanout.analytics.stream import StreamFeatures
from fanout.cli.analysing.fit_view import show_linear
from fanout.cli.outcome import emit, say
from fanout.cli.saving.aside import Aside, require_free
from fanout.cli.source import parse_start
from fanout.clients.journal import JournalClient
from fanout.clients.outcomes import Disconnected, Received, Restarted
from fanout.config.assets import split_words, typed_symbols
from fanout.config.duration import parse_duration
from fanout.config.moment import parse_moment
from fanout.errors import ConfigError, UsageError, shown
from fanout.protocol.constants import DataKinds, FeedState
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import End, Header, Loss, Status
from fanout.protocol.request import Moment, Position
from fanout.versions import versions

DEFAULT_COLUMNS: Final = (
    "order_book_imbalance",
    "liquidity_imbalance_10bps",
    "order_flow_imbalance_1000ms",
)

_PRICES: Final = DataKinds.QUOTES | DataKinds.BOOK_BY_PRICE | DataKinds.BOOK_BY_ORDER


class Reading:
    """The records of one symbol in a journal, and where they are from. Iterate over it once."""

    def __init__(
        self, symbol: str, url: str, start: str | Position | Moment, stop_ns: int | None
    ) -> None:
        self.symbol = symbol
        self.epochs: list[int] = []
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
        with self._client as client:
            for record in client:
                if self._stop_ns is not None and _time_of(record) >= self._stop_ns:
                    return
                if not isinstance(record, Disconnected | Restarted):
                    self._note(self._header)
                yield record

    def _note(self, header: Header) -> None:
        if self.epochs and self.epochs[-1] == header.epoch_ns:
            return
        self.epochs.append(header.epoch_ns)
        if not header.data & _PRICES:
            raise ConfigError(
                f"{self._client.url}: channel {header.channel} has neither books nor quotes, which "
                "a fit needs: record with --data book"
            )

    @property
    def _header(self) -> Header:
        header = self._client.header
        assert header is not None, "it comes before every record but Disconnected"
        return header

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
            epochs=tuple(self.epochs),
            fitted_ns=time.time_ns(),
            fanout=versions()["fanout"],
        )


def fit_line(
    reading: Reading,
    out: Path,
    *,
    horizon: str,
    every: str,
    columns: str | None,
    folds: int,
    force: bool,
    as_json: bool,
) -> None:
    """Make a linear fit, write it and show it. Raises `UsageError` for what was typed, and
    `ConfigError` for a journal that has too little."""
    require_free(out, force=force)
    with _usage():
        names = split_words([columns]) if columns is not None else DEFAULT_COLUMNS
        settings = settings_with(names)
        samples = Samples(
            settings.columns,
            names,
            horizon_ns=parse_ns("--horizon", horizon),
            every_ns=parse_ns("--every", every),
        )
    _collect(reading, settings, samples)
    try:
        made = fit_linear(
            samples,
            settings=settings,
            made_for=reading.made_for,
            origin=reading.origin,
            folds=folds,
        )
    except FitError as error:
        raise ConfigError(f"{reading.symbol}: {error}{_left_out(samples)}") from error
    _write(out, encode_fit(made), force=force)
    _show(made, as_json=as_json)
    say(f"saved to {out}")


def parse_ns(flag: str, text: str) -> int:
    """Nanoseconds from a duration such as `15s`, `1m30s` or `250ms`. Raises `UsageError`."""
    milliseconds = re.fullmatch("([0-9]{1,9})ms", text.strip())
    try:
        if milliseconds is not None and int(milliseconds[1]):
            return int(milliseconds[1]) * 1_000_000
        return parse_duration(text) * 1_000_000_000
    except UsageError as error:
        raise UsageError(f"{flag} {shown(text)}: give a duration like 15s, 5m or 250ms") from error


def is_hole(record: Received) -> bool:
    """Whether records of the symbol may be missing here, or its prices are not the venue's."""
    match record:
        case Loss() | Restarted() | Disconnected() | End():
            return True
        case Status(state=state):
            return state is not FeedState.LIVE
    return False


def _collect(reading: Reading, settings: FeatureSettings, samples: Samples) -> None:
    stream = StreamFeatures(settings, symbols=[reading.symbol], every_ns=samples.every_ns)
    for record in reading:
        for row in stream.take(record):
            samples.add(row)
        if is_hole(record):
            samples.hole()
    samples.end()
    if not reading.epochs:
        raise ConfigError(f"no record of {reading.symbol} there: give another --start or --to")


def _time_of(record: Received) -> int:
    return getattr(record, "received_ns", 0)


@contextmanager
def _usage() -> Iterator[None]:
    """What the command line has that cannot be."""
    try:
        yield
    except AnalyticsError as error:
        raise UsageError(str(error)) from error


def _left_out(samples: Samples) -> str:
    """Why rows were left out, most first."""
    reasons = [f"{count:,}: {why}" for why, count in samples.left_out.most_common(3)]
    return f". Left out {'; '.join(reasons)}" if reasons else ""


def _write(out: Path, data: bytes, *, force: bool) -> None:
    aside = Aside(out)
    try:
        aside.write(data)
        aside.complete(force=force)
    except BaseException:
        aside.discard()
        raise


def _show(fit: LinearFit, *, as_json: bool) -> None:
    if as_json:
        emit(msgspec.json.encode(fit).decode())
    else:
        for line in show_linear(fit):
            emit(line)
    if not fit.confidence:
        say("R2 out of sample is not above 0: a predictor with this fit gives no direction")
