"""Between the dictionaries of `vectors.json` and the values of `protocol`."""

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from fanout.protocol import (
    Absence,
    Block,
    BlockFlags,
    BookBlock,
    BookFlags,
    BookUpdate,
    DataKinds,
    End,
    EndReason,
    Event,
    FeatureBlock,
    FeatureRow,
    FeedState,
    FrameKind,
    Gap,
    GapState,
    Header,
    Heartbeat,
    Instrument,
    InstrumentType,
    Loss,
    LossReason,
    OrderBlock,
    OrderUpdate,
    Position,
    Quote,
    QuoteBlock,
    Record,
    Reference,
    Request,
    SlowPolicy,
    Snapshot,
    Start,
    Status,
    Trade,
    TradeKind,
    decode_block,
    decode_book,
    decode_event,
    decode_features,
    decode_orders,
    decode_quotes,
    encode_block,
    encode_book,
    encode_event,
    encode_features,
    encode_instruments,
    encode_orders,
    encode_quotes,
    encode_request,
    opening,
    pack_levels,
    pack_orders,
)
from fanout.protocol.framing import frame, unseal
from fanout.protocol.request import Begin, Moment

Dict = dict[str, Any]
Updates = QuoteBlock | BookBlock | OrderBlock | FeatureBlock
Value = Header | Block | Updates | Event | Request | None
"""None is a frame of unknown kind."""


_KINDS = frozenset(map(int, FrameKind))


def number(value: int | str) -> int:
    """Integers beyond what a double holds are strings in the file."""
    return int(value)


def decoded(payload: bytes, header: Header) -> Value:
    kind = payload[0]
    if kind == FrameKind.TRADES:
        return decode_block(payload, header)
    if kind == FrameKind.QUOTES:
        return decode_quotes(payload, header)
    if kind == FrameKind.BOOK:
        return decode_book(payload, header)
    if kind == FrameKind.ORDERS:
        return decode_orders(payload, header)
    if kind == FrameKind.FEATURES:
        return decode_features(payload, header)
    if kind not in _KINDS:
        unseal(payload)
        return None
    return decode_event(payload, header)


def encoded(value: Value, header: Header | None) -> bytes:
    """The frames of a value: those of a header and its instruments, or one."""
    if isinstance(value, Header):
        return opening(value)
    if isinstance(value, Block):
        assert header is not None, "a block comes after a header"
        return frame(encode_block(value, header))
    if isinstance(value, Updates):
        assert header is not None, "a block comes after a header"
        return frame(_encoded_updates(value, header))
    if isinstance(value, Request):
        return frame(encode_request(value))
    assert value is not None, "nobody writes what nobody knows"
    return frame(encode_event(value))


def _encoded_updates(value: Updates, header: Header) -> bytes:
    match value:
        case QuoteBlock():
            return encode_quotes(value, header)
        case BookBlock():
            return encode_book(value, header)
        case OrderBlock():
            return encode_orders(value, header)
        case FeatureBlock():
            return encode_features(value, header)


def with_run(told: Dict, header: Header) -> tuple[Header, bytes]:
    """The header that INSTRUMENTS in mid-stream make of another, and their frame."""
    instruments, references = list(header.instruments), list(header.references)
    first, stop = told["first"], told["first"] + len(told["instruments"])
    instruments[first:stop] = [
        _instrument_of(index, each) for index, each in enumerate(told["instruments"], first)
    ]
    references[first:stop] = map(_reference_of, told["instruments"])
    changed = replace(header, instruments=tuple(instruments), references=tuple(references))
    (payload,) = encode_instruments(changed, first, stop)
    return changed, frame(payload)


def records_of(value: Value) -> list[Record]:
    """What a session hands out for it."""
    match value:
        case Block(is_snapshot=True):
            return [Snapshot(trades=tuple(value.trades))]
        case Block():
            return list(value.trades)
        case QuoteBlock() | BookBlock() | OrderBlock() | FeatureBlock():
            return list(value.records)
        case Status() | Gap() | Loss() | End():
            return [value]
    return []


def told(value: Value, kind: int) -> Dict:
    """A value as the file has it."""
    match value:
        case None:
            return {"event": "skipped", "kind": kind}
        case Header():
            return told_header(value)
        case Block():
            return _told_block(value)
        case QuoteBlock():
            return _told_updates(value, "quotes", "quotes", _told_quote)
        case BookBlock():
            return _told_updates(value, "book", "updates", _told_update)
        case OrderBlock():
            return _told_updates(value, "orders", "updates", _told_update)
        case FeatureBlock():
            return _told_updates(value, "features", "rows", _told_row)
        case Request():
            raise AssertionError("readers send them")
    return _told_event(value)


