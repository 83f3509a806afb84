"""`fanout paper` with real processes, real signals and a real service."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from fanout.cli.outcome import OutputError
from fanout.cli.trading import killing
from fanout.cli.trading.files import RunFiles
from fanout.errors import UsageError
from fanout.net import local
from fanout.trading.reports import Fill, KillReport, OrderReport
from fanout.trading.running.journal import Started, file_name, files_in, reports_of
from tests.fanout.cli.processes import (
    FANOUT,
    TIMEOUT_S,
    Process,
    at_once,
    environment,
    fanout,
    started,
)
from tests.fanout.cli.terminals import at_terminal

SIM = ("--venue", "sim", "--assets", "BTCUSDT,ETHUSDT", "--data", "trades,book")
RUN = ("paper", "run")

PAPER = """
[trading]
symbols = ["BTCUSDT", "ETHUSDT"]
[exchange]
maker-fee-bps = 2
taker-fee-bps = 5
acknowledge = "2ms"
cancel = "2ms"
[strategy]
name = "basic"
quantity = 0.01
position-limit = 0.05
spread-bps = 0.1
min-spread = 0.01
max-spread = 100
skew-bps = 0.1
[risk]
order-quantity = 0.01
order-value = 10_000
position = 0.06
notional = 100_000
orders-per-second = 500
open-orders = 4
price-deviation-bps = 100
daily-loss = 5_000
drawdown = 5_000
stale = "none"
kills = ["drawdown"]
"""


@contextmanager
def serving(*transports: str) -> Iterator[tuple[Process, str]]:
    with started(*SIM, "tcp", "--port", "0", *transports) as service:
        yield service, service.until_said("tcp://").split()[-1]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as (_, url):
        yield url


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A journal of market data, and the live run that traded on it beside."""
    place = tmp_path_factory.mktemp("market")
    (place / "paper.toml").write_text(PAPER)
    with serving("journal", "--dir", str(place / "data")) as (service, url):
        with trading(place, url, "--start", "oldest", "--format", "json") as run:
            count, sides = 0, set[int]()
            while count < 400 or len(sides) < 2:
                count += 1
                report = json.loads(run.line())
                if report["type"] == "Fill":
                    sides.add(report["side"])
            assert run.end(signal.SIGINT) == 130
        assert service.end(signal.SIGTERM) == 143
    return str(place)


@contextmanager
def trading(place: Path, *arguments: str, **extra: str) -> Iterator[Process]:
    options = ("--config", str(place / "paper.toml"), "--journal", str(place / "run"))
    with started(*RUN, *options, *arguments, **extra) as process:
        yield process


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "paper.toml").write_text(PAPER)
    return tmp_path


@contextmanager
def closed_port() -> Iterator[int]:
    """A port on which nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def replayed(place: Path, market: str, *more: str) -> subprocess.CompletedProcess[str]:
    options = ("--config", str(place / "paper.toml"), "--journal", str(place / "run"))
    return fanout(*RUN, *options, "--from", f"journal://{market}/data", *more)


def standing(place: Path) -> dict[str, Any]:
    done = at_once("paper", "status", str(place / "run"), "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def until(place: Path, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """How it stands once it is so."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline_s:
        done = at_once("paper", "status", str(place / "run"), "--json")
        if done.returncode == 0 and is_so(now := json.loads(done.stdout)):
            assert isinstance(now, dict)
            return now
    raise AssertionError(f"never so: {done}")


def has_orders(now: dict[str, Any]) -> bool:
    return any(each["orders"] for each in now["desks"]) and bool(now["is_running"])


def states(now: dict[str, Any]) -> set[str]:
    return {each["kill"]["state"] for each in now["desks"]}


def lines_of(directory: Path) -> list[bytes]:
    return (directory / file_name(1)).read_bytes().splitlines()


def test_a_run_from_a_journal_gives_the_same_bytes_twice(place: Path, market: str) -> None:
    one = replayed(place, market)
    (place / "run").rename(place / "one")
    other = replayed(place, market)

    assert one.returncode == other.returncode == 0, one.stderr
    assert one.stdout == other.stdout
    assert lines_of(place / "one") == lines_of(place / "run")
    assert any(isinstance(each, Fill) for each in reports_of(place / "run"))
    assert "bought" in one.stdout
    assert "sold" in one.stdout


