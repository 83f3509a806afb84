"""Between the dictionaries of `vectors.json` and the values of `protocol`."""

from typing import Any

from msgspec.structs import replace

from fanout.protocol import (
    Block,
    BlockFlags,
    DataKinds,
    End,
    EndReason,
    Event,
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
    Position,
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
    decode_event,
    encode_block,
    encode_event,
    encode_instruments,
    encode_request,
    opening,
)
from fanout.protocol.framing import frame, unseal

Dict = dict[str, Any]
Value = Header | Block | Event | Request | None
"""None is a frame of unknown kind."""


_KINDS = frozenset(map(int, FrameKind))


def number(value: int | str) -> int:
    """Integers beyond what a double holds are strings in the file."""
    return int(value)


def decoded(payload: bytes, header: Header) -> Value:
    kind = payload[0]
    if kind == FrameKind.TRADES:
        return decode_block(payload, header)
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
    if isinstance(value, Request):
        return frame(encode_request(value))
    assert value is not None, "nobody writes what nobody knows"
    return frame(encode_event(value))


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


def start(told: str | Dict) -> Start | Position:
    if isinstance(told, str):
        return Start(told)
    return Position(epoch_ns=number(told["epoch_ns"]), seq=number(told["seq"]))


def request_of(told: Dict) -> Request:
    return Request(
        start=start(told["start"]),
        slow=SlowPolicy(told["slow"]),
        token=told["token"],
        channel=told["channel"],
    )
