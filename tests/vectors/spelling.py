"""Values of wire 2 spelled as bytes, for the vectors alone.

A second writer, made from WIRE.md and not from `protocol`, so that a fault there does not become
part of what others are checked against. It refuses nothing: most vectors are about what a writer
must not send. A *body* is a payload without its CRC; `sealed` makes a frame of it.

Values are dictionaries in the form that `vectors.json` has them in.
"""

from struct import pack
from typing import Any
from zlib import crc32

Value = dict[str, Any]

TRADE_KINDS = {
    "MARKET": 0,
    "RPI": 1,
    "INSURANCE_FUND": 2,
    "ADL": 3,
    "AGGREGATE": 4,
    "OTHER": 255,
}
STATES = {"CONNECTING": 0, "LIVE": 1, "STALE": 2, "DOWN": 3, "HALTED": 4, "OTHER": 255}
GAP_STATES = {"OPEN": 0, "BACK_FILLED": 1, "UNRECOVERABLE": 2, "NO_TRADE": 3, "OTHER": 255}
LOSS_REASONS = {
    "SLOW": 0,
    "EVICTED": 1,
    "OTHER_EPOCH": 2,
    "QUEUE_FULL": 3,
    "DISCONNECTED": 4,
    "UNANNOUNCED": 5,
    "DAMAGED": 6,
    "OTHER": 255,
}
END_REASONS = {
    "SHUTDOWN": 0,
    "SLOW": 1,
    "AUTH": 2,
    "FULL": 3,
    "FEED_FAILED": 4,
    "BAD_REQUEST": 5,
    "EPOCH_OVER": 6,
    "OTHER": 255,
}

INSTRUMENT_TYPES = {
    "SPOT": 0,
    "LINEAR_PERPETUAL": 1,
    "INVERSE_PERPETUAL": 2,
    "FUTURE": 3,
    "OPTION": 4,
    "INVERSE_FUTURE": 5,
    "OTHER": 255,
}

ABSENCES = {
    "WARMING_UP": 1,
    "NO_BOOK": 2,
    "LOST": 3,
    "NOT_LIVE": 4,
    "ONE_SIDED": 5,
    "CROSSED": 6,
    "TOO_SHALLOW": 7,
    "EMPTY": 8,
    "NOT_FITTED": 9,
    "OTHER": 255,
}

WHOLE_FEED = 65_535
NEVER_MS = 2**32 - 1
MORE = 32
ESCAPE = 64
FLAGGED = 64
BUYER_IS_MAKER = 128
TRADES_AT = 21
"""Where `held_ns` begins in a block's body."""


def uint(value: int, size: int) -> bytes:
    """The `size` lowest bytes of `value`, of either sign."""
    return (value % 2 ** (8 * size)).to_bytes(size, "little")


def framed(payload: bytes) -> bytes:
    return uint(len(payload), 4) + payload


def sealed(body: bytes | bytearray) -> bytes:
    """A frame of `body`, with the CRC that is right for it."""
    return framed(bytes(body) + uint(crc32(body), 4))


def text(words: str) -> bytes:
    return short(words.encode())


def short(data: bytes) -> bytes:
    """`data` behind its length in one byte."""
    return uint(len(data), 1) + data


def varint(value: int) -> bytes:
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F)
    return bytes([each | 0x80 for each in groups[:-1]] + groups[-1:])


def delta(value: int) -> bytes:
    """A difference, taken modulo 2**64, as a zigzag varint."""
    signed = (value + 2**63) % 2**64 - 2**63
    return varint(2 * signed if signed >= 0 else -2 * signed - 1)


def header_body(value: Value, *, count: int | None = None) -> bytes:
    """A header without its instruments."""
    fixed = b"\x02\0" + uint(value["epoch_ns"], 8) + uint(value["next_seq"], 8)
    instruments = len(value["instruments"]) if count is None else count
    return (
        fixed
        + text(value["venue"])
        + text(value["channel"])
        + uint(value["data"], 1)
        + uint(instruments, 2)
        + uint(len(value["channels"]), 1)
        + b"".join(map(text, value["channels"]))
        + columns_bytes(value)
    )


def columns_bytes(value: Value) -> bytes:
    if "columns" not in value:
        return b""
    return uint(len(value["columns"]), 2) + b"".join(map(text, value["columns"]))