def told_header(header: Header) -> Dict:
    return {
        "event": "header",
        "epoch_ns": header.epoch_ns,
        "next_seq": header.next_seq,
        "venue": header.venue,
        "channel": header.channel,
        "data": int(header.data),
        "channels": list(header.channels),
        "instruments": _told_instruments(header),
        **({"columns": list(header.columns)} if header.columns else {}),
    }


def told_run(payload: bytes, header: Header) -> Dict:
    """INSTRUMENTS in mid-stream, by the header that they made."""
    first, count = (int.from_bytes(payload[at : at + 2], "little") for at in (2, 4))
    instruments = _told_instruments(header)[first : first + count]
    return {"event": "instruments", "first": first, "instruments": instruments}


def _told_instruments(header: Header) -> list[Dict]:
    names = set(Instrument.__struct_fields__) - {"index", "type"}
    references = Reference.__struct_fields__
    return [
        {name: getattr(each, name) for name in names}
        | {"type": each.type.name}
        | {"reference": {name: getattr(reference, name) for name in references}}
        for each, reference in zip(header.instruments, header.references, strict=True)
    ]


def _told_block(block: Block) -> Dict:
    return {
        "event": "block",
        "first_seq": block.first_seq,
        "received_ns": block.received_ns,
        "held_ns": block.held_ns,
        "back_filled": BlockFlags.BACK_FILLED in block.flags,
        "snapshot": block.is_snapshot,
        "trades": [_told_trade(each, block) for each in block.trades],
    }


def _told_trade(trade: Trade, block: Block) -> Dict:
    assert trade.received_ns == block.received_ns
    assert trade.back_filled == (BlockFlags.BACK_FILLED in block.flags)
    return {
        "seq": None if block.is_snapshot else trade.seq,
        "index": trade.instrument.index,
        "kind": trade.kind.name,
        "buyer_is_maker": trade.buyer_is_maker,
        "trade_id": trade.trade_id,
        "time": trade.time,
        "price": trade.price,
        "quantity": trade.quantity,
        "price_text": trade.price_text,
        "quantity_text": trade.quantity_text,
    }


def _told_updates(
    block: Updates, event: str, name: str, told_record: Callable[[Any], Dict]
) -> Dict:
    assert {each.received_ns for each in block.records} == {block.received_ns}
    return {
        "event": event,
        "first_seq": block.first_seq,
        "received_ns": block.received_ns,
        "held_ns": block.held_ns,
        "back_filled": BlockFlags.BACK_FILLED in block.flags,
        "snapshot": block.is_snapshot,
        name: [
            {"seq": None if block.is_snapshot else each.seq, **told_record(each)}
            for each in block.records
        ],
    }


def _told_quote(quote: Quote) -> Dict:
    names = set(Quote.__struct_fields__) - {"instrument", "seq", "received_ns"}
    return {"index": quote.instrument.index} | {name: getattr(quote, name) for name in names}


def _told_update(update: BookUpdate | OrderUpdate) -> Dict:
    return {
        "index": update.instrument.index,
        "whole": update.is_whole,
        "more": update.has_more,
        "top_only": update.is_top_only,
        "update_id": update.update_id,
        "time": update.time,
        "bids": [list(each) for each in update.bids],
        "asks": [list(each) for each in update.asks],
    }


def _told_row(row: FeatureRow) -> Dict:
    return {
        "index": row.instrument.index,
        "time_ns": row.time_ns,
        "values": list(row.values),
        "absences": [Absence(code).name if code else None for code in row.absences],
    }


def _told_event(event: Event) -> Dict:
    told: Dict = {"event": type(event).__name__.lower()}
    for name in event.__struct_fields__:
        value = getattr(event, name)
        if name == "instrument":
            told["index"] = None if value is None else value.index
        else:
            told[name] = value.name if name in ("state", "reason") else value
    return told


def header_of(told: Dict) -> Header:
    return Header(
        epoch_ns=number(told["epoch_ns"]),
        next_seq=number(told["next_seq"]),
        venue=told["venue"],
        channel=told["channel"],
        data=DataKinds(told["data"]),
        channels=tuple(told["channels"]),
        columns=tuple(told.get("columns", ())),
        instruments=tuple(
            _instrument_of(index, each) for index, each in enumerate(told["instruments"])
        ),
        references=tuple(map(_reference_of, told["instruments"])),
    )


def _instrument_of(index: int, told: Dict) -> Instrument:
    texts = ("symbol", "base", "quote")
    numbers = {
        name: number(each)
        for name, each in told.items()
        if name not in (*texts, "type", "reference")
    }
    names = {name: told[name] for name in texts}
    return Instrument(index=index, type=InstrumentType[told["type"]], **names, **numbers)


def _reference_of(told: Dict) -> Reference:
    names = Reference.__struct_fields__
    return Reference(**{name: number(told["reference"][name]) for name in names})


