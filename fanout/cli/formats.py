"""What a record looks like as text: a line for a person, a line of JSON, rows of CSV.

`tail` prints these lines and `save` keeps them. JSON and CSV have every digit; prices and
quantities in them are decimal strings. A table of CSV has one kind of records: trades, quotes, or
the levels of book updates, a row each, or rows of features, whose columns the header names.
"""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum, StrEnum
from itertools import zip_longest
from operator import attrgetter
from typing import Any, Final, NamedTuple

import msgspec

from fanout.cli.outcome import OutputError
from fanout.errors import shown
from fanout.protocol.book_records import BookUpdate, OrderUpdate, Quote
from fanout.protocol.constants import Absence, DataKinds
from fanout.protocol.feature_rows import FeatureRow
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Header, Record, Snapshot, Trade


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

Row = dict[str, Any]
Update = BookUpdate | OrderUpdate


def _trade_row(trade: Trade, epoch_ns: int) -> Row:
    return {**{name: of(trade) for name, of in _FIELDS.items()}, "epoch_ns": epoch_ns}


def _quote_row(quote: Quote, epoch_ns: int) -> Row:
    of = quote.instrument
    return {
        **_begun(quote),
        "bid_price": of.price_text(quote.bid_price),
        "bid_quantity": of.quantity_text(quote.bid_quantity),
        "ask_price": of.price_text(quote.ask_price),
        "ask_quantity": of.quantity_text(quote.ask_quantity),
        "received_ns": quote.received_ns,
        "epoch_ns": epoch_ns,
    }


def _begun(record: Quote | Update) -> Row:
    return {
        "seq": record.seq,
        "symbol": record.symbol,
        "update_id": record.update_id,
        "time_ms": _time_ms(record.instrument, record.time),
    }


def _ended(update: Update, epoch_ns: int) -> Row:
    return {
        "is_whole": update.is_whole,
        "has_more": update.has_more,
        "is_top_only": update.is_top_only,
        "received_ns": update.received_ns,
        "epoch_ns": epoch_ns,
    }


def _time_ms(instrument: Instrument, time: int) -> int:
    """The venue's time, unix ms; floored where its clock is finer."""
    ns_per_unit: int = 10 ** (instrument.time_exponent + 9)
    return time * ns_per_unit // 1_000_000


def _item_of(instrument: Instrument, item: Sequence[int]) -> tuple[Any, ...]:
    """A level or an order, with its numbers as text and its id, if it has one, as a number."""
    *order_id, price, quantity = item
    return (*order_id, instrument.price_text(price), instrument.quantity_text(quantity))


def _update_row(update: Update, epoch_ns: int) -> Row:
    """An update in one row, with its levels or orders as lists."""
    of = update.instrument
    return {
        **_begun(update),
        "bids": [_item_of(of, each) for each in update.bids],
        "asks": [_item_of(of, each) for each in update.asks],
        **_ended(update, epoch_ns),
    }


def _item_rows(update: Update, epoch_ns: int, _columns: Sequence[str]) -> Iterator[Row]:
    """A row for each level or order of an update; one with side NONE if it has none."""
    row = _update_row(update, epoch_ns)
    sides = {"BID": row.pop("bids"), "ASK": row.pop("asks")}
    names = ("order_id", "price", "quantity") if isinstance(update, OrderUpdate) else _LEVEL
    if not any(sides.values()):
        sides = {"NONE": [("",) * len(names)]}
    for side, items in sides.items():
        for item in items:
            of_it = {"side": side, **dict(zip(names, item, strict=True))}
            yield {**_begun(update), **of_it, **_ended(update, epoch_ns)}


_LEVEL: Final = ("price", "quantity")


def _feature_row(row: FeatureRow, epoch_ns: int, columns: Sequence[str]) -> Row:
    """`values` has null where there is none, and `absences` has the reasons of those."""
    return {
        **_feature_labels(row, epoch_ns),
        "values": dict(zip(columns, row.values, strict=True)),
        "absences": _absences(row, columns),
    }


def _feature_labels(row: FeatureRow, epoch_ns: int) -> Row:
    return {
        "seq": row.seq,
        "symbol": row.symbol,
        "time_ns": row.time_ns,
        "received_ns": row.received_ns,
        "epoch_ns": epoch_ns,
    }


def _absences(row: FeatureRow, columns: Sequence[str]) -> dict[str, str]:
    pairs = zip(columns, row.absences, strict=True)
    return {column: Absence(code).name for column, code in pairs if code}


def _feature_csv(row: FeatureRow, epoch_ns: int, columns: Sequence[str]) -> Row:
    """A field of text for all reasons, and an empty one for each absent value."""
    absences = " ".join(f"{name}:{why}" for name, why in _absences(row, columns).items())
    values = dict(zip(columns, row.values, strict=True))
    return {**_feature_labels(row, epoch_ns), "absences": absences} | values


