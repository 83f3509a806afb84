"""Consumers that are processes: `fanout tail`, whose lines of JSON are read back into records. They
are killed at any moment, and the next one goes on where the last whole line was."""

import signal
import subprocess
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec
import trio

from fanout.clients.tcp_trio import TrioTcpClient
from fanout.protocol import (
    End,
    EndReason,
    FeedState,
    Gap,
    GapState,
    Header,
    Instrument,
    Loss,
    LossReason,
    Quote,
    Record,
    Snapshot,
    Status,
    Trade,
    TradeKind,
)
from fanout.protocol.book_records import BookUpdate, pack_levels
from fanout.protocol.constants import BookFlags
from tests.fanout.cli.processes import environment
from tests.stand.consumers import Consumer
from tests.stand.oracle import Oracle
from tests.stand.service import ROOT, tailing

NOT_FIELDS: Final = ("event", "symbol", "epoch_ns")

Row = dict[str, Any]


class Tail(Consumer):
    """A process, and after it another, until the service has said goodbye."""

    def __init__(
        self,
        oracle: Oracle,
        name: str,
        url: str,
        instruments: Mapping[str, Instrument],
        *,
        options: Sequence[str] = (),
        may_miss: bool = False,
        buffer_bytes: int | None = None,
    ) -> None:
        """`buffer_bytes` is the receive buffer of each line, for multicast."""
        super().__init__(oracle, name, may_miss=may_miss)
        self._url = url
        self._options = options
        self._has_past = not (url.startswith("shm") or may_miss)
        self._buffer_bytes = buffer_bytes
        self._instruments = instruments
        self._process: trio.Process | None = None
        self._is_dead = False

    def signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """For good. What it had printed is still read."""
        self._is_dead = True
        self.signal(signal.SIGKILL)

    async def _run(self) -> None:
        while not (await self._follow() or self._is_dead):
            pass

    async def _follow(self) -> bool:
        """Read one process's lines. Whether the service has said goodbye in them."""
        due = self.reader.due
        place = "oldest" if due is None else f"{self.reader.epoch_ns}:{due}"
        start = ["--start", place] if self._has_past else []
        self._process = process = await trio.lowlevel.open_process(
            tailing(self._url, *self._options, *start, buffer_bytes=self._buffer_bytes),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(),
            cwd=ROOT,
        )
        try:
            return await self._read(process)
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()

    async def _read(self, process: trio.Process) -> bool:
        assert process.stdout is not None
        rest = b""
        async with process.stdout:
            async for data in process.stdout:
                *lines, rest = (rest + bytes(data)).split(b"\n")
                for line in lines:
                    if self._take_line(msgspec.json.decode(line)):
                        return True
        return False

    def _take_line(self, row: Row) -> bool:
        record = record_of(row, self._instruments)
        self.reader.take(record, row["epoch_ns"], trio.current_time())
        return isinstance(record, End) and record.reason is EndReason.SHUTDOWN


async def instruments_of(url: str) -> dict[str, Instrument]:
    """What a service serves, by symbol."""
    header = await header_of(url)
    return {each.symbol: each for each in header.instruments}


async def header_of(url: str) -> Header:
    """The header of a service's present epoch."""
    async with TrioTcpClient(url, start="oldest") as client:
        return await client.connect()


def record_of(row: Row, instruments: Mapping[str, Instrument]) -> Record:
    """The record that a line of JSON tells of."""
    match row.get("record"):
        case "quote":
            return quote_of(row, instruments[row["symbol"]])
        case "book":
            return update_of(row, instruments[row["symbol"]])
    if "event" not in row:
        return trade_of(row, instruments)
    fields = {name: value for name, value in row.items() if name not in NOT_FIELDS}
    match row["event"]:
        case "snapshot":
            return Snapshot(trades=tuple(trade_of(each, instruments) for each in row["trades"]))
        case "loss":
            return Loss(**fields | {"reason": LossReason[row["reason"]]})
        case "end":
            return End(**fields | {"reason": EndReason[row["reason"]]})
        case "status":
            of = instruments.get(row["symbol"])
            return Status(**fields | {"instrument": of, "state": FeedState[row["state"]]})
        case "gap":
            of = instruments[row["symbol"]]
            return Gap(**fields | {"instrument": of, "state": GapState[row["state"]]})
    raise AssertionError(f"no record: {row}")


def trade_of(row: Row, instruments: Mapping[str, Instrument]) -> Trade:
    instrument = instruments[row["symbol"]]
    return Trade(
        instrument=instrument,
        trade_id=row["trade_id"],
        time=row["time_ms"],
        price=price_of(row["price"], instrument),
        quantity=quantity_of(row["quantity"], instrument),
        buyer_is_maker=row["buyer_is_maker"],
        kind=TradeKind[row["kind"]],
        seq=row["seq"],
        received_ns=row["received_ns"],
        back_filled=row["back_filled"],
    )


def quote_of(row: Row, instrument: Instrument) -> Quote:
    return Quote(
        instrument,
        row["update_id"],
        row["time_ms"],
        price_of(row["bid_price"], instrument),
        quantity_of(row["bid_quantity"], instrument),
        price_of(row["ask_price"], instrument),
        quantity_of(row["ask_quantity"], instrument),
        row["seq"],
        row["received_ns"],
    )


def update_of(row: Row, instrument: Instrument) -> BookUpdate:
    names = {
        "is_whole": BookFlags.WHOLE,
        "has_more": BookFlags.MORE,
        "is_top_only": BookFlags.TOP_ONLY,
    }
    flags = sum(int(flag) for name, flag in names.items() if row[name])
    bids, asks = (
        pack_levels(
            (price_of(price, instrument), quantity_of(quantity, instrument))
            for price, quantity in row[side]
        )
        for side in ("bids", "asks")
    )
    return BookUpdate(
        instrument,
        row["update_id"],
        row["time_ms"],
        bids,
        asks,
        BookFlags(flags),
        row["seq"],
        row["received_ns"],
    )


def price_of(text: str, instrument: Instrument) -> int:
    return int(Decimal(text).scaleb(-instrument.price_exponent))


def quantity_of(text: str, instrument: Instrument) -> int:
    return int(Decimal(text).scaleb(-instrument.quantity_exponent))