def test_a_run_from_a_journal_reports_what_the_live_run_did(place: Path, market: str) -> None:
    done = replayed(place, market)
    assert done.returncode == 0, done.stderr
    # How the stream begins is another way from a journal: the inputs and the first trust differ.
    live, kept = (
        [line for line in lines_of(run)[1:] if b'"Trust"' not in line]
        for run in (Path(market) / "run", place / "run")
    )
    assert len(live) > 300
    assert kept[: len(live)] == live


def test_a_run_that_is_started_again_goes_on_and_does_nothing_twice(
    place: Path, market: str
) -> None:
    whole = replayed(place, market)
    path = place / "run" / file_name(1)
    lines = path.read_bytes().splitlines(keepends=True)
    fills = [number for number, line in enumerate(lines) if b'"type":"Fill"' in line]
    middle = fills[len(fills) // 2]
    path.write_bytes(b"".join(lines[:middle]) + lines[middle][:9])
    again = replayed(place, market)

    assert whole.returncode == again.returncode == 0, again.stderr
    assert "going on with the run in" in again.stderr
    first, *_ = (place / "run" / file_name(2)).read_bytes().splitlines()
    assert json.loads(first)["type"] == "Started"
    before = {each.trade_id for each in reports_of(path) if isinstance(each, Fill)}
    after = {
        each.trade_id for each in reports_of(place / "run" / file_name(2)) if isinstance(each, Fill)
    }
    assert before | after
    assert not before & after
    third = replayed(place, market)
    assert third.returncode == 0
    assert not any(isinstance(each, Fill) for each in reports_of(place / "run" / file_name(3)))


def orders_reported(place: Path) -> int:
    return sum(isinstance(each, OrderReport) for each in reports_of(place / "run"))


def test_a_run_goes_on_live_where_a_journal_ends(place: Path) -> None:
    history = ("--from", f"journal://{place}/data")
    with (
        serving("journal", "--dir", str(place / "data")) as (_, url),
        trading(place, url, *history) as run,
    ):
        run.until_said("going on live at tcp://")
        before = orders_reported(place)
        until(place, lambda _: orders_reported(place) > before + 50)
        assert run.end(signal.SIGTERM) == 143
    frozen = [
        each
        for each in reports_of(place / "run")
        if type(each).__name__ == "Trust" and each.is_frozen and "lost" in each.why  # type: ignore[union-attr]
    ]
    assert frozen == []


# The kill switch.


def test_the_kill_switch_stays_pulled_over_a_restart_until_a_person_resets_it(
    place: Path, url: str
) -> None:
    run = place / "run"
    with trading(place, url) as process:
        until(place, has_orders)
        killed = at_once("paper", "kill", str(run), "--why", "a test")
        assert (killed.returncode, killed.stdout) == (0, "killed: nothing is open\n")
        now = standing(place)
        assert states(now) == {"latched"}
        assert now["desks"][0]["kill"]["cause"] == "command"
        assert now["desks"][0]["kill"]["why"] == "fanout paper kill: a test"
        assert not any(each["orders"] for each in now["desks"])
        process.process.kill()
        process.wait()
    assert standing(place)["is_running"] is False
    with trading(place, url) as process:
        now = until(place, lambda now: bool(now["is_running"]) and bool(now["desks"][0]["bid"]))
        assert states(now) == {"latched"}
        done = at_once("paper", "reset", str(run), "--who", "alice")
        assert (done.returncode, done.stdout) == (0, "armed again by alice\n")
        until(place, has_orders)
        done = at_once("paper", "reset", str(run), "--who", "alice")
        assert (done.returncode, done.stderr) == (
            2,
            f"fanout: the kill switch of {run} is not pulled\n",
        )
        assert process.end(signal.SIGINT) == 130
    said = [each for each in reports_of(run) if isinstance(each, KillReport)]
    assert [each.state for each in said if each.symbol == "BTCUSDT"] == [
        "cancelling",
        "latched",
        "armed",
    ]


def test_a_signal_and_a_file_pull_it(place: Path, url: str) -> None:
    with trading(place, url) as process:
        until(place, has_orders)
        process.process.send_signal(signal.SIGUSR1)
        now = until(place, lambda now: states(now) == {"latched"})
        assert {each["kill"]["cause"] for each in now["desks"]} == {"signal"}
        assert at_once("paper", "reset", str(place / "run"), "--who", "bob").returncode == 0
        until(place, has_orders)
        (place / "run" / "kill").write_text("by hand\n")
        now = until(place, lambda now: states(now) == {"latched"})
        assert {each["kill"]["cause"] for each in now["desks"]} == {"file"}
        assert "by hand" in now["desks"][0]["kill"]["why"]
        process.process.send_signal(signal.SIGTERM)
        assert process.wait() == 143


def test_a_kill_reaches_a_run_that_hangs_and_one_that_has_ended(place: Path, url: str) -> None:
    run = place / "run"
    with trading(place, url) as process:
        until(place, has_orders)
        process.process.send_signal(signal.SIGSTOP)
        (run / "kill").write_text("fanout paper kill\n")
        process.process.send_signal(signal.SIGCONT)
        until(place, lambda now: states(now) == {"latched"})
        assert at_once("paper", "reset", str(run), "--who", "carol").returncode == 0
        until(place, has_orders)
        process.process.kill()
        process.wait()
    killed = at_once("paper", "kill", str(run))
    assert killed.returncode == 0, killed.stderr
    assert "nothing is open; no process runs there" in killed.stdout
    now = standing(place)
    assert states(now) == {"latched"}
    assert not any(each["orders"] for each in now["desks"])
    done = at_once("paper", "reset", str(run), "--who", "dave")
    assert done.stdout == "armed again by dave; no process runs there\n"
    assert states(standing(place)) == {"armed"}


def test_a_feed_that_is_lost_pulls_it_where_that_is_set(place: Path) -> None:
    (place / "paper.toml").write_text(PAPER + "kill-on-feed-loss = true\n")
    with serving() as (service, url), trading(place, url) as process:
        until(place, has_orders)
        assert service.end(signal.SIGTERM) == 143
        now = until(place, lambda now: states(now) == {"latched"})
        assert {each["kill"]["cause"] for each in now["desks"]} == {"feed"}
        assert process.end(signal.SIGINT) == 130


def test_a_strategy_that_raises_stops_its_desk_and_the_others_live_on(
    place: Path, url: str
) -> None:
    (place / "mine.py").write_text(
        "class Mine:\n"
        "    def __init__(self, instrument, **options):\n"
        "        pass\n"
        "    def quote(self, view):\n"
        "        raise RuntimeError('my own mistake')\n"
        "    def filled(self, fill):\n"
        "        pass\n"
        "    def stopped(self, why):\n"
        "        pass\n"
    )
    (place / "paper.toml").write_text(PAPER + '[strategy.ETHUSDT]\nname = "mine:Mine"\n')
    with trading(place, url, PYTHONPATH=str(place)) as process:
        now = until(place, lambda now: has_orders(now) and "latched" in states(now))
        btc, eth = now["desks"]
        assert btc["kill"]["state"] == "armed"
        assert eth["kill"]["why"] == "the strategy's quote() raised RuntimeError: my own mistake"
        assert process.end(signal.SIGINT) == 130


def test_a_reader_who_is_slow_holds_up_neither_trading_nor_a_kill(place: Path, url: str) -> None:
    with trading(place, url, "--format", "json") as process:
        # A pipe holds some three hundred lines, which nobody reads here.
        until(place, lambda now: bool(now["is_running"]) and _newest_order(now) > 200)
        killed = at_once("paper", "kill", str(place / "run"))
        assert killed.stdout == "killed: nothing is open\n"
        assert process.end(signal.SIGINT) == 130
    written = b"".join(path.read_bytes() for path in files_in(place / "run"))
    assert len(written) > 2 * 65_536


def _newest_order(now: dict[str, Any]) -> int:
    return max([each["order_id"] for desk in now["desks"] for each in desk["orders"]], default=0)


# Ends.


def test_a_reader_that_leaves_ends_the_run_without_a_word(place: Path, market: str) -> None:
    script = (
        f"{' '.join(FANOUT)} paper run --config {place}/paper.toml --journal {place}/run "
        f"--from journal://{market}/data --format json | head -n 3"
    )
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {script}"],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=TIMEOUT_S,
    )

    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3
    assert "Traceback" not in done.stderr
    assert list(reports_of(place / "run"))