class Kind(NamedTuple):
    """A kind of records that has a table of its own."""

    noun: str
    """One record of it, in words."""
    name: str
    """In front of the suffix, where each kind has a file of its own. Empty for the first."""
    data: DataKinds
    columns: tuple[str, ...]
    """Of a table of CSV."""
    rows: Callable[[Any, int, Sequence[str]], Iterable[Row]]

    @property
    def csv_header(self) -> str:
        return self.csv_header_with(())

    def csv_header_with(self, columns: Sequence[str]) -> str:
        """That of a channel whose rows of features have these columns. Raises `OutputError` for a
        column with the name of another field: nobody could tell the two apart."""
        own = columns if self.data is DataKinds.FEATURES else ()
        for name in self.columns:
            if name in own:
                raise OutputError(f"a column has the name of the field {name}: take json for csv")
        return csv_text((*self.columns, *own))


_UPDATE: Final = ("seq", "symbol", "update_id", "time_ms")
_FLAGS: Final = ("is_whole", "has_more", "is_top_only", "received_ns", "epoch_ns")
_QUOTE: Final = ("bid_price", "bid_quantity", "ask_price", "ask_quantity")

COLUMNS: Final = (*_FIELDS, "epoch_ns")


_FEATURE: Final = ("seq", "symbol", "time_ns", "received_ns", "epoch_ns", "absences")


def _one(row: Callable[[Any, int], Row]) -> Callable[[Any, int, Sequence[str]], Iterable[Row]]:
    return lambda record, epoch_ns, _columns: (row(record, epoch_ns),)


KINDS: Final[dict[type, Kind]] = {
    Trade: Kind("trade", "", DataKinds.TRADES, COLUMNS, _one(_trade_row)),
    Quote: Kind(
        "quote",
        "quotes",
        DataKinds.QUOTES,
        (*_UPDATE, *_QUOTE, "received_ns", "epoch_ns"),
        _one(_quote_row),
    ),
    BookUpdate: Kind(
        "book update",
        "book",
        DataKinds.BOOK_BY_PRICE,
        (*_UPDATE, "side", *_LEVEL, *_FLAGS),
        _item_rows,
    ),
    OrderUpdate: Kind(
        "order update",
        "orders",
        DataKinds.BOOK_BY_ORDER,
        (*_UPDATE, "side", "order_id", *_LEVEL, *_FLAGS),
        _item_rows,
    ),
    FeatureRow: Kind(
        "row",
        "features",
        DataKinds.FEATURES,
        _FEATURE,
        lambda row, epoch_ns, columns: (_feature_csv(row, epoch_ns, columns),),
    ),
}
"""The kinds of records that tables hold. All others are events."""


def is_new(record: Record) -> bool:
    """Whether this is a trade, a quote, an update or a row of features that was published since the
    reader joined."""
    return type(record) in KINDS and getattr(record, "seq", 0) > 0


def table_of(header: Header) -> type:
    """The kind of which a table is made, where there is one table: the channel's first."""
    return next((each for each, kind in KINDS.items() if kind.data in header.data), Trade)


def _event(record: Record, epoch_ns: int) -> Row:
    """An event's fields under their own names, `event` first."""
    row: Row = {"event": type(record).__name__.lower()}
    for name in record.__struct_fields__:
        value = getattr(record, name)
        if name == "trades":
            row[name] = [_trade_row(each, epoch_ns) for each in value]
        elif name == "instrument":
            row["symbol"] = value.symbol if isinstance(value, Instrument) else None
        else:
            row[name] = value.name if isinstance(value, Enum) else value
    row["epoch_ns"] = epoch_ns
    return row


def json_line(record: Record, epoch_ns: int, columns: Sequence[str] = ()) -> str:
    """`columns` are those of the header, here and below."""
    match record:
        case Trade():
            row = _trade_row(record, epoch_ns)
        case Quote():
            row = {"record": "quote", **_quote_row(record, epoch_ns)}
        case BookUpdate():
            row = {"record": "book", **_update_row(record, epoch_ns)}
        case OrderUpdate():
            row = {"record": "orders", **_update_row(record, epoch_ns)}
        case FeatureRow():
            row = {"record": "row", **_feature_row(record, epoch_ns, columns)}
        case _:
            row = _event(record, epoch_ns)
    return msgspec.json.encode(row).decode()


def csv_line(
    record: Record, epoch_ns: int, columns: Sequence[str] = (), *, table: type = Trade
) -> str | None:
    """A record as the row, or rows, of the table of its kind. None for other kinds, and events."""
    if type(record) is not table:
        return None
    return "\n".join(_csv_row(row) for row in KINDS[table].rows(record, epoch_ns, columns))


