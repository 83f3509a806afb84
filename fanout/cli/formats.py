"""What a record looks like as text: a line for a person, a line of JSON, a row of CSV.

`tail` prints these lines and `save` keeps them. JSON and CSV have every digit; their columns are
the same, and prices and quantities in them are decimal strings.
"""

import csv
import io
from collections.abc import Callable, Iterable
from enum import Enum, StrEnum
from operator import attrgetter
from typing import Any, Final

import msgspec

from fanout.errors import shown
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Record, Snapshot, Trade


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"
    CSV = "csv"


_SHOWN_AS: Final = {
    "instrument": ("symbol", "symbol"),
    "time": ("time_ms", "time_ms"),
    "price": ("price", "price_text"),
    "quantity": ("quantity", "quantity_text"),
    "kind": ("kind", "kind.name"),
}
"""Fields of a trade that look different as text: the column's name, and where a `Trade` has the
text. All others appear as they are."""

_FIELDS: Final = {
    column: attrgetter(path)
    for column, path in (
        _SHOWN_AS.get(name, (name, name))
        for name in dict.fromkeys(("seq", *Trade.__struct_fields__))
    )
}
"""The columns of a trade in text formats: the sequence number, then the other fields of a `Trade`
in their order."""

COLUMNS: Final = (*_FIELDS, "epoch_ns")


def _row(trade: Trade, epoch_ns: int) -> dict[str, Any]:
    return {**{name: of(trade) for name, of in _FIELDS.items()}, "epoch_ns": epoch_ns}


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


def json_line(record: Record, epoch_ns: int) -> str:
    row = _row(record, epoch_ns) if isinstance(record, Trade) else _event(record, epoch_ns)
    return msgspec.json.encode(row).decode()


def csv_line(record: Record, epoch_ns: int) -> str | None:
    """A trade as a row; events have no place in a table."""
    if not isinstance(record, Trade):
        return None
    values = _row(record, epoch_ns).values()
    return _csv_text(str(each).lower() if isinstance(each, bool) else each for each in values)


def _csv_text(values: Iterable[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue()


def text_line(record: Record, epoch_ns: int) -> str:
    if isinstance(record, Trade):
        return trade_text(record)
    if isinstance(record, Snapshot):
        return "\n".join(f"{trade_text(each)}  before joining" for each in record.trades)
    fields = _event(record, epoch_ns)
    name = fields.pop("event").upper()
    del fields["epoch_ns"]
    told = (f"{key} {shown(value)}" for key, value in fields.items() if value not in (None, ""))
    return "  ".join((name, *told))


def trade_text(trade: Trade) -> str:
    seconds, ms = divmod(trade.time_ms % 86_400_000, 1000)
    time = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{ms:03}"
    side = "sell" if trade.buyer_is_maker else "buy"
    kind = "" if trade.kind.name == "MARKET" else f"  {trade.kind.name}"
    late = "  back-filled" if trade.back_filled else ""
    return (
        f"{time}  {trade.symbol:<12} {side:<4} {trade.quantity_text:>12} @ {trade.price_text:<12}"
        f" #{trade.trade_id}{kind}{late}"
    )


Line = Callable[[Record, int], str | None]

LINES: Final[dict[Format, Line]] = {
    Format.TEXT: text_line,
    Format.JSON: json_line,
    Format.CSV: csv_line,
}
"""What each format makes of a record in an epoch: None for what has no place in it."""

CSV_HEADER: Final = _csv_text(COLUMNS)
