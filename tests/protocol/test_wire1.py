import math
from struct import pack, unpack
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fanout.protocol.constants import MAX_FRAME_BYTES
from fanout.protocol.errors import (
    LimitExceededError,
    MalformedError,
    NotRepresentableError,
    PeerError,
)
from fanout.protocol.varint import append_varint, zigzag
from fanout.protocol.wire1 import (
    PRICE_UNITS,
    UNIT_EXPONENT,
    Wire1Decoder,
    Wire1Encoder,
    Wire1Header,
    Wire1Trade,
    to_units,
)

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
REFERENCE_MS = 1_700_000_000_000
PRICES = (4_500_000_000, 250_050_000, 12_075_000)

GOLDEN_HEADER = bytes.fromhex(
    "01030742544355534454074554485553445407534f4c555344540068e5cf8b01"
    "00000000000000f9e540000000000089a3400000000000305e40"
) + bytes(24)
GOLDEN_TRADES = [
    bytes.fromhex(each)
    for each in (
        "800000e807",
        "010e9e9c01d00f",
        "821cc0b802b817",
        "002ae0d403a01f",
        "812ae0d4038827",
        "022aded403f02e",
    )
]
"""As perp_signal_hft emits them."""

# Trade i is 0.1 * i, 10,000 * i units, above its asset's reference, and at 7 * i ms.
# ETH's first, i = 1: +10,000, zigzag 20,000 = 0x4E20, a0 9c 01. perp_signal_hft takes
# 2500.6 - 2500.5 for 0.0999999999999 and truncates to +9,999, 9e 9c 01.
# SOL's second, i = 5: from +20,000 to +50,000 is +30,000, zigzag 60,000 = 0xEA60, e0 d4 03. There
# 121.25 - 120.95 is 0.2999999999999 and +29,999, de d4 03. ETH's second, i = 4, is +30,000 in
# either: its encoder remembers the exact price, and so its readers stay one unit too low.
CORRECT_TRADES = [
    GOLDEN_TRADES[0],
    bytes.fromhex("010ea09c01d00f"),
    *GOLDEN_TRADES[2:5],
    bytes.fromhex("022ae0d403f02e"),
]


def trade_of(i: int, *, off: int = 0) -> Wire1Trade:
    """The golden trade i, its price `off` units away."""
    return Wire1Trade(
        index=i % 3,
        symbol=SYMBOLS[i % 3],
        time_ms=REFERENCE_MS + 7 * i,
        price=PRICES[i % 3] + 10_000 * i + off,
        quantity=1_000 * (i + 1),
        buyer_is_maker=i % 2 == 0,
    )


def golden_encoder(**changes: Any) -> Wire1Encoder:
    values = {
        "symbols": SYMBOLS,
        "reference_ms": REFERENCE_MS,
        "prices": PRICES,
        "quantities": (0, 0, 0),
    }
    return Wire1Encoder(**{**values, **changes})


def golden_decoder() -> Wire1Decoder:
    decoder = Wire1Decoder()
    decoder.header(GOLDEN_HEADER)
    return decoder


def encode(encoder: Wire1Encoder, trade: Wire1Trade) -> bytes:
    return encoder.trade(
        trade.index, trade.time_ms, trade.price, trade.quantity, trade.buyer_is_maker
    )


def spelled(first: int, *varints: int) -> bytes:
    """A trade of any numbers."""
    out = bytearray([first])
    for each in varints:
        append_varint(out, each)
    return bytes(out)


def of_one(price: int) -> Wire1Encoder:
    return Wire1Encoder(symbols=["A"], reference_ms=0, prices=[price], quantities=[0])


def header_of(
    *, names: bytes = b"\x01A", numbers: bytes = pack("<Qdd", 0, 1.0, 0.0), n: int = 1
) -> bytes:
    return bytes([1, n]) + names + numbers


# The published bytes


