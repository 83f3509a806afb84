"""The stage nats: every trade stands in its stream, and rates, CPU and lags are compared."""

import json
import os
import time

import pytest

from fanout.protocol.jetstream import Stamp, Subject, headers_of
from tests.bench import nats
from tests.bench.nats_parts.kept import is_whole, last_of, runs_of
from tests.bench.report import Row
from tests.protocol.test_session import block
from tests.stand.nats import nats_command
from tests.thoroughness import small_dose


def headers(seq: int, count: int, **of: int) -> dict[str, str]:
    return headers_of(Subject.RECORDS, Stamp(epoch_ns=1, seq=seq, count=count, **of))


def test_a_message_has_the_numbers_of_a_block_or_of_a_trade_in_json() -> None:
    trade = json.dumps({"seq": 5}).encode()
    assert runs_of(headers(5, 3), block(5, 3)) == [range(5, 8)]
    assert runs_of(None, trade) == [range(5, 6)]
    assert is_whole(None)
    assert (last_of(headers(5, 3), block(5, 3)), last_of(None, trade)) == (7, 5)


def test_a_part_of_a_block_has_the_numbers_of_its_symbol() -> None:
    part = headers(5, 4, part=1, parts=2, before=0)
    data = block(5, 1) + block(7, 2)
    assert runs_of(part, data) == [range(5, 6), range(7, 9)]
    assert not is_whole(part)
    assert last_of(part, data) == 4
    assert last_of(headers(5, 4, part=2, parts=2, before=0), block(6, 1)) == 8


def test_headers_that_are_not_those_of_the_block_are_found() -> None:
    with pytest.raises(RuntimeError, match="is not of"):
        runs_of(headers(5, 2), block(5, 3))


def test_the_clock_of_a_process_has_its_user_and_system_time() -> None:
    before_ns = time.process_time_ns()
    assert before_ns <= nats.cpu_ns(os.getpid()) <= time.process_time_ns()


@small_dose
def test_backlogs_are_worked_off_and_a_peak_passes() -> None:
    nats_command()
    rows = [each for each in nats.run(small=True) if isinstance(each, Row)]
    assert {
        "fanout, blocks of 16",
        "JSON, awaited, CPU a trade",
        "fanout, blocks of 16, a message in the stream - its data",
        "fanout, blocks of one, bytes of the stream / of its data",
        "fanout, blocks of 16 / JSON, awaited, trades/s",
        "peak, a block a ms, lag max",
        "peak, a block a ms, by symbol, lag max",
    } < {each.name for each in rows}
    assert all(each.value > 0 for each in rows)
