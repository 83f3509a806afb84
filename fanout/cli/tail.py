"""`fanout tail`: print what a service sends."""

import csv
import io
from collections.abc import Callable, Iterable
from enum import Enum, StrEnum
from typing import Annotated, Any, Final

import msgspec
import typer

from clients.shm import ShmClient
from clients.tcp import Disconnected, TcpClient
from fanout.cli.outcome import emit, exit_codes, say
from fanout.config import split_symbols
from fanout.errors import UsageError, shown
from protocol.records import Header, Instrument, Record, Snapshot, Trade


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"
    CSV = "csv"


def tail(
    address: Annotated[
        str, typer.Argument(help="tcp://HOST:PORT or shm://NAME", metavar="ADDRESS")
    ],
    output: Annotated[
        Format, typer.Option("--format", help="json and csv keep every digit.")
    ] = Format.TEXT,
    limit: Annotated[
        int | None,
        typer.Option(help="End after that many trades; 0 ends once connected.", min=0),
    ] = None,
    symbol: Annotated[
        list[str] | None,
        typer.Option(help="Only these, comma-separated or repeated.", metavar="SYMBOL,..."),
    ] = None,
    reconnect: Annotated[
        bool, typer.Option(help="Connect again when the connection is lost.")
    ] = True,
) -> None:
    """Print what a service sends: trades and events to stdout, the rest to stderr.

    Example: fanout tail tcp://127.0.0.1:9000 --format json --limit 10
    """
    with exit_codes(), _client(address, reconnect and limit != 0) as client:
        if limit == 0:
            client.connect()
        else:
            _print_all(client, output, frozenset(split_symbols(symbol or ())), limit)


def _client(address: str, reconnect: bool) -> TcpClient | ShmClient:
    kind = ShmClient if address.startswith("shm://") else TcpClient
    return kind(address, reconnect=reconnect)


def _print_all(
    client: TcpClient | ShmClient, output: Format, symbols: frozenset[str], limit: int | None
) -> None:
    line_of = _LINES[output]
    if output is Format.CSV:
        emit(_csv_text(_COLUMNS))
    trades = 0
    for record in client:
        if isinstance(record, Disconnected):
            say(f"{client.url}: {record.why}; trying again in {record.pause_s:.1f} s")
            continue
        header = client.header
        assert header is not None, "every record but Disconnected comes after a header"
        _check_symbols(header, symbols)
        if symbols and not _concerns(record, symbols):
            continue
        line = line_of(record, header.epoch_ns)
        if line is None:
            say(_text_line(record, header.epoch_ns))
        else:
            emit(line)
        trades += isinstance(record, Trade)
        if trades == limit:
            return


def _check_symbols(header: Header, symbols: frozenset[str]) -> None:
    served = [each.symbol for each in header.instruments]
    for symbol in symbols.difference(served):
        raise UsageError(f"{symbol} is not served here: {', '.join(served)}")


def _concerns(record: Record, symbols: frozenset[str]) -> bool:
    """Whether a record is about one of the symbols, or about all."""
    if isinstance(record, Trade):
        return record.instrument.symbol in symbols
    instrument = getattr(record, "instrument", None)
    return instrument is None or instrument.symbol in symbols


_COLUMNS: Final = (
    "seq",
    "symbol",
    "trade_id",
    "time_ms",
    "price",
    "quantity",
    "buyer_is_maker",
    "kind",
    "received_ns",
    "back_filled",
    "epoch_ns",
)


def _row(trade: Trade, epoch_ns: int) -> dict[str, Any]:
    values = (
        trade.seq,
        trade.symbol,
        trade.trade_id,
        trade.time_ms,
        trade.price_text,
        trade.quantity_text,
        trade.buyer_is_maker,
        trade.kind.name,
        trade.received_ns,
        trade.back_filled,
        epoch_ns,
    )
    return dict(zip(_COLUMNS, values, strict=True))


def _event(record: Record, epoch_ns: int) -> dict[str, Any]:
    """An event's fields under their own names, `event` first."""
    row: dict[str, Any] = {"event": type(record).__name__.lower()}
    for name in record.__struct_fields__:
        value = getattr(record, name)
        if name == "trades":
            row[name] = [_row(each, epoch_ns) for each in value]
        elif name == "instrument":
            row["symbol"] = value.symbol if isinstance(value, Instrument) else None
        else:
            row[name] = value.name if isinstance(value, Enum) else value
    row["epoch_ns"] = epoch_ns
    return row


def _json_line(record: Record, epoch_ns: int) -> str:
    row = _row(record, epoch_ns) if isinstance(record, Trade) else _event(record, epoch_ns)
    return msgspec.json.encode(row).decode()


def _csv_line(record: Record, epoch_ns: int) -> str | None:
    """A trade as a row; events have no place in a table."""
    if not isinstance(record, Trade):
        return None
    values = _row(record, epoch_ns).values()
    return _csv_text(str(each).lower() if isinstance(each, bool) else each for each in values)


def _csv_text(values: Iterable[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue()


def _text_line(record: Record, epoch_ns: int) -> str:
    if isinstance(record, Trade):
        return _trade_text(record)
    if isinstance(record, Snapshot):
        return "\n".join(f"{_trade_text(each)}  before joining" for each in record.trades)
    fields = _event(record, epoch_ns)
    name = fields.pop("event").upper()
    del fields["epoch_ns"]
    told = (f"{key} {shown(value)}" for key, value in fields.items() if value not in (None, ""))
    return "  ".join((name, *told))


def _trade_text(trade: Trade) -> str:
    seconds, ms = divmod(trade.time_ms % 86_400_000, 1000)
    time = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{ms:03}"
    side = "sell" if trade.buyer_is_maker else "buy"
    kind = "" if trade.kind.name == "MARKET" else f"  {trade.kind.name}"
    return (
        f"{time}  {trade.symbol:<12} {side:<4} {trade.quantity_text:>12} @ {trade.price_text:<12}"
        f" #{trade.trade_id}{kind}"
    )


Line = Callable[[Record, int], str | None]

_LINES: Final[dict[Format, Line]] = {
    Format.TEXT: _text_line,
    Format.JSON: _json_line,
    Format.CSV: _csv_line,
}