def entry(instrument: Value) -> bytes:
    """An instrument without the length of its entry."""
    exponents = ("price_exponent", "quantity_exponent", "time_exponent")
    references = ("price", "quantity", "trade_id", "time", "update_id")
    return (
        text(instrument["symbol"])
        + b"".join(uint(instrument[each], 1) for each in exponents)
        + b"".join(uint(instrument["reference"][each], 8) for each in references)
        + uint(instrument["tick"], 8)
        + uint(instrument["lot"], 8)
        + text(instrument["base"])
        + text(instrument["quote"])
        + uint(INSTRUMENT_TYPES[instrument["type"]], 1)
        + uint(instrument["contract_mantissa"], 8)
        + uint(instrument["contract_exponent"], 1)
    )


RUN_BYTES = 65_536 - 6 - 4
"""What the entries of one INSTRUMENTS may take."""


def instruments_body(instruments: list[Value], first: int = 0) -> bytes:
    return run_body([short(entry(each)) for each in instruments], first)


def run_body(entries: list[bytes], first: int = 0, *, count: int | None = None) -> bytes:
    """INSTRUMENTS with entries that are spelled already."""
    said = len(entries) if count is None else count
    return b"\x25\0" + uint(first, 2) + uint(said, 2) + b"".join(entries)


def run_bodies(instruments: list[Value]) -> list[bytes]:
    """All instruments of a header, as many to a frame as it holds."""
    bodies, run, first = [], list[bytes](), 0
    for each in (short(entry(each)) for each in instruments):
        if sum(map(len, run)) + len(each) > RUN_BYTES:
            bodies.append(run_body(run, first))
            first, run = first + len(run), []
        run.append(each)
    return [*bodies, run_body(run, first)] if run else bodies


BLOCKS = {
    "block": (0x10, "trades"),
    "quotes": (0x11, "quotes"),
    "book": (0x12, "updates"),
    "orders": (0x13, "updates"),
    "features": (0x14, "rows"),
}
"""The first byte of each kind of block, and the name of its records."""


def block_prefix(value: Value, *, ordinary: int = 0, count: int | None = None) -> bytes:
    """Everything before the records."""
    flags = value["back_filled"] + 2 * value["snapshot"]
    kind, records = BLOCKS[value["event"]]
    return (
        bytes((kind, flags, ordinary))
        + uint(len(value[records]) if count is None else count, 2)
        + uint(value["first_seq"], 8)
        + uint(value["received_ns"], 8)
        + varint(value["held_ns"])
    )


def block_body(value: Value, header: Value, *, ordinary: int | None = None) -> bytes:
    """A block of trades. `ordinary` is a trade kind's code: the first trade's if none is given,
    and one that no trade has makes an escape of each."""
    trades = value["trades"]
    kind = TRADE_KINDS[trades[0]["kind"]] if ordinary is None else ordinary
    previous = [each["reference"] for each in header["instruments"]]
    body = block_prefix(value, ordinary=kind)
    for trade in trades:
        body += trade_bytes(trade, previous[trade["index"]], kind)
        previous[trade["index"]] = trade
    return body