def test_the_header_is_the_published_one() -> None:
    assert golden_encoder().header() == GOLDEN_HEADER
    assert Wire1Decoder().header(GOLDEN_HEADER) == Wire1Header(
        symbols=SYMBOLS, reference_ms=REFERENCE_MS, prices=PRICES, quantities=(0, 0, 0)
    )


def test_trades_of_perp_signal_hft_decode_off_by_the_unit_that_it_truncates() -> None:
    decoder = golden_decoder()
    got = [decoder.trade(each) for each in GOLDEN_TRADES]
    offs = [0, -1, 0, 0, -1, -1]
    assert got == [trade_of(i, off=off) for i, off in enumerate(offs)]


def test_trades_decode_exactly_as_they_should_have_been() -> None:
    decoder = golden_decoder()
    assert [decoder.trade(each) for each in CORRECT_TRADES] == [trade_of(i) for i in range(6)]


def test_the_encoder_does_not_truncate_as_perp_signal_hft_does() -> None:
    encoder = golden_encoder()
    assert [encode(encoder, trade_of(i)) for i in range(6)] == CORRECT_TRADES


# Joiners


class FloatReader:
    """State as perp_signal_hft's own reader keeps it: doubles, from the header on."""

    def __init__(self, header: bytes, count: int) -> None:
        self.prices: list[float] = list(unpack(f"<{2 * count}d", header[-16 * count :])[:count])

    def add(self, index: int, delta: int) -> float:
        self.prices[index] += delta / 100_000.0
        return self.prices[index]


PRICE = st.integers(PRICE_UNITS[0], PRICE_UNITS[-1])
QUANTITY = st.integers(0, 2**64 - 1)
TIME_MS = st.integers(0, 2**63 - 1)


@st.composite
def streams(draw: st.DrawFn) -> tuple[Wire1Encoder, list[Wire1Trade | None]]:
    """An encoder and what happens to it: trades, and None where a reader joins. Often an asset
    never trades, and often values follow closely on each other."""
    symbols = draw(st.lists(st.text("ABU_币安", max_size=9), min_size=1, max_size=4))
    count = len(symbols)
    price, time_ms = draw(PRICE), draw(TIME_MS)
    near_prices = st.integers(-300, 300).map(
        lambda step: min(max(price + step, PRICE_UNITS[0]), PRICE_UNITS[-1])
    )
    near_times = st.integers(-300, 300).map(lambda step: min(max(time_ms + step, 0), 2**63 - 1))

    def trade(index: int) -> st.SearchStrategy[Wire1Trade]:
        return st.builds(
            Wire1Trade,
            st.just(index),
            st.just(symbols[index]),
            TIME_MS | near_times,
            PRICE | near_prices,
            QUANTITY | st.integers(0, 300),
            st.booleans(),
        )

    happenings = draw(st.lists(st.none() | st.integers(0, count - 1).flatmap(trade), max_size=25))
    encoder = Wire1Encoder(
        symbols=symbols,
        reference_ms=draw(TIME_MS | near_times),
        prices=[draw(PRICE | near_prices) for _ in symbols],
        quantities=[draw(QUANTITY) for _ in symbols],
    )
    return encoder, happenings


def joined(encoder: Wire1Encoder, newest: dict[int, Wire1Trade]) -> Wire1Decoder:
    """A reader that joins now, and is told the newest trades and no others."""
    decoder = Wire1Decoder()
    decoder.header(encoder.header())
    assert [decoder.trade(each) for each in encoder.newest()] == [
        newest[index] for index in sorted(newest)
    ]
    return decoder


@given(streams())
def test_a_client_that_joins_at_any_time_decodes_every_later_trade_exactly(
    stream: tuple[Wire1Encoder, list[Wire1Trade | None]],
) -> None:
    encoder, happenings = stream
    newest: dict[int, Wire1Trade] = {}
    readers = [joined(encoder, newest)]
    for trade in happenings:
        if trade is None:
            readers.append(joined(encoder, newest))
            continue
        payload = encode(encoder, trade)
        newest[trade.index] = trade
        assert [each.trade(payload) for each in readers] == [trade] * len(readers)


