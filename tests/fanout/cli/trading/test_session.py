"""A run apart from tasks: headers that fit or do not, several inputs, and a journal that fails."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import trio
import trio.testing
from msgspec.structs import replace

from fanout.analytics.consumer.merge import Merger
from fanout.cli.analysing.figures import StreamState
from fanout.cli.outcome import OutputError
from fanout.cli.trading import files
from fanout.cli.trading.files import KILL, RESET, RunFiles, ask, locked
from fanout.cli.trading.session import Session
from fanout.cli.trading.watch import Watch
from fanout.errors import ConfigError
from fanout.protocol import DataKinds, Header, Instrument, Reference
from fanout.trading.kill import KillState
from fanout.trading.reports import Fill, KillReport, Report
from fanout.trading.running.checkpoint import Checkpoint
from fanout.trading.running.config import PaperConfig, parse_paper
from fanout.trading.running.journal import Entry, Started, files_in, reports_of
from fanout.trading.settings import JournalSettings
from tests.fanout.cli.trading.test_files import no_room
from tests.fanout.trading.running.test_floor import walk
from tests.fanout.trading.world import X

NOTHING = Reference(price=0, quantity=0, trade_id=0, time=0)

PAPER = """
[trading]
symbols = ["X"]
[exchange]
maker-fee-bps = 1
taker-fee-bps = 1
acknowledge = "3ms"
cancel = "5ms"
[strategy]
name = "basic"
quantity = 3
position-limit = 12
spread-bps = 10
min-spread = 0.5
max-spread = 1
skew-bps = 1
[risk]
order-quantity = 3
order-value = "none"
position = 15
notional = "none"
orders-per-second = "none"
open-orders = 4
price-deviation-bps = "none"
daily-loss = "none"
drawdown = "none"
stale = "none"
"""


def config(text: str = PAPER) -> PaperConfig:
    return parse_paper(text, "paper.toml")


def header(*instruments: Instrument, **others: object) -> Header:
    parts: dict[str, object] = {
        "epoch_ns": 1,
        "next_seq": 1,
        "venue": "sim",
        "instruments": instruments,
        "references": (NOTHING,) * len(instruments),
        "channel": "sim",
        "data": DataKinds.TRADES | DataKinds.BOOK_BY_PRICE,
    }
    return Header(**{**parts, **others})  # type: ignore[arg-type]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunFiles]:
    with locked(str(tmp_path / "paper")) as found:
        yield found


def session(
    run: RunFiles,
    *,
    streams: Sequence[str] = ("tcp://a",),
    text: str = PAPER,
    is_kept: bool = False,
) -> Session:
    return Session(config(text), run, run.earlier(), streams=streams, kept=[is_kept] * len(streams))


def watched(of: Session, run: RunFiles, kill_file: str | None = None) -> Watch:
    return Watch(
        of,
        run,
        kill_file,
        streams=[],
        states=[],
        merger=Merger([False], wait_ns=0, capacity=9),
        clock=lambda: 0.0,
    )


def merged(stream: int, records: Sequence[object]) -> list:  # type: ignore[type-arg]
    return [(stream, each) for each in records]


def test_all_that_is_reported_is_in_the_journal_first(run: RunFiles) -> None:
    one = session(run)
    one.begin(0, header(X))
    said = one.take(merged(0, walk(1)))
    started, *kept = reports_of(run.directory)

    assert isinstance(started, Started)
    assert started.settings["strategy"]["quantity"] == 3
    assert kept == said
    assert [each for each in said if isinstance(each, Fill)]
    assert (one.records, one.rows, one.instruments) == (len(walk(1)), len(said), 1)


def test_a_run_goes_on_where_its_journal_ends(run: RunFiles) -> None:
    """And the records that it has traded on already are left out."""
    records = walk(2, 200)
    one = session(run, is_kept=True)
    one.begin(0, header(X))
    before = one.take(merged(0, records[:100]))
    other = session(run, is_kept=True)
    other.begin(0, header(X))
    said = other.take(merged(0, records))
    last_ns = max(each.time_ns for each in before)
    after = [each for each in said if each.time_ns > last_ns]
    restored = said[: len(said) - len(after)]

    assert after == said[len(restored) :]
    assert restored
    assert other.unsaid() == []
    assert min(each.time_ns for each in after) > last_ns
    assert only_reports(run) == [*before, *restored, *after]


def only_reports(run: RunFiles) -> list[Entry]:
    heads = Started | Checkpoint
    return [each for each in reports_of(run.directory) if not isinstance(each, heads)]


def test_a_run_in_many_files_and_many_starts_reports_what_one_file_has(tmp_path: Path) -> None:
    """And twice the same bytes, however the records come in."""
    records = walk(2, 200)
    texts = []
    for name, most_bytes, size in (("one", 2**30, 200), ("a", 9_000, 7), ("b", 9_000, 50)):
        kept = JournalSettings(segment_bytes=most_bytes)
        with locked(str(tmp_path / name), kept) as run:
            one = session(run, is_kept=True)
            one.begin(0, header(X))
            for at in range(0, len(records), size):
                one.take(merged(0, records[at : at + size]))
        with locked(str(tmp_path / name), kept) as run:
            again = session(run, is_kept=True)
            again.begin(0, header(X))
            again.take(merged(0, [*records, *_later(walk(3, 100))]))
            texts.append((only_reports(run), [p.read_bytes() for p in files_in(run.directory)]))
    whole, one_way, other_way = texts
    assert one_way == other_way
    assert one_way[0] == whole[0]
    assert len(one_way[1]) > 10 > len(whole[1]) == 2


def _later(records: Sequence[object]) -> list[object]:
    hour_ns = 3_600 * 10**9
    return [
        replace(each, received_ns=each.received_ns + hour_ns)  # type: ignore[attr-defined,type-var]
        for each in records
        if getattr(each, "received_ns", 0)
    ]


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ([header(replace(X, symbol="Y"))], "no input has X: there is Y"),
        ([header(X, data=DataKinds.TRADES)], "needs trades and books: serve it with --data"),
        ([header(X, data=DataKinds.BOOK_BY_PRICE)], "needs trades and books"),
        ([header(X), header(X)], "X comes from tcp://0 and from tcp://1: leave one out"),
        (
            [header(X), header(replace(X, symbol="Y"), venue="other")],
            "tcp://1 has other, and this run trades at sim",
        ),
        ([header(replace(X, lot=4))], "strategy.quantity = 3: below the smallest order of X, 4"),
    ],
)
def test_a_header_that_does_not_fit_gets_one_line(
    headers: list[Header], words: str, run: RunFiles
) -> None:
    one = session(run, streams=[f"tcp://{each}" for each in range(len(headers))])
    *early, last = enumerate(headers)
    for each in early:
        one.begin(*each)
    with pytest.raises(ConfigError) as raised:
        one.begin(*last)
    assert words in str(raised.value)
    assert list(reports_of(run.directory)) == []


def test_another_venue_than_that_of_the_journal_is_refused(run: RunFiles) -> None:
    session(run).begin(0, header(X))
    with pytest.raises(ConfigError, match="has other, and this run trades at sim"):
        session(run).begin(0, header(X, venue="other"))
    wrong = PAPER.replace("[exchange]", '[exchange]\nvenue = "okx"')
    with pytest.raises(ConfigError, match="has sim, and this run trades at okx"):
        session(run, text=wrong).begin(0, header(X))


def test_records_wait_until_every_input_has_a_header(run: RunFiles) -> None:
    text = PAPER.replace('["X"]', '["X", "Y"]')
    one = session(run, streams=("tcp://a", "tcp://b"), text=text)
    one.begin(0, header(X))

    assert one.take(merged(0, walk(3, 20))) == []
    assert one.floor is None
    one.begin(1, header(replace(X, symbol="Y")))
    assert one.take([])
    assert one.floor is not None


def test_an_input_that_never_comes_is_named(run: RunFiles) -> None:
    text = PAPER + "[system]\nqueue-records = 10\n"
    one = session(run, streams=("tcp://a", "tcp://b"), text=text)
    one.begin(0, header(X))
    with pytest.raises(ConfigError, match="tcp://b has sent nothing, while"):
        one.take(merged(0, walk(3, 20)))


# The kill switch.


def kills(said: Sequence[Report]) -> list[tuple[str, str]]:
    return [(each.state, each.cause) for each in said if isinstance(each, KillReport)]


def test_a_file_kills_for_as_long_as_it_is_there(run: RunFiles, tmp_path: Path) -> None:
    one = session(run)
    watch = watched(one, run, str(tmp_path / "mine"))
    one.begin(0, header(X))
    one.take(merged(0, walk(4, 40)))
    (tmp_path / "mine").write_text("a reason\n")
    watch.look()
    watch.look()
    one.do(lambda floor: floor.settle())

    assert kills(one.unsaid()) == [("cancelling", "file"), ("latched", "file")]
    ask(run.directory / RESET, "alice")
    watch.look()
    assert one.unsaid() == []
    assert not (run.directory / RESET).exists()
    (tmp_path / "mine").unlink()
    ask(run.directory / RESET, "alice")
    watch.look()
    assert kills(one.unsaid()) == [("armed", "")]


def test_a_kill_file_that_is_there_at_the_start_lets_nothing_be_sent(run: RunFiles) -> None:
    (run.directory / KILL).touch()
    one = session(run)
    watched(one, run)
    one.begin(0, header(X))
    said = [*one.unsaid(), *one.take(merged(0, walk(4, 60)))]

    assert kills(said) == [("cancelling", "file"), ("latched", "file")]
    assert {type(each).__name__ for each in said} == {"KillReport", "Mark", "Trust"}


def test_a_reset_while_orders_are_open_is_refused(
    run: RunFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    one = session(run)
    watch = watched(one, run)
    one.begin(0, header(X))
    one.take(merged(0, walk(4, 40)))
    ask(run.directory / KILL, "fanout paper kill: a test")
    watch.look()
    (run.directory / KILL).unlink()
    assert one.floor is not None
    assert one.floor.desks[0].kill.state is KillState.CANCELLING
    ask(run.directory / RESET, "alice")
    watch.look()

    assert "alice cannot reset the kill switch: the kill switch is cancelling" in (
        capsys.readouterr().err
    )
    assert kills(one.unsaid()) == [("cancelling", "command")]


def test_a_full_disk_cancels_everything_and_ends_the_run(
    run: RunFiles, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    one = session(run)
    one.begin(0, header(X))
    records = walk(5, 90)
    one.take(merged(0, records[:40]))
    before = list(reports_of(run.directory))
    monkeypatch.setattr(files.os, "write", full)
    monkeypatch.setattr(Path, "write_text", no_room)
    with pytest.raises(OutputError, match=r"No space left.* every order is cancelled"):
        one.take(merged(0, records[40:]))
    monkeypatch.undo()
    assert not capsys.readouterr().err  # the kill file is there

    assert one.floor is not None
    assert not one.floor.is_any_armed
    assert list(reports_of(run.directory)) == before
    again = session(run)
    watched(again, run)
    again.begin(0, header(X))
    assert again.floor is not None
    assert not again.floor.is_any_armed


class Quiet:
    """A stream that shows nothing."""

    is_any_ready = False
    heartbeat_ns = 0


def test_the_time_of_a_lost_connection_goes_on_by_the_clock_here(
    run: RunFiles,
) -> None:
    """So that the cancels of a kill come to their end, although no heartbeat comes."""

    async def main() -> None:
        one = session(run, text=PAPER.replace("3ms", "3s").replace("5ms", "5s"))
        state = StreamState("tcp://a", is_kept=False)
        watch = Watch(
            one,
            run,
            None,
            streams=[Quiet()],  # type: ignore[list-item]
            states=[state],
            merger=Merger([False], wait_ns=0, capacity=9),
        )
        one.begin(0, header(X))
        state.is_connected = True
        one.take(merged(0, walk(6, 20)))
        watch.look()
        one.unsaid()
        (run.directory / KILL).touch()
        watch.look()
        await trio.sleep(9)
        watch.look()
        assert kills(one.unsaid()) == [("cancelling", "file")]
        state.is_connected = False
        await trio.sleep(1)
        watch.look()
        assert kills(one.unsaid()) == [("latched", "file")]

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_a_kill_is_done_however_long_the_connection_has_been_lost(run: RunFiles) -> None:
    """Time went on for ten seconds without a record, and no further."""
    here_s = 0.0
    one = session(run, text=PAPER.replace("3ms", "3s").replace("5ms", "5s"))
    watch = Watch(
        one,
        run,
        None,
        streams=[Quiet()],  # type: ignore[list-item]
        states=[StreamState("tcp://a", is_kept=False)],
        merger=Merger([False], wait_ns=0, capacity=9),
        clock=lambda: here_s,
    )
    one.begin(0, header(X))
    one.take(merged(0, walk(6, 20)))
    while here_s < 60:
        if here_s == 30:
            (run.directory / KILL).touch()
        watch.look()
        here_s += 0.5
    killed = [each for each in one.unsaid() if isinstance(each, KillReport)]
    assert kills(killed) == [("cancelling", "file"), ("latched", "file")]
    pulled, latched = killed
    assert latched.time_ns - pulled.time_ns < 6 * 10**9