def trade_bytes(trade: Value, before: Value, ordinary: int) -> bytes:
    kind, index = TRADE_KINDS[trade["kind"]], trade["index"]
    head = index % 32 + (BUYER_IS_MAKER if trade["buyer_is_maker"] else 0)
    head += (ESCAPE if kind != ordinary else 0) + (MORE if index > 31 else 0)
    return (
        bytes([head])
        + (bytes([kind]) if kind != ordinary else b"")
        + (varint(index // 32) if index > 31 else b"")
        + delta(trade["trade_id"] - before["trade_id"] - 1)
        + delta(trade["time"] - before["time"])
        + delta(trade["price"] - before["price"])
        + varint(trade["quantity"])
    )


def head(index: int, own: int = 0, between: bytes = b"") -> bytes:
    """An item's head with bits of its kind's own, what they announce, and the index."""
    more = MORE if index > 31 else 0
    return bytes([index % 32 + own + more]) + between + (varint(index // 32) if more else b"")


def quotes_body(value: Value, header: Value) -> bytes:
    previous = [
        {**each["reference"], "bid_price": each["reference"]["price"]}
        for each in header["instruments"]
    ]
    body = block_prefix(value)
    for quote in value["quotes"]:
        body += quote_bytes(quote, previous[quote["index"]])
        previous[quote["index"]] = quote
    return body


def quote_bytes(quote: Value, before: Value) -> bytes:
    return (
        head(quote["index"])
        + moment(quote, before)
        + delta(quote["bid_price"] - before["bid_price"])
        + delta(quote["ask_price"] - quote["bid_price"])
        + varint(quote["bid_quantity"])
        + varint(quote["ask_quantity"])
    )


def moment(value: Value, before: Value) -> bytes:
    """The update id and the time."""
    return delta(value["update_id"] - before["update_id"]) + delta(value["time"] - before["time"])


def updates_body(value: Value, header: Value) -> bytes:
    """A block of book updates, by price or by order."""
    side_bytes = orders_bytes if value["event"] == "orders" else levels_bytes
    previous = [each["reference"] for each in header["instruments"]]
    body = block_prefix(value)
    for update in value["updates"]:
        index = update["index"]
        price = header["instruments"][index]["reference"]["price"]
        body += update_head(update) + moment(update, previous[index])
        body += varint(len(update["bids"])) + varint(len(update["asks"]))
        body += side_bytes(update["bids"], price) + side_bytes(update["asks"], price)
        previous[index] = update
    return body


def update_head(update: Value) -> bytes:
    flags = update["whole"] + 2 * update["more"] + 4 * update["top_only"]
    return head(update["index"], FLAGGED if flags else 0, bytes([flags]) if flags else b"")


def levels_bytes(levels: list[list[int]], price: int) -> bytes:
    body = b""
    for each, quantity in levels:
        body += delta(each - price) + varint(quantity)
        price = each
    return body


def orders_bytes(orders: list[list[int]], price: int) -> bytes:
    body, before = b"", 0
    for order_id, each, quantity in orders:
        body += delta(order_id - before) + delta(each - price) + varint(quantity)
        before, price = order_id, each
    return body


def features_body(value: Value) -> bytes:
    """A block of rows."""
    body, before = block_prefix(value), value["received_ns"]
    for row in value["rows"]:
        body += head(row["index"]) + delta(row["time_ns"] - before) + columns_of(row)
        before = row["time_ns"]
    return body


def columns_of(row: Value) -> bytes:
    """The bitmap of a row, and its values or codes."""
    values = row["values"]
    bits = sum(1 << place for place, each in enumerate(values) if each is not None)
    fields = (
        uint(ABSENCES[code], 1) if value is None else pack("<d", value)
        for value, code in zip(values, row["absences"], strict=True)
    )
    return uint(bits, -(-len(values) // 8)) + b"".join(fields)


def status_body(value: Value) -> bytes:
    index = WHOLE_FEED if value["index"] is None else value["index"]
    fixed = bytes((0x20,)) + uint(value["seq"], 8) + uint(index, 2)
    fixed += bytes((STATES[value["state"]],))
    return fixed + uint(value["since_ns"], 8) + text(value["why"])


def gap_body(value: Value) -> bytes:
    fixed = bytes((0x21,)) + uint(value["seq"], 8)
    fixed += uint(value["index"], 2) + bytes((GAP_STATES[value["state"]],))
    return fixed + uint(value["first_id"], 8) + uint(value["last_id"], 8) + text(value["why"])


def loss_body(value: Value) -> bytes:
    numbers = uint(value["first_seq"], 8) + uint(value["last_seq"], 8)
    return bytes((0x22,)) + numbers + bytes((LOSS_REASONS[value["reason"]],))


def heartbeat_body(value: Value) -> bytes:
    return bytes((0x23,)) + uint(value["next_seq"], 8) + uint(value["time_ns"], 8)


def end_body(value: Value) -> bytes:
    retry_ms = NEVER_MS if value["retry_ms"] is None else value["retry_ms"]
    fixed = bytes((0x24,)) + uint(value["last_seq"], 8) + bytes((END_REASONS[value["reason"]],))
    return fixed + uint(retry_ms, 4) + text(value["why"])


EVENT_BODIES = {
    "status": status_body,
    "gap": gap_body,
    "loss": loss_body,
    "heartbeat": heartbeat_body,
    "end": end_body,
}