def test_a_full_disk_ends_the_run_with_one_line(place: Path, market: str) -> None:
    script = (
        # Coverage has a file of its own, which would meet the limit as well.
        f"unset ${{!COV*}}; ulimit -f 8; {' '.join(FANOUT)} paper run --config {place}/paper.toml "
        f"--journal {place}/run --from journal://{market}/data"
    )
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=TIMEOUT_S,
    )

    assert done.returncode == 1
    error = done.stderr.splitlines()[-1]
    assert "File too large: the journal cannot be written: every order is cancelled" in error
    assert "Traceback" not in done.stderr
    assert (place / "run" / "kill").exists()
    assert states(standing(place)) == {"armed"}
    again = replayed(place, market)
    assert again.returncode == 0, again.stderr
    assert "KILLED by file" in again.stdout
    assert states(standing(place)) == {"latched"}


def test_a_second_run_in_the_directory_is_refused(place: Path, url: str) -> None:
    with trading(place, url) as process:
        until(place, has_orders)
        other = fanout(
            *RUN, "--config", str(place / "paper.toml"), "--journal", str(place / "run"), url
        )
        assert other.returncode == 2
        assert f"process {process.process.pid} runs there" in other.stderr
        assert process.end(signal.SIGINT) == 130


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "no input: give an address, or --from journal://DIR"),
        (("--from", "tcp://a:1"), 2, "--from tcp://a:1: journal://DIR/CHANNEL is needed"),
        (("tcp://a:1", "tcp://a:1"), 2, "tcp://a:1 is named twice"),
        (("--from", "journal:///x", "tcp://a:1", "tcp://b:1"), 2, "--from goes with one address"),
        (("--from", "journal:///x", "journal:///y"), 2, "give one of them"),
        (("tcp://a:1", "--no-follow"), 2, "--no-follow is for a journal"),
        (("tcp://a:1", "--config", "/no/such.toml"), 78, "cannot read --config /no/such.toml"),
        (("tcp://a:1", "--cpu", "9999"), 2, "core 9999 is not there"),
        (("tcp://a:1", "--group-b", "239.1.1.1:1"), 2, "--group-b is for multicast://"),
    ],
)
def test_what_cannot_be_asked_for_gets_one_line(
    arguments: tuple[str, ...], code: int, words: str, place: Path
) -> None:
    config = () if "--config" in arguments else ("--config", str(place / "paper.toml"))
    done = at_once(*RUN, *config, "--journal", str(place / "run"), *arguments)

    assert (done.returncode, len(done.stderr.splitlines())) == (code, 1), done.stderr
    assert words in done.stderr


