"""Values that no writer may spell: it has to refuse them, and nothing is rounded or clipped."""

from typing import Any

from tests.vectors.spelling import Value
from tests.vectors.values import (
    BTC,
    EPOCH_NS,
    I64_MAX,
    I64_MIN,
    LIFE,
    MAX_SEQ,
    ROWS_HEADER,
    U64_MAX,
    Vector,
    block,
    book,
    end,
    features,
    gap,
    header,
    heartbeat,
    loss,
    next_orders,
    next_quote,
    next_row,
    next_trade,
    next_update,
    orders,
    quotes,
    row,
    status,
)

ALL_BITS = "have all 64 bits, and prices all of an i64"
SEQ = "1 to 2^63 - 1 in every field"
INDEX = "an index that is not in the header"
EXPONENT = "-18 to 8"
CHANNEL = "[a-z0-9][a-z0-9._-]{0,31}"
CHANNEL_TWICE = "each channel once"
NAME = "has no blanks and no control"
COLUMN = "[a-z0-9_]{1,64}"
COLUMNS = "number of columns, 1 to 256; this and the names only if `data` has bit 16"


def vector(name: str, rule: str, value: Value, **more: Any) -> Vector:
    members = {"value": value, **more, "rule": rule}
    return Vector(name=name, about=f"Refuse: {rule}.", members=members)


def refused() -> list[Vector]:
    return [
        *_headers(),
        *_references(),
        *_blocks(),
        *_trades(),
        *_updates(),
        *_features(),
        *_events(),
        *_requests(),
        *_frames(),
    ]


def _headers() -> list[Vector]:
    names = ("", "a b", "a\tb", "\u00a0", "\x7f")
    outside = [
        *((field, each) for field in ("price_exponent", "quantity_exponent") for each in (-19, 9)),
    ]
    return [
        vector("a channel with a capital", CHANNEL, header(channel="Perps")),
        vector("a channel of 33 bytes", CHANNEL, header(channel="c" * 33)),
        vector("another channel with a blank", CHANNEL, header(channels=["a b"])),
        vector("another channel of its own name", CHANNEL_TWICE, header(channels=["perps"])),
        vector("256 other channels", "0 to 255", header(channels=[str(i) for i in range(256)])),
        vector("a base with a blank", NAME, header(BTC | {"base": "B C"})),
        vector("a base of 33 bytes", "at most 32 bytes", header(BTC | {"base": "x" * 33})),
        vector("a tick of -1", ALL_BITS, header(BTC | {"tick": -1})),
        vector("a lot of 2^64", ALL_BITS, header(BTC | {"lot": U64_MAX + 1})),
        vector("a contract of 2^63", ALL_BITS, header(BTC | {"contract_mantissa": I64_MAX + 1})),
        vector("contract_exponent 9", EXPONENT, header(BTC | {"contract_exponent": 9})),
        vector("a symbol twice", "each symbol once", header(BTC, LIFE, BTC)),
        *(vector(f"a symbol {each!a}", NAME, header(BTC | {"symbol": each})) for each in names),
        *(vector(f"a venue {each!a}", NAME, header(venue=each)) for each in names),
        vector("a symbol of 65 bytes", "1 to 64 bytes", header(BTC | {"symbol": "币" * 21 + "xx"})),
        vector("a venue of 33 bytes", "1 to 32 bytes", header(venue="币" * 11)),
        *(
            vector(f"{field} {each}", EXPONENT, header(BTC | {field: each}))
            for field, each in outside
        ),
        vector("time_exponent -10", "-9 to 0", header(BTC | {"time_exponent": -10})),
        vector("time_exponent 1", "-9 to 0", header(BTC | {"time_exponent": 1})),
        vector("a header of number 0", SEQ, header(next_seq=0)),
        vector("a header of number 2^63", SEQ, header(next_seq=MAX_SEQ + 1)),
        vector("an epoch before 1970", ALL_BITS, header(epoch_ns=-1)),
        vector("an epoch of 2^64", ALL_BITS, header(epoch_ns=U64_MAX + 1)),
    ]


def _references() -> list[Vector]:
    beyond = {
        "price": (I64_MIN - 1, I64_MAX + 1),
        "quantity": (-1, U64_MAX + 1),
        "trade_id": (-1, U64_MAX + 1),
        "time": (-1, U64_MAX + 1),
        "update_id": (-1, U64_MAX + 1),
    }
    return [
        vector(
            f"a reference {field} of {each}",
            ALL_BITS,
            header(BTC | {"reference": BTC["reference"] | {field: each}}),
        )
        for field, values in beyond.items()
        for each in values
    ]


