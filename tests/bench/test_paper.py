"""The stage gives its rows, and plays the recording; a rival that is missing is named."""

from pathlib import Path
from subprocess import CalledProcessError

import numpy as np
import pytest

from fanout.clients.journal import JournalClient
from fanout.protocol import BookUpdate, Trade
from fanout.trading.strategies.speedups import twin
from tests.bench import paper
from tests.bench.paper_parts import queues, rival
from tests.bench.paper_parts.quoting import STRATEGIES, Quoting
from tests.bench.paper_parts.recorded import events, kept, stream
from tests.bench.paper_parts.replay import decoded, replayed
from tests.bench.printed import noted
from tests.bench.report import Absent, Row
from tests.thoroughness import small_dose


@small_dose
def test_every_part_gives_its_rows() -> None:
    rows = paper.run(small=True)
    names = [each.name for each in rows if isinstance(each, Row)]
    assert {f"a quote: {each}, plain" for each in STRATEGIES} <= set(names)
    assert {paper.TEN, paper.EMPTY, paper.DECODED} <= set(names)
    assert "socket to new quote, the recorded burst, p99" in names
    assert "an order taken from a pool" in names
    assert {paper.RESTART, "a report written"} <= set(names)
    judged = [each.name for each in rows if isinstance(each, Row) and each.goal]
    assert len(judged) == (5 if twin.is_compiled else 1)


def test_the_journal_has_the_records_of_the_recording(tmp_path: Path) -> None:
    records = stream(2)
    with JournalClient(kept(tmp_path, records)) as client:
        found = [each for each in client if isinstance(each, Trade | BookUpdate)]
    assert found == records


def test_the_events_for_hftbacktest_have_each_level_and_trade_and_come_later_than_sent() -> None:
    records = stream(2)
    rows = events(records)
    sizes = [1 if isinstance(each, Trade) else len(each.bids) + len(each.asks) for each in records]
    assert len(rows) == sum(sizes)
    assert (rows["local_ts"] > rows["exch_ts"]).all()
    trade = next(each for each in records if isinstance(each, Trade))
    (row,) = rows[sum(sizes[: records.index(trade)])].reshape(1)
    assert (row["px"], row["qty"]) == (trade.price / 100, trade.quantity / 1000)
    is_sell = bool(int(row["ev"]) & 1 << 28)
    assert is_sell is trade.buyer_is_maker


def test_ten_orders_stand_in_the_journal_that_is_replayed(tmp_path: Path) -> None:
    records = stream(3)
    url = kept(tmp_path, records)
    with_orders, without = replayed(url), replayed(url, orders=False)
    assert with_orders.records == without.records >= len(records)
    assert (with_orders.orders, without.orders) == (10, 0)
    assert sum(with_orders.fills) > 0
    assert decoded(url).records == with_orders.records


def test_each_strategy_quotes_both_sides_in_what_is_measured() -> None:
    for view in Quoting(1).views:
        for strategy in STRATEGIES.values():
            quotes = strategy.quote(view)
            assert quotes is not None
            assert quotes.bids
            assert quotes.asks


def test_a_quote_came_with_the_read_that_ended_its_line() -> None:
    lines = (
        b'{"type":"Started","version":1}\n{"type":"QuoteReport","time_ns":5}\n{"type":"Fi',
        b'll","time_ns":6}\n{"type":"QuoteReport","time_ns":7}\n',
    )
    assert noted([(100, lines[0]), (200, lines[1])], "QuoteReport") == [(100, 5), (200, 7)]
    with pytest.raises(ValueError, match="ends within a line"):
        noted([(100, lines[0])], "QuoteReport")


def test_a_missing_rival_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(rival.VARIABLE, "/nowhere/python")
    assert rival.why_missing() == f"{rival.VARIABLE} names /nowhere/python, which is not there"
    monkeypatch.setenv(rival.VARIABLE, "")
    monkeypatch.setattr(rival, "why_absent", lambda needs: needs["hftbacktest"])
    assert rival.VARIABLE in rival.why_missing()
    rows = paper._replay_rows(paper.SMALL)
    assert [each.name for each in rows if isinstance(each, Absent)] == ["hftbacktest"]


def test_a_rival_that_fails_fails_the_stage(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(rival.VARIABLE, "/bin/false")
    with pytest.raises(CalledProcessError):
        rival.played(stream(1), tmp_path, 1)


def test_what_is_put_into_the_queue_comes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for measure in (queues.called_ns, queues.queued_ns, queues.made_ns, queues.pooled_ns):
        assert measure(50) > 0
    monkeypatch.setattr(queues, "LONE_S", 0)
    assert queues.waited_ns(5) > 0
    assert len(queues._POOL) == queues.POOLED
    assert np.isfinite(queues.waited_ns(1))