def test_a_kill_file_that_nobody_could_make_is_refused(place: Path) -> None:
    path = place / "absent" / "kill"
    (place / "paper.toml").write_text(f'{PAPER}[system]\nkill-file = "{path}"\n')
    done = at_once(*RUN, "--config", str(place / "paper.toml"), "tcp://a:1")
    assert done.returncode == 78
    assert f"system.kill-file = {path}: there is no folder {path.parent}" in done.stderr


def test_the_environment_counts(place: Path, url: str) -> None:
    options = ("--config", str(place / "paper.toml"), "--journal", str(place / "run"), url)
    refused = at_once(*RUN, *options, API_KEY="abc")
    assert refused.returncode == 78
    assert refused.stderr.startswith("fanout: API_KEY is set: trading on paper has no account")
    unknown = fanout(*RUN, *options, TRADING_SYMBOL="NOSUCH")
    assert unknown.returncode == 2
    assert "NOSUCH" in unknown.stderr
    loud = at_once(*RUN, *options, LOG_LEVEL="loud")
    assert "LOG_LEVEL = 'loud'" in loud.stderr


def test_quotes_are_printed_where_the_log_has_every_detail(place: Path, market: str) -> None:
    options = ("--config", str(place / "paper.toml"), "--from", f"journal://{market}/data")
    quiet = fanout(*RUN, *options, "--journal", str(place / "quiet"))
    loud = fanout(*RUN, *options, "--journal", str(place / "loud"), LOG_LEVEL="debug")
    assert " quotes: buy " not in quiet.stdout
    assert " quotes: buy " in loud.stdout
    others = [each for each in loud.stdout.splitlines() if " quotes: " not in each]
    assert others == quiet.stdout.splitlines()