def _blocks() -> list[Vector]:
    one = next_trade()
    return [
        vector("no trades", "1 to 1,024", block(1_001)),
        vector("1,025 trades", "1 to 1,024", block(1_001, one), repeat=1_025),
        vector("a block of number 0", SEQ, block(0, one)),
        vector("a block of number 2^63", SEQ, block(MAX_SEQ + 1, one)),
        vector("a block past the last number", SEQ, block(MAX_SEQ, one, one)),
        vector("a snapshot of number 0", SEQ, block(0, one, snapshot=True)),
        vector("received_ns of 2^64", ALL_BITS, block(1_001, one, received_ns=U64_MAX + 1)),
        vector("received_ns of -1", ALL_BITS, block(1_001, one, received_ns=-1)),
        vector("held_ns of 2^64", "at most 64 bits", block(1_001, one, held_ns=U64_MAX + 1)),
        vector("held_ns of -1", "at most 64 bits", block(1_001, one, held_ns=-1)),
        vector("index 2 of 2", "in the header", block(1_001, next_trade(index=2))),
        vector("index 32", "in the header", block(1_001, next_trade(index=32))),
        vector("index 65,535", "in the header", block(1_001, next_trade(index=65_535))),
    ]


def _trades() -> list[Vector]:
    beyond = {
        "price": (I64_MIN - 1, I64_MAX + 1),
        "quantity": (-1, U64_MAX + 1),
        "trade_id": (-1, U64_MAX + 1),
        "time": (-1, U64_MAX + 1),
    }
    return [
        vector(
            f"a trade's {field} of {each}",
            ALL_BITS,
            block(1_001, next_trade(), next_trade(1) | {field: each}),
        )
        for field, values in beyond.items()
        for each in values
    ]


def _updates() -> list[Vector]:
    """Quotes and book updates."""
    makers = {"quotes": (quotes, next_quote), "book": (book, next_update)}
    makers |= {"orders": (orders, next_orders)}
    most = {"quotes": "1 to 1,024", "book": "1 to 512", "orders": "1 to 512"}
    unsigned, price = (-1, U64_MAX + 1), (I64_MIN - 1, I64_MAX + 1)
    of_quotes = {"bid_price": price, "ask_price": price}
    of_quotes |= {"bid_quantity": unsigned, "ask_quantity": unsigned}
    beyond = {"quotes": of_quotes, "book": {}, "orders": {}}
    made = [
        each
        for name, (make, record) in makers.items()
        for each in (
            vector(f"{name}: no records", most[name], make(1_001)),
            vector(f"{name}: a block of number 0", SEQ, make(0, record())),
            vector(f"{name}: a block past the last number", SEQ, make(MAX_SEQ, record(), record())),
            vector(f"{name}: a snapshot of number 0", SEQ, make(0, record(), snapshot=True)),
            vector(
                f"{name}: received_ns of 2^64",
                ALL_BITS,
                make(1_001, record(), received_ns=U64_MAX + 1),
            ),
            vector(f"{name}: held_ns of -1", "at most 64 bits", make(1_001, record(), held_ns=-1)),
            vector(f"{name}: index 2 of 2", "in the header", make(1_001, record(index=2))),
            *(
                vector(
                    f"{name}: {field} of {value}",
                    ALL_BITS,
                    make(1_001, record(), record(1) | {field: value}),
                )
                for field, values in (
                    {"update_id": unsigned, "time": unsigned} | beyond[name]
                ).items()
                for value in values
            ),
        )
    ]
    made += [
        vector("1,025 quotes", "1 to 1,024", quotes(1_001, next_quote()), repeat=1_025),
        vector("513 updates", "1 to 512", book(1_001, next_update(bids=[])), repeat=513),
        vector("513 updates by order", "1 to 512", orders(1_001, next_orders(asks=[])), repeat=513),
        vector(
            "2,049 levels in two updates",
            "at most 2,048 levels together",
            book(
                1_001,
                next_update(bids=[], asks=[[each, 1] for each in range(2_048)]),
                next_update(1, bids=[[1, 1]], asks=[]),
            ),
        ),
        vector(
            "1,537 orders in an update",
            "1,536 orders in the updates of a block",
            orders(1_001, next_orders(bids=[[1, 1, 1]] * 1_000, asks=[[1, 1, 1]] * 537)),
        ),
    ]
    inwards = {"bids": ([5, 1], [6, 1]), "asks": ([6, 1], [5, 1])}
    made += [
        vector(
            f"{side} that {how}",
            "each strictly",
            book(1_001, next_update(bids=[], asks=[]) | {side: levels}),
        )
        for side, turned in inwards.items()
        for how, levels in (("go inwards", list(turned)), ("stand still", [turned[0]] * 2))
    ]
    return made