def _csv_row(row: Row) -> str:
    return csv_text(map(_csv_field, row.values()))


def _csv_field(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value


def require_same(what: str, before: Sequence[str], now: Sequence[str], remedy: str) -> None:
    """Raises `OutputError` for rows of features whose columns are not those that a table has."""
    for place, (known, other) in enumerate(zip_longest(before, now, fillvalue="none")):
        if known != other:
            raise OutputError(f"{what}: column {place} was {known}, and is now {other}: {remedy}")


def csv_text(values: Iterable[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue()


def text_line(record: Record, epoch_ns: int, columns: Sequence[str] = ()) -> str:
    match record:
        case Trade():
            return trade_text(record)
        case Snapshot():
            return "\n".join(f"{trade_text(each)}  before joining" for each in record.trades)
        case Quote():
            return quote_text(record)
        case BookUpdate() | OrderUpdate():
            return update_text(record)
        case FeatureRow():
            return feature_text(record, columns)
    fields = _event(record, epoch_ns)
    name = fields.pop("event").upper()
    del fields["epoch_ns"]
    told = (f"{key} {shown(value)}" for key, value in fields.items() if value not in (None, ""))
    return "  ".join((name, *told))


def trade_text(trade: Trade) -> str:
    side = "sell" if trade.buyer_is_maker else "buy"
    kind = "" if trade.kind.name == "MARKET" else f"  {trade.kind.name}"
    late = "  back-filled" if trade.back_filled else ""
    return (
        f"{_clock(trade)}  {trade.symbol:<12} {side:<4} {trade.quantity_text:>12} @"
        f" {trade.price_text:<12} #{trade.trade_id}{kind}{late}"
    )


def quote_text(quote: Quote) -> str:
    of = quote.instrument
    bid = f"{of.quantity_text(quote.bid_quantity)} @ {of.price_text(quote.bid_price)}"
    ask = f"{of.quantity_text(quote.ask_quantity)} @ {of.price_text(quote.ask_price)}"
    return (
        f"{_clock(quote)}  {quote.symbol:<12} quote  bid {bid}  ask {ask}"
        f"  #{quote.update_id}{_before(quote)}"
    )


def feature_text(row: FeatureRow, columns: Sequence[str]) -> str:
    """Values to ten digits, and reasons in the place of those that are absent."""
    shown_as = (
        Absence(code).name if value is None else f"{value:.10g}"
        for value, code in zip(row.values, row.absences, strict=True)
    )
    fields = (f"{name} {each}" for name, each in zip(columns, shown_as, strict=True))
    clock = _time_of_day(row.time_ns // 1_000_000)
    return "  ".join((f"{clock}  {row.symbol:<12} row   ", *fields)) + _before(row)


def update_text(update: Update) -> str:
    """How much an update changes, and where it begins. Its levels are in JSON and CSV."""
    noun = "order" if isinstance(update, OrderUpdate) else "level"
    sides = ((update.bids, "bid"), (update.asks, "ask"))
    changes = [_changes(update.instrument, items, side, noun) for items, side in sides if items]
    flags = {
        "whole book": update.is_whole,
        "top only": update.is_top_only,
        "to be continued": update.has_more,
    }
    return "  ".join(
        (
            f"{_clock(update)}  {update.symbol:<12} book ",
            *(changes or [f"no {noun}s"]),
            f"#{update.update_id}",
            *(words for words, is_set in flags.items() if is_set),
        )
    ) + _before(update)


def _changes(instrument: Instrument, items: Sequence[Any], side: str, noun: str) -> str:
    price, quantity = _item_of(instrument, items[0])[-2:]
    number = f"{len(items)} {side} {noun}" + ("" if len(items) == 1 else "s")
    return f"{number} from {quantity} @ {price}"


def _before(record: Quote | Update | FeatureRow) -> str:
    return "" if record.seq else "  before joining"


def _clock(record: Trade | Quote | Update) -> str:
    """The venue's time of day. Some messages have none: quotes of Binance spot."""
    if not record.time:
        return "--:--:--.---"
    return _time_of_day(_time_ms(record.instrument, record.time))


def _time_of_day(time_ms: int) -> str:
    seconds, ms = divmod(time_ms % 86_400_000, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{ms:03}"


Line = Callable[[Record, int, Sequence[str]], str | None]

LINES: Final[dict[Format, Line]] = {
    Format.TEXT: text_line,
    Format.JSON: json_line,
    Format.CSV: csv_line,
}
"""What each format makes of a record in an epoch, under a header with these columns: None for what
has no place in it."""

CSV_HEADER: Final = csv_text(COLUMNS)