def test_several_inputs_have_a_desk_for_each_of_their_symbols(place: Path, url: str) -> None:
    other = ("--venue", "sim", "--assets", "SOLUSDT", "--data", "trades,book", "tcp", "--port", "0")
    with started(*other) as service:
        second = service.until_said("tcp://").split()[-1]
        with trading(place, url, second, TRADING_SYMBOL="BTCUSDT,SOLUSDT") as process:
            now = until(place, lambda now: all(each["orders"] for each in now["desks"]))
            assert [each["symbol"] for each in now["desks"]] == ["BTCUSDT", "SOLUSDT"]
            assert process.end(signal.SIGINT) == 130


@pytest.mark.parametrize("who", ["", " ", "x" * 101])
def test_a_reset_needs_a_name(who: str, tmp_path: Path) -> None:
    done = at_once("paper", "reset", str(tmp_path), "--who", who)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "1 to 100 characters" in done.stderr


def test_a_run_that_waits_for_its_inputs_can_be_killed(place: Path) -> None:
    with closed_port() as port, trading(place, f"tcp://127.0.0.1:{port}") as process:
        process.until_said("trying again")
        asked = at_once("paper", "status", str(place / "run"))
        assert (asked.returncode, len(asked.stderr.splitlines())) == (1, 1)
        assert "the run waits for its inputs, and has no desks yet" in asked.stderr
        killed = at_once("paper", "kill", str(place / "run"))
        assert killed.stdout == "killed: the run waits for its inputs, and will send nothing\n"
        reset = at_once("paper", "reset", str(place / "run"), "--who", "alice")
        assert reset.stdout == "the kill file is gone; the run waits for its inputs\n"
        again = at_once("paper", "reset", str(place / "run"), "--who", "alice")
        assert (again.returncode, again.stdout) == (1, "")
        assert process.end(signal.SIGINT) == 130


def test_a_kill_file_that_no_start_has_seen_is_reset_as_well(place: Path, market: str) -> None:
    replayed(place, market)
    (place / "run" / "kill").touch()
    asked = at_once("paper", "status", str(place / "run"))
    assert (
        asked.stderr
        == f"fanout: {place / 'run' / 'kill'} is there: the next start pulls the kill switch\n"
    )
    done = at_once("paper", "reset", str(place / "run"), "--who", "alice")
    assert (done.returncode, done.stdout) == (
        0,
        "the kill file is gone: the next start trades; no process runs there\n",
    )
    assert not (place / "run" / "kill").exists()
    assert at_once("paper", "status", str(place / "run")).stderr == ""