def _features() -> list[Vector]:
    under = {"header": ROWS_HEADER}
    named = {"channel": "features", "data": 16}
    wide = header(**named, columns=[f"c{place}" for place in range(256)])
    one = next_row()
    return [
        vector("rows without columns", COLUMNS, header(**named)),
        vector("columns without rows", COLUMNS, header(columns=["a"])),
        vector("257 columns", COLUMNS, header(**named, columns=[f"c{i}" for i in range(257)])),
        vector("a column twice", "each column once", header(**named, columns=["a", "a"])),
        *(
            vector(f"a column {each!a}", COLUMN, header(**named, columns=[each]))
            for each in ("", "Mid", "a b", "x" * 65)
        ),
        vector("rows in another channel", "a channel without columns", features(1_001, one)),
        vector("no rows", "1 to 512", features(1_001), **under),
        vector("513 rows", "1 to 512", features(1_001, one), **under, repeat=513),
        vector(
            "29 rows of 256 columns",
            "at most 7,168 values",
            features(1_001, row(5, *[0.5] * 256)),
            header=wide,
            repeat=29,
        ),
        *(
            vector(
                f"a row of {count} values",
                "a field for each column",
                features(1_001, row(5, *[0.5] * count)),
                **under,
            )
            for count in (0, 2, 4)
        ),
        *(
            vector(
                f"a time of a row of {each}",
                ALL_BITS,
                features(1_001, one | {"time_ns": each}),
                **under,
            )
            for each in (-1, U64_MAX + 1)
        ),
        vector("a row of index 2", INDEX, features(1_001, one | {"index": 2}), **under),
        vector(
            "no value and no reason",
            "not 0",
            features(1_001, one | {"absences": [None, None, None]}),
            **under,
        ),
        vector(
            "a value and a reason",
            "if its bit is 0",
            features(1_001, one | {"absences": ["LOST", None, "LOST"]}),
            **under,
        ),
    ]


def _events() -> list[Vector]:
    numbers = {0: "0", MAX_SEQ + 1: "2^63"}
    return [
        *(
            vector(f"a {value['event']} of number {words}", SEQ, value)
            for seq, words in numbers.items()
            for value in (status(seq), gap(seq), loss(min(seq, 1), seq), heartbeat(seq))
        ),
        vector("an end of number -1", "END's `last_seq` from 0", end(-1)),
        vector("an end of number 2^63", SEQ, end(MAX_SEQ + 1)),
        vector("a gap turned round", "first is not after last", gap(1_001, first_id=8, last_id=7)),
        vector("a loss turned round", "first is not after last", loss(8, 7)),
        vector("a status of index 1,024", INDEX, status(1, index=1_024)),
        vector("a status of index 65,535", "or 65,535: the whole feed", status(1, index=65_535)),
        vector("a gap of index 1,024", INDEX, gap(1, index=1_024)),
        vector("a gap of index 65,535", INDEX, gap(1, index=65_535)),
        vector("a why of 256 bytes", "64, 32, 255 bytes", status(1, why="x" * 256)),
        vector("a why of 86 characters", "64, 32, 255 bytes", gap(1, why="行" * 86)),
        vector("a status of since -1", ALL_BITS, status(1, since_ns=-1)),
        vector("a status of since 2^64", ALL_BITS, status(1, since_ns=U64_MAX + 1)),
        vector("a gap up to id 2^64", ALL_BITS, gap(1, last_id=U64_MAX + 1)),
        vector("a gap from id -1", ALL_BITS, gap(1, first_id=-1)),
        vector("a heartbeat at 2^64", ALL_BITS, heartbeat(1, U64_MAX + 1)),
        vector("a wait that stands for never", "4294967295: do not", end(1, retry_ms=2**32 - 1)),
        vector("a wait of 2^32 ms", "u32 retry_ms", end(1, retry_ms=2**32)),
        vector("a wait of -1 ms", "u32 retry_ms", end(1, retry_ms=-1)),
    ]


def _requests() -> list[Vector]:
    starts = {
        "number 0": (EPOCH_NS, 0),
        "number 2^63": (EPOCH_NS, MAX_SEQ + 1),
        "epoch -1": (-1, 1),
        "epoch 2^64": (U64_MAX + 1, 1),
    }
    return [
        *(
            vector(
                f"a request for {name}",
                SEQ if "number" in name else ALL_BITS,
                _request(epoch_ns, seq),
            )
            for name, (epoch_ns, seq) in starts.items()
        ),
        vector(
            "a request of over 4,096 bytes",
            "A request of more than 4,096 bytes",
            {"event": "request", "start": "live", "slow": "skip", "token": "x" * 4_096}
            | {"channel": ""},
        ),
        vector(
            "a request for a channel that cannot be",
            CHANNEL,
            {"event": "request", "start": "live", "slow": "skip", "token": None}
            | {"channel": "a b"},
        ),
    ]


def _request(epoch_ns: int, seq: int) -> Value:
    start = {"epoch_ns": epoch_ns, "seq": seq}
    return {"event": "request", "start": start, "slow": "skip", "token": None, "channel": ""}


def _frames() -> list[Vector]:
    return [
        vector(
            f"a payload of {size:,} bytes", "1 to 65,536", {"event": "frame", "payload_bytes": size}
        )
        for size in (0, 65_537)
    ]
