"""`fanout tail` and `fanout save` of a journal."""

import signal
from pathlib import Path

import msgspec
import pytest

from fanout.cli.source import parse_start
from fanout.protocol import EndReason, Position
from fanout.protocol.request import Moment
from tests.clients.test_journal import Folder
from tests.fanout.cli.processes import at_once, started

NS = 1_795_219_200_000_000_000
"""2026-11-21, midnight."""


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Two epochs of one channel, of 6 and of 3 trades."""
    folder = Folder(tmp_path / "journal")
    first = folder.story(NS).blocks(1, at_ns=NS + 1).blocks(1, at_ns=NS + 10**9)
    first.channel.end(EndReason.SHUTDOWN, retry_ms=1, why="stopped")
    first.recorder.write()
    folder.story(NS + 10**10).blocks(1, at_ns=NS + 10**10)
    folder.write()
    return f"journal://{tmp_path / 'journal'}"


def lines_of(*arguments: str) -> list[str]:
    result = at_once("tail", *arguments, "--no-follow", "--format", "csv")
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()[1:]


def test_tail_prints_a_journal_from_its_beginning_or_any_place(url: str) -> None:
    assert len(lines_of(url)) == 9
    assert len(lines_of(url, "--start", f"{NS}:5")) == 5
    assert len(lines_of(url, "--start", "2026-11-21T00:00:01Z")) == 6
    assert len(lines_of(url, "--start", str(NS + 10**9 + 1))) == 3
    assert lines_of(url, "--start", "live") == []


def test_tail_tells_where_one_start_of_the_service_ends(url: str) -> None:
    result = at_once("tail", url, "--no-follow")
    assert "END  reason EPOCH_OVER  last_seq 6  retry_ms 0  why stopped" in result.stdout
    assert f"{url}: the service was started anew: numbers begin at 1 again" in result.stderr


def test_tail_waits_for_more(url: str) -> None:
    with started("tail", url) as process:
        for _ in range(10):
            assert process.line()
        assert process.end(signal.SIGINT) == 130


def test_save_ends_with_the_journal(url: str, tmp_path: Path) -> None:
    target = tmp_path / "all.jsonl"
    result = at_once("save", url, str(target))
    assert result.returncode == 0
    assert f"saved 9 trades to {target}" in result.stderr
    rows = [msgspec.json.decode(line) for line in target.read_text().splitlines()]
    assert [each["epoch_ns"] for each in rows] == [NS] * 7 + [NS + 10**10] * 3


def test_a_start_is_a_place_or_a_time() -> None:
    assert parse_start("oldest") == "oldest"
    assert parse_start("7:1001") == Position(epoch_ns=7, seq=1001)
    assert parse_start(str(NS)) == Moment(time_ns=NS)
    for text in (
        "2026-11-21",
        "2026-11-21T00:00Z",
        "2026-11-21T01:00:00+01:00",
        "2026-11-21 00:00",
    ):
        assert parse_start(text) == Moment(time_ns=NS)
    assert parse_start("2026-11-21T00:00:00.000001Z") == Moment(time_ns=NS + 1_000)