def test_a_reset_that_cannot_be_written_leaves_the_kill_file(
    place: Path, market: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    replayed(place, market)
    assert at_once("paper", "kill", str(place / "run")).returncode == 0
    (place / "run" / "kill").touch()

    def full(*_: object) -> None:
        raise OutputError("cannot write: No space left on device")

    monkeypatch.setattr(RunFiles, "begin", full)
    assert at_once("paper", "reset", str(place / "run"), "--who", "eve").returncode == 1
    assert (place / "run" / "kill").exists()


def test_nothing_is_reset_that_was_not_pulled(place: Path, market: str) -> None:
    replayed(place, market)
    done = at_once("paper", "reset", str(place / "run"), "--who", "eve")
    assert (done.returncode, done.stderr.strip()) == (
        2,
        f"fanout: the kill switch of {place / 'run'} is not pulled",
    )


def test_a_kill_of_a_run_that_ends_meanwhile_cancels_what_it_left(
    place: Path, market: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    replayed(place, market)
    owners = iter(["12345", None, None])
    monkeypatch.setattr(killing, "owner_of", lambda directory: next(owners))
    killed = at_once("paper", "kill", str(place / "run"))
    assert killed.returncode == 0, killed.stderr
    assert killed.stdout.endswith(": nothing is open; no process runs there\n")
    kills = [each for each in reports_of(place / "run") if isinstance(each, KillReport)]
    assert {each.state for each in kills} == {"cancelling", "latched"}


def test_a_kill_waits_for_another_command_that_has_the_directory(
    place: Path, market: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    replayed(place, market)
    real, tries = killing.locked, iter([False, True])

    def locked(directory: str) -> AbstractContextManager[RunFiles]:
        if not next(tries):
            raise UsageError("process 1 runs there")
        return real(directory)

    monkeypatch.setattr(killing, "locked", locked)
    killed = at_once("paper", "kill", str(place / "run"))
    assert killed.returncode == 0, killed.stderr
    assert killed.stdout.endswith(": nothing is open; no process runs there\n")


def test_a_process_that_does_not_answer_is_named(
    place: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(killing, "WAIT_S", 0.2)
    monkeypatch.setattr(local, "TIMEOUT_S", 0.2)
    with trading(place, url) as process:
        until(place, has_orders)
        pid = process.process.pid
        process.process.send_signal(signal.SIGSTOP)
        asked = at_once("paper", "status", str(place / "run"))
        assert asked.returncode == 1
        assert f"process {pid}, which runs in {place / 'run'}, does not answer" in asked.stderr
        killed = at_once("paper", "kill", str(place / "run"))
        assert killed.returncode == 1
        assert f"to end it now: kill -9 {pid}" in killed.stderr
        process.process.send_signal(signal.SIGCONT)
        until(place, lambda now: states(now) == {"latched"})
        assert process.end(signal.SIGINT) == 130


# Status.


def test_a_terminal_shows_the_status_until_it_is_interrupted(place: Path, url: str) -> None:
    with (
        trading(place, url) as process,
        at_terminal("paper", "status", str(place / "run"), "--watch", columns=120) as terminal,
    ):
        until(place, has_orders)
        terminal.until_shown("conservative")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.wait() == 130
        assert "Traceback" not in terminal.raw
        assert process.end(signal.SIGINT) == 130


def test_the_status_comes_over_http_as_well(place: Path, url: str) -> None:
    with trading(place, url, "--http-port", "0") as process:
        http = process.until_said("answering").split()[2].removesuffix("/status,")
        until(place, has_orders)
        done = at_once("paper", "status", http)
        assert done.returncode == 0, done.stderr
        for words in ("BTCUSDT", "conservative *", "probabilistic", "drawdown (kills)"):
            assert words in done.stdout
        with urllib.request.urlopen(f"{http}/metrics", timeout=5) as answer:
            assert b"fanout_paper_rows_total" in answer.read()
        assert process.end(signal.SIGINT) == 130
    rested = at_once("paper", "status", str(place / "run"))
    assert "not running: as its journal leaves it" in rested.stdout
    assert "no market" in rested.stdout


@pytest.mark.parametrize("command", [("status",), ("kill",), ("reset", "--who", "eve")])
def test_a_directory_without_a_run_gets_one_line(command: tuple[str, ...], tmp_path: Path) -> None:
    done = at_once("paper", command[0], str(tmp_path), *command[1:])
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "has no run on paper" in done.stderr
    assert os.listdir(tmp_path) == []


def test_the_journal_says_what_was_traded_with_which_settings(market: str) -> None:
    first, *others = reports_of(Path(market) / "run")
    assert isinstance(first, Started)
    assert [each.symbol for each in first.instruments] == ["BTCUSDT", "ETHUSDT"]
    assert first.settings["strategy"]["name"] == "basic"
    assert {each.symbol for each in others if isinstance(each, OrderReport)} == {
        "BTCUSDT",
        "ETHUSDT",
    }
