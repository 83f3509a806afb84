"""Captures: what is played and how, and what is said of a file that cannot be."""

import gzip
import json
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from fanout.errors import ConfigError
from fanout.simulator.dialects.base import Dialect
from fanout.simulator.market.capture import PAST_ROWS, Capture
from fanout.simulator.market.capture import survey as survey_of
from fanout.simulator.market.history import History
from fanout.simulator.market.recorded_books import RecordedBooks
from fanout.simulator.market.ticks import Tick, Trade
from tests.captures import capture_path
from tests.fanout.simulator.support import SPOT, USDM, line, payload, trade, write_capture

SPOT_CAPTURE = "venues/binance_spot_trade_bookticker_depth_btcusdt_20240808.gz"
RECORDED = (
    '{"e":"trade","E":1723161256322,"T":1723161256322,"s":"BTCUSDT","t":5266583935,'
    '"p":"61800.30","q":"0.006","X":"MARKET","m":false}'
)
FRAME = f'1723161255088176367 {{"stream":"btcusdt@trade","data":{RECORDED}}}\n'
BOOK = '1723161255088169167 {"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":5}}\n'
UPDATE = '1723161255088179167 { "stream": "btcusdt@depth@0ms", "data": {"u": 6, "b": [] } }\n'
SNAPSHOT = '1723161255088169167 {"lastUpdateId":5,"bids":[["1.0","2"]],"asks":[]}\n'


def played(*paths: Path) -> list[Tick]:
    return list(survey(paths).ticks(0))


def survey(paths: tuple[Path, ...], dialect: Dialect = USDM) -> Capture:
    return survey_of(paths, dialect.reader, dialect.table)


def past(capture: Capture, symbol: str) -> list[Trade]:
    history = History((listing.symbol for listing in capture.listings), 1_000)
    capture.prime(history, 0)
    return history.newest(symbol, 1000)


def test_a_payload_is_sent_as_recorded(tmp_path: Path) -> None:
    path = tmp_path / "capture"
    path.write_text(FRAME)
    (tick,) = played(path)
    assert payload(tick).decode() == RECORDED
    assert (tick.stream, tick.due_ns) == ("BTCUSDT@trade", 0)


def test_an_unusual_spelling_of_a_payload_is_kept(tmp_path: Path) -> None:
    path = write_capture(tmp_path / "capture", (5, trade(symbol="币安人生USDT")))
    (tick,) = played(path)
    assert payload(tick).decode() in path.read_text()
    assert payload(tick).startswith(b'{"e": "trade", ')


def test_quotes_and_updates_are_sent_as_recorded_and_a_snapshot_is_no_message(
    tmp_path: Path,
) -> None:
    path = tmp_path / "capture"
    path.write_text(BOOK + SNAPSHOT + FRAME + UPDATE)
    quote, row, update = played(path)
    assert (quote.stream, payload(quote)) == ("BTCUSDT@bookTicker", b'{"e":"bookTicker","u":5}')
    assert payload(row).decode() == RECORDED
    assert (update.stream, payload(update)) == ("BTCUSDT@depth@0ms", b'{"u": 6, "b": [] }')


def test_other_streams_and_symbols_that_do_not_trade_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "capture"
    others = BOOK.replace("btc", "eth"), BOOK.replace("bookTicker", "depth20"), "5 {}\n"
    path.write_text("".join(others) + FRAME)
    assert len(played(path)) == 1


def test_gzip_is_known_by_its_content_and_not_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "capture.txt"
    path.write_bytes(gzip.compress((BOOK + FRAME).encode()))
    assert len(played(path)) == 2


def test_files_are_merged_by_receive_time(tmp_path: Path) -> None:
    one = write_capture(tmp_path / "one", (100, trade(1)), (300, trade(2)))
    two = write_capture(
        tmp_path / "two", (200, trade(7, symbol="ETHUSDT")), (300, trade(8, symbol="ETHUSDT"))
    )
    ids = [(tick.due_ns, tick.trade.trade_id) for tick in played(one, two) if tick.trade]
    assert ids == [(0, 1), (100, 7), (200, 2), (200, 8)]


