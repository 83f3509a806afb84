"""What stands in the journal of a run on paper."""

from pathlib import Path

import msgspec
import pytest

from fanout.protocol.constants import InstrumentType, Side
from fanout.protocol.instrument import Instrument
from fanout.trading.exchange.queues import Model
from fanout.trading.orders import OrderEvent, OrderState, OrderType, TimeInForce
from fanout.trading.reports import (
    AccountReport,
    Fill,
    KillReport,
    OrderReport,
    PositionReport,
    QuoteReport,
    RiskDecision,
    Trust,
)
from fanout.trading.running.journal import (
    DAY_NS,
    VERSION,
    Entry,
    JournalError,
    Started,
    decode,
    encode,
    entries,
    file_name,
    is_new_day,
    reports_of,
    whole_lines,
)

BTC = Instrument(
    index=0,
    symbol="BTCUSDT",
    price_exponent=-2,
    quantity_exponent=-3,
    tick=10,
    lot=1,
    base="BTC",
    quote="USDT",
    type=InstrumentType.LINEAR_PERPETUAL,
)
STARTED = Started(
    version=VERSION,
    fanout="0.9",
    venue="sim",
    instruments=(BTC,),
    settings={"strategy": {"name": "basic"}},
    inputs=("tcp://127.0.0.1:9000",),
)
ORDER = OrderReport(
    time_ns=5,
    order_id=1,
    model=Model.PROBABILISTIC,
    event=OrderEvent.SEND,
    state=OrderState.SENT,
    symbol="BTCUSDT",
    side=Side.BID,
    price=100,
    order_type=OrderType.POST_ONLY,
    time_in_force=TimeInForce.GTC,
    quantity=3,
    remaining=3,
)
FILL = Fill(
    time_ns=6,
    order_id=1,
    model=Model.CONSERVATIVE,
    symbol="BTCUSDT",
    side=Side.ASK,
    price=100,
    quantity=10**25,
    remaining=0,
    state=OrderState.FILLED,
    is_maker=True,
    fee="-0.0001",
    trade_id=9,
    position=-(10**25),
)
ENTRIES: tuple[Entry, ...] = (
    STARTED,
    ORDER,
    FILL,
    PositionReport(
        time_ns=6,
        model=Model.CONSERVATIVE,
        symbol="BTCUSDT",
        quantity=1,
        bought=1,
        sold=0,
        fills=1,
        average=100.5,
        realised="0",
        fees="0",
        unrealised=None,
        equity=None,
    ),
    Trust(time_ns=7, symbol="BTCUSDT", is_frozen=True, why="records were lost"),
    RiskDecision(time_ns=7, symbol="BTCUSDT", is_allowed=False, check="position", why="too much"),
    KillReport(time_ns=7, symbol="BTCUSDT", state="cancelling", cause="file", why="x"),
    QuoteReport(
        time_ns=8,
        symbol="BTCUSDT",
        bid_price=None,
        bid_quantity=0,
        ask_price=5,
        ask_quantity=1,
        fair_value=4.5,
        skew=0.0,
        clamps=("the spread is bounded",),
    ),
    AccountReport(time_ns=9, symbol="BTCUSDT", day=3, at_start=0, highest=10**30, equity=-5),
)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: type(entry).__name__)
def test_a_line_gives_back_what_was_written(entry: Entry) -> None:
    line = encode(entry)

    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode(line) == decode(line[:-1]) == entry


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"", "truncated"),
        (b"{}", "type"),
        (b'{"type":"Order"}', "Invalid value 'Order'"),
        (b"\xff\xfe", "malformed"),
        (encode(ORDER)[:40], "truncated"),
        (encode(ORDER).replace(b'"time_ns":5', b'"time_ns":"5"'), "Expected `int`"),
        (encode(STARTED).replace(b'"version":2', b'"version":3'), "reads 1 to 2: use fanout 0.9"),
    ],
)
def test_a_line_that_is_none_is_refused_with_words(line: bytes, words: str) -> None:
    with pytest.raises(JournalError, match=words):
        decode(line)


def test_a_start_of_version_1_is_read() -> None:
    line = encode(STARTED).replace(b'"version":2', b'"version":1').replace(b',"part":1', b"")
    assert decode(line) == msgspec.structs.replace(STARTED, version=1)


def test_a_file_that_is_removed_while_the_journal_is_read_is_passed_over(tmp_path: Path) -> None:
    for number, entry in enumerate((ORDER, ORDER, FILL), start=1):
        (tmp_path / file_name(number)).write_bytes(encode(STARTED) + encode(entry))
    read = reports_of(tmp_path)
    assert next(read) == STARTED
    (tmp_path / file_name(2)).unlink()
    assert list(read) == [ORDER, STARTED, FILL]


@pytest.mark.parametrize(
    ("before_ns", "time_ns", "is_new"),
    [(0, 5 * DAY_NS, False), (1, DAY_NS - 1, False), (DAY_NS - 1, DAY_NS, True), (9, 9, False)],
)
def test_a_day_begins_at_midnight(before_ns: int, time_ns: int, is_new: bool) -> None:
    assert is_new_day(before_ns, time_ns) is is_new


def test_a_torn_last_line_is_no_part_of_a_file_wherever_it_was_cut() -> None:
    whole, torn = encode(STARTED) + encode(ORDER), encode(FILL)

    for length in range(len(torn)):
        data = whole + torn[:length]
        assert whole_lines(data) == len(whole)
        assert list(entries(data.splitlines(keepends=True), "a")) == [STARTED, ORDER]


def test_a_journal_is_read_file_by_file(tmp_path: Path) -> None:
    (tmp_path / file_name(2)).write_bytes(encode(STARTED) + encode(FILL))
    (tmp_path / file_name(1)).write_bytes(encode(STARTED) + encode(ORDER))
    (tmp_path / "kill").write_bytes(b"nothing to read")

    assert list(reports_of(tmp_path)) == [STARTED, ORDER, STARTED, FILL]
    assert list(reports_of(tmp_path / file_name(2))) == [STARTED, FILL]


@pytest.mark.parametrize(
    ("lines", "number"),
    [([encode(ORDER)], 1), ([encode(STARTED), encode(STARTED)], 2), ([encode(STARTED), b"x\n"], 2)],
)
def test_a_damaged_file_is_refused_with_its_line(lines: list[bytes], number: int) -> None:
    with pytest.raises(JournalError, match=f"^a file, line {number}: "):
        list(entries(lines, "a file"))