def test_a_joiner_after_trades_gets_the_header_of_now_and_the_newest_trades() -> None:
    encoder = golden_encoder()
    for i in (0, 3, 1):
        encode(encoder, trade_of(i))
    header = Wire1Decoder().header(encoder.header())
    assert header.reference_ms == REFERENCE_MS
    assert header.prices == (trade_of(3).price, trade_of(1).price, PRICES[2])
    assert header.quantities == (trade_of(3).quantity, trade_of(1).quantity, 0)
    # 21 ms and 7 ms after the reference, price delta 0, quantities 4,000 and 2,000.
    assert [each.hex() for each in encoder.newest()] == ["002a00a01f", "010e00d00f"]


def test_there_is_no_newest_trade_before_the_first() -> None:
    assert golden_encoder().newest() == []


@given(streams())
def test_asking_for_header_and_newest_changes_nothing(
    stream: tuple[Wire1Encoder, list[Wire1Trade | None]],
) -> None:
    encoder, happenings = stream
    for trade in happenings:
        if trade is not None:
            encode(encoder, trade)
    assert (encoder.header(), encoder.newest()) == (encoder.header(), encoder.newest())


@given(
    st.integers(0, 10**10),
    st.lists(st.integers(-(10**6), 10**6), max_size=200),
    st.integers(0, 100),
)
def test_a_reader_that_adds_doubles_stays_nearest_to_the_exact_price(
    start: int, steps: list[int], joining: int
) -> None:
    encoder, price = of_one(start), start
    readers = [FloatReader(encoder.header(), 1)]
    for place, step in enumerate(steps):
        if place == joining:
            readers.append(FloatReader(encoder.header(), 1))
        price += step
        encoder.trade(0, place, price, 1, False)
        assert [round(each.add(0, step) * 1e5) for each in readers] == [price] * len(readers)


# The header's doubles


def price_in(header: bytes) -> float:
    (price,) = unpack("<d", header[-16:-8])
    assert isinstance(price, float)
    return price


@given(PRICE | st.integers(0, 10**12) | st.integers(-(10**6), 10**6))
@example(29_000)
@example(-29_000)
@example(PRICE_UNITS[-1])
@example(PRICE_UNITS[0])
def test_truncating_and_rounding_a_price_in_the_header_give_the_same_unit(units: int) -> None:
    header = of_one(units).header()
    price = price_in(header)
    assert round(price * 1e5) == units
    assert int(price * 1e5) == units
    assert Wire1Decoder().header(header).prices == (units,)


@given(st.integers(0, 10**12))
def test_a_price_in_the_header_is_the_nearest_double_or_the_next(units: int) -> None:
    nearest = units / 1e5
    price = price_in(of_one(units).header())
    assert price in (nearest, math.nextafter(nearest, math.inf))
    assert price == nearest or int(nearest * 1e5) != units


def test_a_price_is_moved_only_where_truncation_would_lose_its_unit() -> None:
    assert price_in(of_one(29_000).header()) == 0.29000000000000004
    assert price_in(of_one(-29_000).header()) == -0.29000000000000004
    assert price_in(of_one(28_000).header()) == 0.28


@pytest.mark.parametrize(
    ("price", "units"), [(0.29, 29_000), (-0.29, -29_000), (1.000006, 100_001)]
)
def test_a_price_of_another_encoder_is_read_as_the_nearest_unit(price: float, units: int) -> None:
    header = header_of(numbers=pack("<Qdd", 0, price, 0.29))
    assert Wire1Decoder().header(header).prices == (units,)
    assert Wire1Decoder().header(header).quantities == (29_000,)


@pytest.mark.parametrize("quantity", [0, 29_000, 2**50, 2**53 + 1, 2**63, 2**64 - 1])
def test_a_quantity_in_the_header_is_as_exact_as_doubles_allow(quantity: int) -> None:
    encoder = Wire1Encoder(symbols=["A"], reference_ms=0, prices=[0], quantities=[quantity])
    (got,) = Wire1Decoder().header(encoder.header()).quantities
    assert got == (quantity if quantity <= 2**50 else pytest.approx(quantity, rel=2**-51))


