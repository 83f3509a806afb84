"""Features of a whole journal, or of a part of it, as numpy arrays.

    from fanout.analytics import FeatureSettings
    from fanout.analytics.columns import features_of
    from fanout.clients.columns import to_polars

    rows = features_of("journal:///var/lib/fanout/binance", FeatureSettings(), symbols=["BTCUSDT"])
    frame = to_polars(rows)

The rows are those of `fanout.clients.columns.features_in`: a double for each column, nan where
there is no value, and the code of the reason in `absences`. So what takes these takes them too. The
function stands here, and not in `fanout.clients.columns`, since clients do not know analytics.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import Final

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from fanout.analytics.features.settings import FeatureSettings
from fanout.analytics.features.stream import StreamFeatures
from fanout.clients.columns.features import features_in
from fanout.clients.journal import JournalClient
from fanout.clients.outcomes import Received
from fanout.protocol.constants import DataKinds
from fanout.protocol.feature_rows import FeatureRow
from fanout.protocol.records import Header
from fanout.protocol.request import Moment, Position

BATCH_ROWS: Final = 65_536
"""Rows of a batch: as objects they take ten times the memory of the array that they become."""


def features_of(
    source: str | Iterable[Received],
    settings: FeatureSettings,
    *,
    header: Header | None = None,
    symbols: Collection[str] = (),
    every_ns: int | None = None,
    start: str | Position | Moment = "oldest",
    stop_ns: int | None = None,
) -> NDArray[np.void]:
    """The features of all instruments as one array of shape (rows,), in the order of the rows.

    `source` is the URL of a journal, or the records of one stream with their `header`. `start` is
    for a journal. Features warm up from there, as after a connection. Records from `stop_ns` on are
    left out. Raises as `JournalClient` and `StreamFeatures`.
    """
    batches = [
        *feature_batches(
            source,
            settings,
            header=header,
            symbols=symbols,
            every_ns=every_ns,
            start=start,
            stop_ns=stop_ns,
        )
    ]
    if not batches:
        return features_in((), _header_of(header, settings))
    widest = max((each.dtype for each in batches), key=lambda dtype: dtype.itemsize)
    return np.concatenate([each.astype(widest, copy=False) for each in batches])


def feature_batches(
    source: str | Iterable[Received],
    settings: FeatureSettings,
    *,
    header: Header | None = None,
    symbols: Collection[str] = (),
    every_ns: int | None = None,
    start: str | Position | Moment = "oldest",
    stop_ns: int | None = None,
) -> Iterator[NDArray[np.void]]:
    """The same in batches of some `BATCH_ROWS` rows, so that memory does not grow with the journal.
    Arguments and errors are those of `features_of`. Each epoch of a journal has batches of its
    own."""
    stream = StreamFeatures(settings, symbols=symbols, every_ns=every_ns)
    if not isinstance(source, str):
        yield from _batches(((each, header) for each in source), stream, stop_ns)
        return
    with JournalClient(source, start=start, symbols=symbols) as client:
        yield from _batches(((each, client.header) for each in client), stream, stop_ns)


def _batches(
    records: Iterable[tuple[Received, Header | None]],
    stream: StreamFeatures,
    stop_ns: int | None,
) -> Iterator[NDArray[np.void]]:
    rows: list[FeatureRow] = []
    current: Header | None = None
    for record, header in records:
        if stop_ns is not None and getattr(record, "received_ns", 0) >= stop_ns:
            break
        if rows and (header is not current or len(rows) >= BATCH_ROWS):
            yield features_in(rows, _header_of(current, stream.settings))
            rows = []
        current = header
        rows += stream.take(record)
    if rows:
        yield features_in(rows, _header_of(current, stream.settings))


def _header_of(header: Header | None, settings: FeatureSettings) -> Header:
    """A header with the columns of the features. Without one of the records it names nothing."""
    bare = header or Header(epoch_ns=0, next_seq=1, venue="", instruments=(), references=())
    return replace(bare, data=DataKinds.FEATURES, columns=settings.columns)
