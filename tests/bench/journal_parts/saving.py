"""A journal saved to files, and rivals that make Parquet of other files of the same trades.

The rivals read what is the usual form for them, and write all columns that it has, in batches as
long as ours where they have batches. The figure is the CPU time of all threads: `fanout save` and
polars use two, and the others one.

Records of DBN are of fixed size, so numpy can view them without their package. That decodes nothing
and checks no CRC: it shows the least that Parquet costs, and has no goal.
"""

import contextlib
import io
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np

from fanout.cli.saving.run import record
from fanout.cli.source import Source
from fanout.clients.columns.journal import read_journal
from fanout.clients.columns.npy import BATCH_ROWS
from tests.bench.journal_parts.made import Made
from tests.bench.measure import in_rounds, ratios
from tests.bench.report import Absent, Row, figure, why_absent

OURS: Final = "fanout save, Parquet"
DECODER: Final = "databento-dbn, DBN to Parquet"
VIEWED: Final = "DBN viewed by numpy, to Parquet"
POLARS: Final = "polars, CSV to Parquet"

NEEDS: Final[dict[str, dict[str, str]]] = {
    OURS: {"pyarrow": "pip install pyarrow"},
    DECODER: {"databento_dbn": "pip install databento-dbn", "pyarrow": "pip install pyarrow"},
    VIEWED: {"pyarrow": "pip install pyarrow"},
    POLARS: {"polars": "pip install polars"},
}

DBN: Final = np.dtype(
    [
        *(("length", "u1"), ("rtype", "u1"), ("publisher_id", "<u2"), ("instrument_id", "<u4")),
        *(("ts_event", "<u8"), ("price", "<i8"), ("size", "<u4"), ("action", "S1")),
        *(("side", "S1"), ("flags", "u1"), ("depth", "u1"), ("ts_recv", "<u8")),
        *(("ts_in_delta", "<i4"), ("sequence", "<u4")),
    ]
)
"""A `TradeMsg` of DBN: https://docs.rs/dbn/latest/dbn/struct.TradeMsg.html"""
_TIMES: Final = ("ts_event", "ts_recv")
_TEXTS: Final = ("action", "side")
_NUMBERS: Final = tuple(
    name for name in DBN.names or () if name not in (*_TIMES, *_TEXTS, "length")
)


def saving(made: Made, folder: Path, rounds: int) -> Iterator[Row | Absent]:
    """CPU time a trade of each way, and how the rivals compare."""
    files = {name: folder / name for name in ("trades.csv", "trades.dbn", "made.parquet")}
    _save(made, files["trades.csv"])
    _write_dbn(made, files["trades.dbn"])
    ways: dict[str, Callable[[], None]] = {
        OURS: partial(_save, made, folder / "saved.parquet"),
        DECODER: partial(_by_decoder, files["trades.dbn"], files["made.parquet"]),
        VIEWED: partial(_by_numpy, files["trades.dbn"], files["made.parquet"]),
        POLARS: partial(_by_polars, files["trades.csv"], files["made.parquet"]),
        "fanout save, CSV": partial(_save, made, folder / "saved.csv"),
        "fanout save, JSON Lines": partial(_save, made, folder / "saved.jsonl"),
        "fanout save, .npy": partial(_save, made, folder / "saved.npy"),
    }
    absent = {name: why_absent(NEEDS.get(name, {})) for name in ways}
    runs = {name: partial(_cpu_ns, way, made) for name, way in ways.items() if not absent[name]}
    found = in_rounds(runs, rounds)
    for name, samples in found.items():
        yield figure(name, samples, "ns/trade")
    for rival in (DECODER, VIEWED, POLARS):
        if rival in found and OURS in found:
            times = ratios(found[rival], found[OURS])
            goal = None if rival == VIEWED else 1
            yield figure(f"{rival} / {OURS}", times, "times", at_least=goal)
    yield from (Absent(name, why) for name, why in absent.items() if why)


def _cpu_ns(way: Callable[[], None], made: Made) -> float:
    began_ns = time.process_time_ns()
    way()
    return (time.process_time_ns() - began_ns) / made.trades


def _save(made: Made, target: Path) -> None:
    source = Source(
        address=made.url,
        symbols=None,
        market_only=False,
        start=None,
        reconnect=True,
        token_file=None,
        tls_ca=None,
    )
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        record(source, target, force=True, limit=None, duration_s=None)
    if f"saved {made.trades:,} trades" not in said.getvalue():
        raise ValueError(said.getvalue())


def _write_dbn(made: Made, target: Path) -> None:
    with target.open("wb") as file:
        for piece in read_journal(made.url):
            trades, rows = piece.trades, np.zeros(len(piece.trades), DBN)
            units = made.header.instruments[0]
            rows["length"] = DBN.itemsize // 4
            rows["instrument_id"] = trades["instrument"]
            rows["ts_event"] = trades["time"] * 10 ** (9 + units.time_exponent)
            rows["price"] = trades["price"] * 10 ** (9 + units.price_exponent)
            rows["size"] = trades["quantity"]
            rows["action"] = b"T"
            rows["side"] = np.where(trades["buyer_is_maker"], b"A", b"B")
            rows["ts_recv"], rows["sequence"] = trades["received_ns"], trades["trade_id"]
            file.write(rows.tobytes())


def _by_decoder(source: Path, target: Path) -> None:
    """As the package gives trades: an object each."""
    pa = import_module("pyarrow")
    decoder = import_module("databento_dbn").DBNDecoder(has_metadata=False)

    def tables() -> Iterator[Any]:
        with source.open("rb") as file:
            while data := file.read(BATCH_ROWS * DBN.itemsize):
                decoder.write(data)
                rows = decoder.decode()
                columns = {name: [getattr(each, name) for each in rows] for name in _NUMBERS[2:]}
                columns |= {name: [str(getattr(each, name)) for each in rows] for name in _TEXTS}
                for name in _TIMES:
                    times = pa.array([getattr(each, name) for each in rows])
                    columns[name] = times.cast(pa.timestamp("ns", tz="UTC"))
                yield pa.table(columns)

    _write(tables(), target)


def _by_numpy(source: Path, target: Path) -> None:
    """Without an object for each trade: records of DBN are of fixed size."""
    pa = import_module("pyarrow")

    def tables() -> Iterator[Any]:
        with source.open("rb") as file:
            while len(rows := np.fromfile(file, DBN, BATCH_ROWS)):
                columns = {name: pa.array(np.ascontiguousarray(rows[name])) for name in _NUMBERS}
                columns |= {name: pa.array(rows[name].astype("U1")) for name in _TEXTS}
                for name in _TIMES:
                    times = pa.array(rows[name].astype(np.int64))
                    columns[name] = times.cast(pa.timestamp("ns", tz="UTC"))
                yield pa.table(columns)

    _write(tables(), target)


def _write(tables: Iterator[Any], target: Path) -> None:
    parquet, first = import_module("pyarrow.parquet"), next(tables)
    with parquet.ParquetWriter(target, first.schema) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)


def _by_polars(source: Path, target: Path) -> None:
    polars = import_module("polars")
    polars.read_csv(source).write_parquet(target)