def test_the_order_of_lines_is_kept_where_receive_times_go_back(tmp_path: Path) -> None:
    one = write_capture(tmp_path / "one", (100, trade(1)), (90, trade(2)), (120, trade(3)))
    two = write_capture(tmp_path / "two", (95, trade(7, symbol="ETHUSDT")))
    ticks = played(one, two)
    assert [tick.trade.trade_id for tick in ticks if tick.trade] == [7, 1, 2, 3]
    assert [tick.due_ns for tick in ticks] == [0, 5, 5, 25]


def test_a_replay_can_be_started_again(tmp_path: Path) -> None:
    capture = survey((write_capture(tmp_path / "capture", (1, trade(1)), (2, trade(2))),))
    assert list(capture.ticks(0)) == list(capture.ticks(5))


def test_decimals_are_those_of_the_strings(tmp_path: Path) -> None:
    rows = [trade(1, price="5", quantity="7"), trade(2, price="5.125", quantity="10")]
    path = write_capture(tmp_path / "capture", *((n, row) for n, row in enumerate(rows)))
    (listing,) = survey((path,)).listings
    assert (listing.tick_size, listing.step_size) == ("0.001", "1")
    assert (listing.price_precision, listing.quantity_precision) == (3, 0)


def test_a_known_symbol_keeps_its_tick_size_if_the_decimals_agree(tmp_path: Path) -> None:
    (listing,) = survey(
        (write_capture(tmp_path / "capture", (1, trade(price="61800.30"))),)
    ).listings
    assert listing.tick_size == "0.10"


def test_the_past_is_the_first_fills_mirrored_under_ids_of_its_own(tmp_path: Path) -> None:
    rows = [trade(1_000 + n, time_ms=9_000 + n, price=f"{n + 1}.00") for n in range(200)]
    rows[3] = trade(1_003, time_ms=9_003, kind="NA", price="0", quantity="0")
    path = write_capture(tmp_path / "capture", *enumerate(rows))
    capture = survey((path,))
    found = past(capture, "BTCUSDT")
    fills = PAST_ROWS - 1
    assert [row.trade_id for row in found] == list(range(1_000 - fills, 1_000))
    assert [row.price for row in found[-4:]] == ["5.00", "3.00", "2.00", "1.00"]
    times = [row.time_ms for row in found]
    assert times == sorted(times)
    assert times[-1] < 9_000
    streamed = {tick.trade.trade_id for tick in capture.ticks(0) if tick.trade}
    assert streamed.isdisjoint(row.trade_id for row in found)


def test_ids_that_start_at_one_have_no_past(tmp_path: Path) -> None:
    path = write_capture(tmp_path / "capture", *((n, trade(n)) for n in range(1, 9)))
    assert past(survey((path,)), "BTCUSDT") == []


