"""The stages of a service with many order books: each small form measures all of its figures, and
records that are missing, or that nobody sent, fail a stage."""

import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from tests import captures
from tests.bench import ingest_depth, joiners, pure_client, reconnect
from tests.bench.books_parts.ages import Played, ages_ns, run_of, whole_books_bytes
from tests.bench.books_parts.market import BOOK, Market, dealt
from tests.bench.books_parts.pacing import send
from tests.bench.broadcast.recording import Message
from tests.bench.joiners import p99_ms
from tests.bench.market import sources
from tests.bench.report import Absent, Row
from tests.thoroughness import small_dose


@pytest.fixture
def compiler() -> None:
    if shutil.which("cc") is None:
        pytest.skip("a C compiler is needed")


def goals_of(rows: Sequence[Row | Absent]) -> dict[str, str]:
    assert all(each.value >= 0 for each in rows if isinstance(each, Row) and "-" not in each.name)
    return {each.name: each.goal for each in rows if isinstance(each, Row) and each.goal}


@small_dose
@pytest.mark.usefixtures("compiler")
def test_records_of_many_books_are_measured_at_the_same_instants_and_mixed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ingest_depth, "GOAL_MS", 60_000)
    rows = ingest_depth.run(small=True)
    assert goals_of(rows) == {
        "6 symbols, books at the same instants, p99": "<= 60,000",
        "6 symbols, trades, quotes and books, p99": "<= 60,000",
    }
    rates = [each.value for each in rows if each.unit == "messages/s"]
    assert rates[-1] == pytest.approx(2 * rates[-2])


@pytest.mark.usefixtures("compiler")
@pytest.mark.long
def test_joiners_come_in_every_second_turn_and_a_record_too_few_or_too_many_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs: list[tuple[Market, Played]] = []

    def noted(market: Market, *more: Any) -> Played:
        runs.append((market, run_of(market, *more)))
        return runs[0][1]

    monkeypatch.setattr(joiners, "run_of", noted)
    rows = joiners.run(small=True)
    assert goals_of(rows) == {"6 books, p99 with joiners - without": "<= 1"}
    found = {each.name: each.value for each in rows}
    assert found["6 books, joiners"] == 16
    ((market, played),) = runs
    all_books = whole_books_bytes(played)
    assert all_books > 6 * 2 * 1_000 * 2
    assert found["6 books, a joiner receives"] > all_books / 1_024

    def halved(*arguments: Any) -> Played:
        np.array([2 * all_books, all_books // 2], dtype=np.uint64).tofile(arguments[-1])
        return played

    monkeypatch.setattr(joiners, "run_of", halved)
    with pytest.raises(ValueError, match=f"all books take {all_books:,} at least"):
        joiners.measured(market, joiners.SMALL)
    late = market.messages[-1]
    more = Message(late.at_ns, late.text.replace(b'"u":', b'"u":9'))
    with pytest.raises(ValueError, match=r"1 records of .* did not come"):
        ages_ns(replace(market, messages=[*market.messages, more]), played, joiners.CLIENTS)
    with pytest.raises(ValueError, match="1 records came that were not sent"):
        ages_ns(replace(market, messages=market.messages[:-1]), played, joiners.CLIENTS)


@pytest.mark.usefixtures("compiler")
@pytest.mark.long
def test_a_client_is_measured_in_plain_python() -> None:
    rows = pure_client.run(small=True)
    assert goals_of(rows) == {"4 symbols, fanout, plain, share of a core": "<= 100"}


def test_a_client_is_not_ahead_of_the_sender_that_was_interrupted() -> None:
    received_s: list[float] = []

    def received(_: bytes) -> None:
        received_s.append(time.monotonic())

    ended_s = send(received, [(0.0, b"first"), (0.0, b"last")], time.monotonic())
    assert received_s[0] <= ended_s <= received_s[1]


@pytest.mark.long
def test_books_are_whole_again_after_the_simulator_has_cut_the_connection() -> None:
    rows = reconnect.run(small=True)
    assert goals_of(rows) == {
        "5 books, a cut to all whole": "<= 10",
        "5 books, REST weight of a reconnect": "<= 1,200",
    }
    assert rows[1].value >= 5 * 20


def test_p99_is_of_the_slowest_hundredth() -> None:
    assert p99_ms(np.array([9_000_000, 5_000_000, *[1_000_000] * 98])) == 9


def data_of(message: Message) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(message.text)["data"]
    return data


@pytest.mark.parametrize("in_step", [False, True])
def test_each_symbol_begins_with_a_change_that_joins_its_book(in_step: bool) -> None:
    market = dealt(4, 0.3, in_step=in_step, reach_s=5.0)
    lead, rest = market.messages[: market.lead], market.messages[market.lead :]
    for message, (symbol, begin) in zip(lead, market.begins.items(), strict=True):
        change, book = data_of(message), json.loads(begin.book)
        assert message.text.startswith(b'{"stream":"%b@depth' % symbol.lower().encode())
        assert change["s"] == symbol
        assert change["pu"] <= book["lastUpdateId"] < change["u"]
        assert float(book["bids"][0][0]) < float(book["asks"][0][0])
    assert {data_of(each)["s"] for each in rest} == market.begins.keys()
    assert lead[-1].at_ns < market.lead_ns <= rest[0].at_ns
    times = [each.at_ns for each in market.messages]
    assert times == sorted(times)
    assert (market.begins["S0000USDT"] == market.begins[f"S000{len(sources())}USDT"]) == in_step


def test_a_market_is_played_at_any_rate() -> None:
    market = dealt(2, 0.3, streams=(BOOK,), reach_s=5.0)
    quicker = market.at_rate(10 * market.rate)
    assert quicker.rate == pytest.approx(10 * market.rate, rel=1e-3)
    assert quicker.messages[: market.lead] == market.messages[: market.lead]
    assert {data_of(each)["e"] for each in market.messages} == {"depthUpdate"}


def test_without_recordings_a_synthetic_market_is_dealt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captures, "DATA", tmp_path)
    monkeypatch.delenv("FANOUT_REQUIRE_CAPTURES", raising=False)
    market = dealt(2, 0.5, reach_s=4.0)
    kinds = {data_of(each)["e"] for each in market.messages}
    assert kinds == {"trade", "bookTicker", "depthUpdate"}