def value_of(told: Dict, header: Header | None, *, repeat: int = 1) -> Value:
    """What a writer is given, valid or not."""
    match told["event"]:
        case "header":
            return header_of(told)
        case "request":
            return request_of(told)
        case "block":
            assert header is not None, "a block comes after a header"
            return _block_of(told, header, repeat)
        case "quotes" | "book" | "orders" | "features":
            assert header is not None, "a block comes after a header"
            return _updates_of(told, header, repeat)
    return _event_of(told, header)


def _block_of(told: Dict, header: Header, repeat: int) -> Block:
    flags = BlockFlags.BACK_FILLED if told["back_filled"] else BlockFlags.NONE
    return Block(
        first_seq=number(told["first_seq"]),
        trades=[_trade_of(each, header) for each in told["trades"] * repeat],
        received_ns=number(told["received_ns"]),
        held_ns=number(told["held_ns"]),
        flags=flags | BlockFlags.SNAPSHOT if told["snapshot"] else flags,
    )


def _updates_of(told: Dict, header: Header, repeat: int) -> Updates:
    flags = BlockFlags.BACK_FILLED if told["back_filled"] else BlockFlags.NONE
    common: Dict = {name: number(told[name]) for name in ("first_seq", "received_ns", "held_ns")}
    common["flags"] = flags | BlockFlags.SNAPSHOT if told["snapshot"] else flags
    match told["event"]:
        case "quotes":
            quotes = [_quote_of(each, header) for each in told["quotes"] * repeat]
            return QuoteBlock(quotes=quotes, **common)
        case "book":
            books = [
                BookUpdate(*_fields_of(each, header, pack_levels))
                for each in told["updates"] * repeat
            ]
            return BookBlock(updates=books, **common)
        case "features":
            rows = [_row_of(each, header) for each in told["rows"] * repeat]
            return FeatureBlock(rows=rows, **common)
    orders = [
        OrderUpdate(*_fields_of(each, header, pack_orders)) for each in told["updates"] * repeat
    ]
    return OrderBlock(updates=orders, **common)


def _quote_of(told: Dict, header: Header) -> Quote:
    names = set(Quote.__struct_fields__) - {"instrument", "seq", "received_ns"}
    numbers = {name: number(told[name]) for name in names}
    return Quote(instrument=_instrument(told["index"], header), **numbers)


def _row_of(told: Dict, header: Header) -> FeatureRow:
    return FeatureRow(
        instrument=_instrument(told["index"], header),
        time_ns=number(told["time_ns"]),
        values=tuple(told["values"]),
        absences=bytes(Absence[each] if each else 0 for each in told["absences"]),
    )


def _fields_of(told: Dict, header: Header, pack: Callable[[Any], bytes]) -> tuple[Any, ...]:
    """The fields of an update, in their order."""
    bids, asks = (
        pack([tuple(map(number, each)) for each in told[side]]) for side in ("bids", "asks")
    )
    flags = BookFlags(told["whole"] + 2 * told["more"] + 4 * told["top_only"])
    instrument = _instrument(told["index"], header)
    return instrument, number(told["update_id"]), number(told["time"]), bids, asks, flags


def _trade_of(told: Dict, header: Header) -> Trade:
    return Trade(
        instrument=_instrument(told["index"], header),
        trade_id=number(told["trade_id"]),
        time=number(told["time"]),
        price=number(told["price"]),
        quantity=number(told["quantity"]),
        buyer_is_maker=told["buyer_is_maker"],
        kind=TradeKind[told["kind"]],
    )


def _instrument(index: int, header: Header | None) -> Instrument:
    known = () if header is None else header.instruments
    if index < len(known):
        return known[index]
    return Instrument(index=index, symbol="NONE", price_exponent=0, quantity_exponent=0)


_EVENTS: dict[str, tuple[type, type | None]] = {
    "status": (Status, FeedState),
    "gap": (Gap, GapState),
    "loss": (Loss, LossReason),
    "heartbeat": (Heartbeat, None),
    "end": (End, EndReason),
}


def _event_of(told: Dict, header: Header | None) -> Event:
    type_, codes = _EVENTS[told["event"]]
    fields: Dict = {}
    for name, value in told.items():
        if name == "index":
            fields["instrument"] = None if value is None else _instrument(value, header)
        elif codes is not None and name in ("state", "reason"):
            fields[name] = codes[value]  # type: ignore[index]
        elif name not in ("event", "why"):
            fields[name] = None if value is None else number(value)
    event: Event = type_(**fields, **({"why": told["why"]} if "why" in told else {}))
    return event


def start(told: str | Dict) -> Begin:
    if isinstance(told, str):
        return Start(told)
    if "time_ns" in told:
        return Moment(time_ns=number(told["time_ns"]))
    return Position(epoch_ns=number(told["epoch_ns"]), seq=number(told["seq"]))


def request_of(told: Dict) -> Request:
    return Request(
        start=start(told["start"]),
        slow=SlowPolicy(told["slow"]),
        token=told["token"],
        channel=told["channel"],
    )
