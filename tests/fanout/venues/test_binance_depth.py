"""Binance's depth messages: the quick way and the way around it give the same."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fanout.errors import VenueMessageError
from fanout.protocol import Instrument
from fanout.venues.binance import depth
from fanout.venues.binance.depth import twin
from fanout.venues.values import VenueDepth
from tests.twins import outcome, same_outcome, twins_of

Read = Callable[[bytes, Instrument], VenueDepth]


def plain() -> Read:
    return twin.plain["read_depth"]


def compiled() -> Read:
    read: Read = twins_of("fanout.venues.binance._depth").read_depth
    return read


@pytest.fixture(params=[plain, compiled])
def read(request: pytest.FixtureRequest) -> Read:
    made: Read = request.param()
    return made


BTC = Instrument(index=0, symbol="BTCUSDT", price_exponent=-2, quantity_exponent=-3)

DATA: dict[str, Any] = {
    "e": "depthUpdate",
    "E": 1723161256299,
    "T": 1723161256298,
    "s": "BTCUSDT",
    "U": 5123107832006,
    "u": 5123107837557,
    "pu": 5123107831937,
    "b": [["58710.20", "0.014"], ["61496.50", "0.010"]],
    "a": [["61800.30", "2.5"], ["61900", "0"]],
}


def message(*, separators: tuple[str, str] = (",", ":"), **changes: Any) -> bytes:
    data = {name: value for name, value in {**DATA, **changes}.items() if value is not ...}
    envelope = {"stream": "btcusdt@depth@0ms", "data": data}
    return json.dumps(envelope, separators=separators, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    "text",
    [
        message(),
        message(st=1, ps="BTCUSDT"),
        message(separators=(", ", ": ")),
        message(b=[["61496.50", "0.010"], ["58710.20", "0.014"]]),
        message(b=..., a=..., x={}).replace(
            b'"x":{}',
            b'"a":[["61800.30","2.500"],["61900","0"]],"b":' + json.dumps(DATA["b"]).encode(),
        ),
        message(b=[["61496.5", "9"], ["58710.20", "0.014"], ["61496.50", "0.010"]]),
        message(x={"b": [["1", "1"]], "a": []}),
        message(x='"b":[["1","1"]]'),
        message().replace(b'"e":', b'"x":{"b":[["1","1"]],"a":[["1","1"]]},"e":'),
        message().replace(b'"e":', b'"b":[["1.00","1.000"]],"e":'),
    ],
)
def test_a_message_is_read_however_it_is_written(read: Read, text: bytes) -> None:
    found = read(text, BTC)
    assert found.update.instrument is BTC
    assert found.update.bids == [(6149650, 10), (5871020, 14)]
    assert found.update.asks == [(6180030, 2500), (6190000, 0)]
    assert (found.first_id, found.update.update_id) == (5123107832006, 5123107837557)
    assert (found.previous_id, found.update.time) == (5123107831937, 1723161256298)


ORDINARY = (message(), message(st=1), message(ps="BTCUSDT"), message(a=[]), message(b=[], a=[]))


def test_the_ordinary_message_takes_the_quick_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depth, "_decode", None)
    for text in ORDINARY:
        plain()(text, BTC)


def test_the_ordinary_message_is_read_by_the_twin_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [plain()(text, BTC) for text in ORDINARY]
    read = compiled()
    monkeypatch.setitem(twin.plain, "read_depth", None)
    assert [read(text, BTC) for text in ORDINARY] == expected


def test_spot_sends_no_transaction_time_and_no_previous_id(read: Read) -> None:
    found = read(message(T=..., pu=...), BTC)
    assert (found.previous_id, found.update.time) == (None, 1723161256299)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (b"", "depth of the wrong shape"),
        (b"[]", "depth of the wrong shape"),
        (message()[:-1], "depth of the wrong shape"),
        (message() + b"x", "depth of the wrong shape"),
        (message(b=...), "depth of the wrong shape"),
        (message(b=None), "depth of the wrong shape"),
        (message(b=0, a=0), "depth of the wrong shape"),
        (message(b=[["1"]]), "depth of the wrong shape"),
        (message(b=[[1, 2]]), "depth of the wrong shape"),
        (message(u="1"), "depth of the wrong shape"),
        (message(u=-1), "depth of the wrong shape"),
        (message(u=2**64, U=1), "depth of the wrong shape"),
        (message(u=5, U=6), "depth of the wrong shape"),
        (message(T=-1), "depth of the wrong shape"),
        (message(E=...), "depth of the wrong shape"),
        (message(e="trade"), "unexpected event"),
        (message(s="ETHUSDT"), "unexpected event"),
        (message(b=[["61496.501", "1"]]), "depth with a level that cannot be"),
        (message(a=[["61496.50", "-1"]]), "depth with a level that cannot be"),
        (message(a=[["NaN", "1"]]), "depth with a level that cannot be"),
        (message(a=[["1", "1e5"]]), "depth with a level that cannot be"),
        (message(a=[["99999999999999999999", "1"]]), "depth with a level that cannot be"),
        (message(a=[["1" * 100_000, "1"]]), "depth with a level that cannot be"),
    ],
)
def test_what_is_not_as_documented_is_refused(read: Read, text: bytes, kind: str) -> None:
    with pytest.raises(VenueMessageError) as caught:
        read(text, BTC)
    assert caught.value.kind == kind
    assert len(str(caught.value)) < 300


def test_a_message_of_another_instrument_is_refused(read: Read) -> None:
    with pytest.raises(VenueMessageError, match="unexpected event: 'depthUpdate', BTCUSDT"):
        read(message(), replace(BTC, symbol="ETHUSDT"))


def test_an_instrument_of_another_alphabet_or_scale() -> None:
    for text, instrument in (
        (message(s="币安人生USDT"), replace(BTC, symbol="币安人生USDT")),
        (message(), replace(BTC, price_exponent=-8, quantity_exponent=-8)),
        (message(), replace(BTC, price_exponent=0)),
        (message(), replace(BTC, price_exponent=-19)),
    ):
        read_alike(text, instrument)


def read_alike(text: Any, instrument: Instrument = BTC) -> None:
    same_outcome(
        twins_of("fanout.venues.binance._depth"), twin.plain, "read_depth", text, instrument
    )


def test_every_cut_and_every_changed_byte_is_read_alike() -> None:
    text = message(st=1)
    for end in range(len(text)):
        read_alike(text[:end])
        read_alike(text[:end] + b"}}")
    for place in range(len(text)):
        for byte in b'\x00\x1f019e"\\,.:[]{}ubaT\x7f\xff':
            read_alike(text[:place] + bytes([byte]) + text[place + 1 :])


@given(st.data())
def test_fields_in_any_order_and_number_are_read_alike(data: st.DataObject) -> None:
    fields = [f"{json.dumps(name)}:{json.dumps(value)}" for name, value in DATA.items()]
    fields += ['"st":1', '"x":"y"', '"x":01', '"n":null', '"b":[["1.5","1"]]', '"\\u0062":[]']
    fields = data.draw(st.lists(st.sampled_from(fields), max_size=3)) + fields[:9]
    text = ",".join(data.draw(st.permutations(fields)))
    read_alike(b'{"stream":"s","data":{%b}}' % text.replace(" ", "").encode())


def test_what_is_no_message_is_refused_alike() -> None:
    for text in (None, "text", 7, bytearray(message()), memoryview(message())):
        assert outcome(compiled(), text, BTC) == outcome(plain(), text, BTC)
    assert outcome(compiled(), message(), None) == outcome(plain(), message(), None)