def test_the_longest_header_fits_a_frame() -> None:
    symbols = [f"{index:0>255}" for index in range(127)]
    encoder = Wire1Encoder(symbols=symbols, reference_ms=0, prices=[1] * 127, quantities=[2] * 127)
    decoder = joined(encoder, {})
    assert len(encoder.header()) < MAX_FRAME_BYTES
    last = Wire1Trade(126, symbols[126], 1, 2, 3, True)
    assert decoder.trade(encode(encoder, last)) == last


# What the decoder refuses


@pytest.mark.parametrize("length", range(len(GOLDEN_HEADER)))
def test_a_header_cut_short_anywhere_is_refused(length: int) -> None:
    with pytest.raises(MalformedError):
        Wire1Decoder().header(GOLDEN_HEADER[:length])


@pytest.mark.parametrize("payload", [*GOLDEN_TRADES, *CORRECT_TRADES], ids=bytes.hex)
def test_a_trade_cut_short_anywhere_is_refused(payload: bytes) -> None:
    for length in range(len(payload)):
        with pytest.raises(MalformedError):
            golden_decoder().trade(payload[:length])


@pytest.mark.parametrize("garbage", [b"\0", b"\x80", bytes(8), GOLDEN_TRADES[0]], ids=bytes.hex)
def test_bytes_after_a_header_or_a_trade_in_its_payload_are_refused(garbage: bytes) -> None:
    with pytest.raises(MalformedError):
        Wire1Decoder().header(GOLDEN_HEADER + garbage)
    for payload in GOLDEN_TRADES:
        with pytest.raises(MalformedError, match="payload of"):
            golden_decoder().trade(payload + garbage)


def flips(payload: bytes) -> list[bytes]:
    return [
        (int.from_bytes(payload) ^ 1 << bit).to_bytes(len(payload))
        for bit in range(8 * len(payload))
    ]


def test_a_flipped_bit_is_refused_or_changes_what_is_read() -> None:
    whole = Wire1Decoder().header(GOLDEN_HEADER)
    for damaged in flips(GOLDEN_HEADER):
        decoder = Wire1Decoder()
        try:
            header = decoder.header(damaged)
        except PeerError:
            continue
        # The lowest bits of an f64 are far below a unit.
        assert header != whole or damaged[-48:] != GOLDEN_HEADER[-48:]
        for payload in GOLDEN_TRADES:
            decoder.trade(payload)
    for i, payload in enumerate(CORRECT_TRADES[:3]):
        for damaged in flips(payload):
            try:
                got = golden_decoder().trade(damaged)
            except PeerError:
                continue
            assert got != trade_of(i)


@given(st.binary(max_size=80), st.lists(st.binary(max_size=12), max_size=5))
def test_any_bytes_at_all_are_read_or_refused(header: bytes, trades: list[bytes]) -> None:
    for decoder in (Wire1Decoder(), golden_decoder()):
        for read, payloads in (
            (decoder.header, [header, b"\1\1" + header]),
            (decoder.trade, trades),
        ):
            for payload in payloads:
                try:
                    read(payload)
                except PeerError:
                    continue


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"\x02" + GOLDEN_HEADER[1:], id="wire 2"),
        pytest.param(b"\x00" + GOLDEN_HEADER[1:], id="wire 0"),
        pytest.param(b"START", id="the start of a connection"),
        pytest.param(header_of(names=b"\x01\xff"), id="a name not UTF-8"),
        pytest.param(header_of(names=b"\xffA"), id="a name longer than the payload"),
        pytest.param(header_of(n=2), id="more assets than names"),
        pytest.param(header_of(numbers=pack("<Qdd", 0, math.nan, 0.0)), id="price NaN"),
        pytest.param(header_of(numbers=pack("<Qdd", 0, -math.inf, 0.0)), id="price infinite"),
        pytest.param(header_of(numbers=pack("<Qdd", 0, 1e308, 0.0)), id="price absurd"),
        pytest.param(header_of(numbers=pack("<Qdd", 0, 1.2e10, 0.0)), id="price over 2**50 units"),
        pytest.param(header_of(numbers=pack("<Qdd", 0, -1.2e10, 0.0)), id="price under -2**50"),
        pytest.param(header_of(numbers=pack("<Qdd", 0, 1.0, math.nan)), id="quantity NaN"),
        pytest.param(header_of(numbers=pack("<Qdd", 0, 1.0, math.inf)), id="quantity infinite"),
        pytest.param(header_of(numbers=pack("<Qdd", 0, 1.0, 1.9e14)), id="quantity over 64 bits"),
        pytest.param(header_of(numbers=pack("<Qdd", 0, 1.0, -1e-5)), id="quantity negative"),
        pytest.param(header_of(numbers=pack("<Qdd", 2**63, 1.0, 0.0)), id="time over 63 bits"),
    ],
)
def test_a_header_that_is_not_wire_1_is_refused(payload: bytes) -> None:
    assert Wire1Decoder().header(header_of()).prices == (100_000,)
    with pytest.raises(MalformedError):
        Wire1Decoder().header(payload)