def test_lines_that_a_client_sent_and_answers_of_rest_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "capture"
    sent = '5 > {"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":1}\n'
    path.write_text(sent + "6 = /api/v3/depth?symbol=BTCUSDT {}\n" + FRAME)
    assert len(played(path)) == 1


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ("\n", "receive time"),
        ("garbage\n", "receive time"),
        ('-5 {"stream":"x"}\n', "receive time"),
        ("12.5 {}\n", "receive time"),
        ("15\n", "no whole JSON object"),
        ("15 nothing\n", "no whole JSON object"),
        (BOOK[:60] + "\n", "no whole JSON object"),
        (FRAME[:-20] + "}\n", "(?i)malformed|truncated"),
        (FRAME.replace('"t":', '"u":'), "missing required field `t`"),
        (FRAME.replace('"61800.30"', "61800.30"), "Expected `str`"),
        (FRAME.replace("61800.30", "6180O.30"), "'6180O.30' is not a decimal number"),
        (FRAME.replace("61800.30", ""), "'' is not a decimal number"),
        (FRAME.replace("61800.30", "1e5"), "'1e5' is not a decimal number"),
        (FRAME.replace('"BTCUSDT"', '"ETHUSDT"'), "ETHUSDT on stream btcusdt@trade"),
        ('15 {"a":"@trade",' + '"b":[' * 5_000 + "}\n", "(?i)malformed|recursion"),
    ],
)
def test_a_broken_line_is_named_with_its_file_and_number(
    tmp_path: Path, broken: str, says: str
) -> None:
    path = tmp_path / "capture"
    path.write_text(BOOK + FRAME + broken + FRAME)
    with pytest.raises(ConfigError, match=says) as caught:
        survey((path,))
    assert str(caught.value).startswith(f"{path}, line 3: ")
    assert "\n" not in str(caught.value)


def test_a_frame_with_any_byte_missing_is_refused_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "capture"
    for position in range(len(FRAME) - 1):
        path.write_text(FRAME + FRAME[:position])
        if position == 0:
            assert len(played(path)) == 1
        else:
            with pytest.raises(ConfigError, match="line 2"):
                survey((path,))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere: cannot be read: No such file"):
        survey((tmp_path / "nowhere",))


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        survey((tmp_path,))


def test_an_empty_file_has_nothing_to_replay(tmp_path: Path) -> None:
    path = tmp_path / "capture"
    path.write_text("")
    with pytest.raises(ConfigError, match="nothing to replay"):
        survey((path,))


def test_files_without_trades_have_nothing_to_replay(tmp_path: Path) -> None:
    path = tmp_path / "capture"
    path.write_text(BOOK)
    with pytest.raises(ConfigError, match="nothing to replay"):
        survey((path,))


def test_a_truncated_gzip_file_is_named_with_the_line_where_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "capture.gz"
    path.write_bytes(gzip.compress((FRAME * 5).encode())[:-12])
    with pytest.raises(ConfigError, match=r"capture\.gz.*: cannot be read: Compressed file ended"):
        survey((path,))


def test_a_damaged_gzip_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "capture.gz"
    data = bytearray(gzip.compress("".join(line(trade(n), n) for n in range(500)).encode()))
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(ConfigError, match="line "):
        survey((path,))


def test_a_line_without_an_end_is_refused_at_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fanout.simulator.market.capture.MAX_LINE_BYTES", 64)
    path = tmp_path / "capture"
    path.write_text(FRAME)
    with pytest.raises(ConfigError, match="line 1: has no whole JSON object"):
        survey((path,))


@pytest.mark.long
def test_the_recorded_captures_are_surveyed_and_played_in_full() -> None:
    paths = capture_path("btcusdt_20240808.gz"), capture_path("ethusdt_20240808.gz")
    capture = survey(paths)
    assert {listing.symbol for listing in capture.listings} == {"BTCUSDT", "ETHUSDT"}
    assert {listing.price_precision for listing in capture.listings} == {2}
    sent = list(capture.ticks(0))
    ticks = [each for each in sent if each.trade is not None]
    assert len(ticks) == 35_389
    assert all(before.due_ns <= after.due_ns for before, after in pairwise(ticks))
    assert past(capture, "BTCUSDT")[-1].trade_id == 5_266_583_934


def recorded_lines(name: str) -> list[bytes]:
    """Without their receive times."""
    with gzip.open(capture_path(name)) as lines:
        return [each.partition(b" ")[2].strip() for each in lines]