@pytest.mark.parametrize("count", [0, 128, 255])
def test_a_count_of_assets_over_the_limit_is_refused(count: int) -> None:
    with pytest.raises(LimitExceededError, match=str(count)):
        Wire1Decoder().header(
            header_of(n=count, names=b"\x01A" * count, numbers=bytes(8 + 16 * count))
        )
    with pytest.raises(LimitExceededError, match=str(count)):
        Wire1Decoder().header(bytes([1, count]))


def test_a_trade_before_the_header_is_refused() -> None:
    with pytest.raises(MalformedError):
        Wire1Decoder().trade(GOLDEN_TRADES[0])


@pytest.mark.parametrize("first", [3, 0x7F, 0x83, 0xFF])
def test_an_asset_that_is_not_in_the_header_is_refused(first: int) -> None:
    with pytest.raises(MalformedError, match="asset index"):
        golden_decoder().trade(spelled(first, 0, 0, 0))


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(spelled(0, zigzag(-REFERENCE_MS - 1), 0, 0), id="time under 0"),
        pytest.param(spelled(0, zigzag(2**63 - 1), 0, 0), id="time over 63 bits"),
        pytest.param(spelled(0, 0, zigzag(2**50), 0), id="price over 2**50"),
        pytest.param(spelled(0, 0, zigzag(-(2**63)), 0), id="price under -2**50"),
        pytest.param(b"\0\0\0" + b"\xff" * 9 + b"\x02", id="quantity over 64 bits"),
        pytest.param(b"\0\0\x80\0\0", id="a varint longer than it needs to be"),
    ],
)
def test_a_trade_that_leads_out_of_range_is_refused(payload: bytes) -> None:
    with pytest.raises(MalformedError):
        golden_decoder().trade(payload)


def test_a_refused_payload_leaves_the_decoder_as_it_was() -> None:
    decoder = golden_decoder()
    for refused in (spelled(0, 2, zigzag(2**50), 0), spelled(1, 2, 2, 2) + b"\0", b"\x01\x02"):
        with pytest.raises(PeerError):
            decoder.trade(refused)
    with pytest.raises(PeerError):
        decoder.header(GOLDEN_HEADER[:-1])
    assert [decoder.trade(each) for each in CORRECT_TRADES] == [trade_of(i) for i in range(6)]


# What the encoder refuses


def assets(count: int) -> dict[str, Any]:
    return {"symbols": ["A"] * count, "prices": [0] * count, "quantities": [0] * count}


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(assets(0), id="no asset"),
        pytest.param(assets(128), id="too many assets"),
        pytest.param({"prices": PRICES[:2]}, id="a price is missing"),
        pytest.param({"quantities": (0,) * 4}, id="a quantity too many"),
        pytest.param({"symbols": ("A", "B", "币" * 86)}, id="name over 255 bytes"),
        pytest.param({"symbols": ("A", "B", "\ud800")}, id="name not UTF-8"),
        pytest.param({"reference_ms": -1}, id="negative time"),
        pytest.param({"reference_ms": 2**63}, id="time over 63 bits"),
        pytest.param({"prices": (0, 0, 2**50 + 1)}, id="price over 2**50"),
        pytest.param({"prices": (0, 0, -(2**50) - 1)}, id="price under -2**50"),
        pytest.param({"quantities": (0, 0, -1)}, id="negative quantity"),
        pytest.param({"quantities": (0, 0, 2**64)}, id="quantity over 64 bits"),
    ],
)
def test_a_start_that_does_not_fit_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(NotRepresentableError):
        golden_encoder(**changes)


def test_127_assets_and_a_name_of_255_bytes_are_not_refused() -> None:
    golden_encoder(**assets(127))
    golden_encoder(symbols=("A", "B", "币" * 85))


@pytest.mark.parametrize("price", [-(2**50), 2**50])
def test_the_farthest_prices_are_not_refused(price: int) -> None:
    encoder = golden_encoder(prices=(price, 0, 0))
    decoder = Wire1Decoder()
    assert decoder.header(encoder.header()).prices == (price, 0, 0)
    assert decoder.trade(encoder.trade(1, REFERENCE_MS, price, 1, True)).price == price


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"index": 3}, "asset index 3"),
        ({"index": -1}, "asset index -1"),
        ({"time_ms": -1}, "ETHUSDT: time -1"),
        ({"time_ms": 2**63}, "ETHUSDT: time"),
        ({"price": 2**50 + 1}, "ETHUSDT: price"),
        ({"price": 2**63 + PRICES[1]}, "ETHUSDT: price"),
        ({"price": -(2**63)}, "ETHUSDT: price"),
        ({"quantity": -1}, "ETHUSDT: quantity -1"),
        ({"quantity": 2**64}, "ETHUSDT: quantity"),
    ],
)
def test_a_trade_that_does_not_fit_is_refused_and_named_and_changes_nothing(
    changes: dict[str, int], message: str
) -> None:
    encoder = golden_encoder()
    values = {"index": 1, "time_ms": REFERENCE_MS, "price": 1, "quantity": 1, **changes}
    with pytest.raises(NotRepresentableError, match=message):
        encoder.trade(**values, buyer_is_maker=False)
    assert encoder.header() == GOLDEN_HEADER
    assert encoder.newest() == []
    assert [encode(encoder, trade_of(i)) for i in range(6)] == CORRECT_TRADES


# Units


@pytest.mark.parametrize(
    ("value", "exponent", "units"),
    [(29, -2, 29_000), (1, -5, 1), (-7, -4, -70), (3, 0, 300_000), (12, 2, 120_000_000)],
)
def test_a_value_at_an_exponent_is_so_many_units(value: int, exponent: int, units: int) -> None:
    assert to_units(value, exponent) == units


@given(st.integers(-(2**63), 2**64 - 1), st.integers(UNIT_EXPONENT, 8))
def test_units_are_exact_however_large_the_value(value: int, exponent: int) -> None:
    units = to_units(value, exponent)
    assert isinstance(units, int)
    assert divmod(units, 10 ** (exponent + 5)) == (value, 0)


@pytest.mark.parametrize(("value", "exponent"), [(1, -6), (10, -6), (0, -7), (10**18, -18)])
def test_an_exponent_below_the_unit_is_refused_whatever_the_value(
    value: int, exponent: int
) -> None:
    with pytest.raises(NotRepresentableError, match="wire 1's unit"):
        to_units(value, exponent)


def test_a_name_in_an_error_is_fit_for_a_terminal() -> None:
    with pytest.raises(NotRepresentableError, match=r"^\\x1b\[31mX: time -1 is not within"):
        Wire1Encoder(symbols=["\x1b[31mX"], reference_ms=-1, prices=[1], quantities=[1])