@pytest.mark.parametrize(
    ("dialect", "name", "kinds"),
    [
        (USDM, "btcusdt_20240808.gz", ("trade", "bookTicker", "depth@0ms")),
        (SPOT, SPOT_CAPTURE, ("trade", "bookTicker", "depth@100ms")),
    ],
)
def test_all_frames_of_a_recording_are_sent_as_recorded(
    dialect: Dialect, name: str, kinds: tuple[str, ...]
) -> None:
    frames = [each for each in recorded_lines(name) if each.startswith(b'{"stream"')]
    capture = survey((capture_path(name),), dialect)
    count = 0
    for tick, frame in zip(capture.ticks(0), frames, strict=True):
        symbol, _, kind = tick.stream.partition("@")
        assert kind in kinds
        stream = f"{symbol.lower()}@{kind}"
        assert dialect.envelope(stream, dialect.payload(tick, microseconds=False)) == frame
        count += 1
    assert count > 40_000


@pytest.mark.long
@pytest.mark.parametrize(("dialect", "name"), [(USDM, "btcusdt_20240808.gz"), (SPOT, SPOT_CAPTURE)])
def test_a_recorded_book_begins_with_the_snapshot_and_follows_the_updates(
    dialect: Dialect, name: str
) -> None:
    lines = recorded_lines(name)
    body = next(each[each.find(b"{") :] for each in lines if b"lastUpdateId" in each)
    sides = [dict(json.loads(body)[side]) for side in ("bids", "asks")]
    last_id = json.loads(body)["lastUpdateId"]
    for frame in (each for each in lines if b'"depthUpdate"' in each):
        update = msgspec.json.decode(frame)["data"]
        if update["u"] > last_id:
            last_id = update["u"]
            for side, rows in zip(sides, (update["b"], update["a"]), strict=True):
                side.update(rows)
    capture = survey((capture_path(name),), dialect)
    asked = capture.recorded_books
    # Nobody asks for a book of these while the recording is replayed.
    unasked = RecordedBooks(asked._read, asked._first, asked._sent)
    assert asked.snapshot("BTCUSDT", 1_000, None).raw == body
    for tick in capture.ticks(0):
        asked.replayed(tick)
        unasked.replayed(tick)
    for books in (asked, unasked):
        found = books.snapshot("BTCUSDT", 100_000, None)
        for side, levels in zip(sides, (found.bids, found.asks), strict=True):
            assert dict(levels) == {price: q for price, q in side.items() if float(q)}
            prices = [float(price) for price, _ in levels]
            assert prices == sorted(prices, reverse=levels is found.bids)
        assert (found.last_id, found.raw) == (last_id, None)


def test_a_message_of_a_book_that_cannot_be_read_is_sent_and_changes_no_book(
    tmp_path: Path,
) -> None:
    path = tmp_path / "capture"
    path.write_text(SNAPSHOT + FRAME + UPDATE.replace('"u": 6', '"u": "six"'))
    assert survey((path,)).recorded_books.snapshot("BTCUSDT", 5, None).last_id == 0
    path.write_text(FRAME + SNAPSHOT + UPDATE.replace('"u": 6', '"u": "six"'))
    capture = survey((path,))
    assert capture.recorded_books.snapshot("BTCUSDT", 5, None).last_id == 5
    sent = list(capture.ticks(0))
    capture.recorded_books.replayed(sent[-1])
    assert payload(sent[-1]) == b'{"u": "six", "b": [] }'
    assert capture.recorded_books.snapshot("BTCUSDT", 5, None).bids == [("1.0", "2")]


def test_a_snapshot_without_a_request_in_a_file_of_two_symbols_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "capture"
    path.write_text(FRAME + BOOK.replace("btc", "eth") + SNAPSHOT)
    assert survey((path,)).recorded_books.snapshot("BTCUSDT", 5, None).last_id == 0
    other = SNAPSHOT.replace(" {", " = https://x/fapi/v1/depth?limit=5&symbol=BTCUSDT {")
    path.write_text(FRAME + BOOK.replace("btc", "eth") + other)
    assert survey((path,)).recorded_books.snapshot("BTCUSDT", 5, None).last_id == 5
