"""`fanout paper calibrate`, from a journal of market data to a file that a run takes."""

import errno
import json
import os
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from fanout.cli.trading import calibrating
from fanout.cli.trading.calibrations import with_calibrations
from fanout.errors import ConfigError
from fanout.protocol import DataKinds
from fanout.trading.calibrating.calibration import Calibration
from fanout.trading.running.config import paper_of, parse_paper
from tests.clients.test_journal import Folder
from tests.fanout.cli.processes import at_once
from tests.fanout.cli.trading.test_session import PAPER
from tests.fanout.trading.planted import Planted
from tests.protocol.golden import BTC
from tests.stand.channels import new_channel
from tests.stand.journals import Recorder

NS = 1_795_219_200_000_000_000


class Recorded(Planted):
    """A planted stream, in a journal."""

    def __init__(self, path: Path, *, seconds: int, data: DataKinds | None = None) -> None:
        self.channel = new_channel()
        kinds = DataKinds.TRADES | DataKinds.BOOK_BY_PRICE if data is None else data
        header = replace(self.channel.header, epoch_ns=NS, data=kinds)
        self.channel.header = self.channel.log.context = header
        folder = Folder(path, "market")
        recorder = Recorder(folder.files, self.channel)
        super().__init__(3.0, 0.8, 0.5, instrument=BTC)
        self.seconds(seconds)
        recorder.write()
        folder.write()

    def take(self, record: object) -> list:  # type: ignore[type-arg]
        received_ns = NS + record.received_ns  # type: ignore[attr-defined]
        self.channel.publish([record], received_ns=received_ns, held_ns=0)  # type: ignore[list-item]
        return []


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("market") / "journal"
    Recorded(path, seconds=120)
    return f"journal://{path}"


def test_what_was_planted_is_found_and_saved(market: str, tmp_path: Path) -> None:
    out = tmp_path / "btc.json"
    done = at_once("paper", "calibrate", "BTCUSDT", "--from", market, "--out", str(out))
    assert done.returncode == 0, done.stderr
    fit = Calibration.from_json(out.read_bytes())
    assert fit.k == pytest.approx(0.8, abs=4 * fit.k_error)
    assert fit.a == pytest.approx(3, abs=4 * fit.a_error)
    assert (fit.made_for.venue, fit.made_for.symbol) == ("test", "BTCUSDT")
    assert fit.made_from.journal == market
    lines = done.stdout.splitlines()
    assert lines[0].startswith("BTCUSDT at test: ")
    assert any(line.startswith("k      0.") for line in lines)
    assert any(line.startswith("0.2 ") for line in lines)
    assert f"saved to {out}" in done.stderr
    again = at_once("paper", "calibrate", "BTCUSDT", "--from", market, "--out", str(out))
    assert again.returncode == 2
    assert f"{out} exists: --force replaces it" in again.stderr


def test_json_is_the_fit(market: str) -> None:
    done = at_once("paper", "calibrate", "BTCUSDT", "--from", market, "--json")
    assert msgspec.json.decode(done.stdout, type=Calibration).sigma_horizon_ns == 10**9


def test_distances_and_the_horizon_can_be_chosen(market: str) -> None:
    options = ("--nearest", "0.25", "--farthest", "2", "--horizon", "500ms", "--json")
    done = at_once("paper", "calibrate", "BTCUSDT", "--from", market, *options)
    assert done.returncode == 0, done.stderr
    fit = msgspec.json.decode(done.stdout, type=Calibration)
    assert (fit.levels[0].distance, fit.sigma_horizon_ns) == (0.25, 500_000_000)
    assert 1.5 < fit.levels[-1].distance <= 2


def test_a_part_of_the_journal_may_be_too_little(market: str) -> None:
    options = ("--to", "2026-11-21T00:17:10Z")
    done = at_once("paper", "calibrate", "BTCUSDT", "--from", market, *options)
    assert done.returncode == 78
    assert "moves of the mid over 1 s, and 30 are needed for sigma" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_what_was_never_left_out_is_not_counted(market: str) -> None:
    options = ("--start", "2026-11-21T00:17:00.500Z")
    done = at_once("paper", "calibrate", "BTCUSDT", "--from", market, *options)
    assert done.returncode == 0, done.stderr
    assert not any(line.startswith("0 left out") for line in done.stdout.splitlines())
    short = ("--to", "2026-11-21T00:17:02Z")
    done = at_once("paper", "calibrate", "BTCUSDT", "--from", market, *options, *short)
    assert done.returncode == 78
    assert "Left out: 0" not in done.stderr
    assert "; 0 " not in done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--nearest", "0"), "--nearest 0: give a price above 0"),
        (("--nearest", "0.001"), "--nearest"),
        (("--nearest", "2", "--farthest", "1"), "--nearest 2 is not below --farthest 1"),
        (("--horizon", "0s"), "--horizon"),
        (("--start", "live"), "--start live"),
    ],
)
def test_what_cannot_be_asked_for_is_a_usage_error(
    market: str, options: tuple[str, ...], words: str
) -> None:
    done = at_once("paper", "calibrate", "BTCUSDT", "--from", market, *options)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr


def test_a_folder_that_is_not_there_is_refused_before_the_journal_is_read(
    market: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrating, "Arrivals", None)
    out = tmp_path / "absent" / "btc.json"
    done = at_once("paper", "calibrate", "BTCUSDT", "--from", market, "--out", str(out))
    assert done.returncode == 1
    assert f"cannot write {out}: No such file or directory" in done.stderr


def test_a_full_disk_leaves_the_old_file(
    market: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    out = tmp_path / "btc.json"
    out.write_text("mine")
    monkeypatch.setattr(os, "fsync", is_full)
    options = ("--out", str(out), "--force")
    done = at_once("paper", "calibrate", "BTCUSDT", "--from", market, *options)
    assert done.returncode == 1
    assert f"cannot write {out}: No space left on device" in done.stderr
    assert (out.read_text(), len(list(tmp_path.iterdir()))) == ("mine", 1)


@pytest.mark.parametrize("data", [DataKinds.BOOK_BY_PRICE, DataKinds.TRADES | DataKinds.QUOTES])
def test_a_journal_without_trades_or_without_books_is_refused(
    tmp_path: Path, data: DataKinds
) -> None:
    Recorded(tmp_path / "journal", seconds=1, data=data)
    url = f"journal://{tmp_path / 'journal'}"
    done = at_once("paper", "calibrate", "BTCUSDT", "--from", url)
    assert done.returncode == 78
    assert "needs trades and books: record with --data trades,book" in done.stderr


# In a configuration.


def paper(strategy: str) -> str:
    before, after = PAPER.replace('"X"', '"BTCUSDT"').split("[strategy]")
    return f"{before}[strategy]\n{strategy}\n[risk]{after.split('[risk]')[1]}"


GLFT = """name = "glft"
quantity = 3
position-limit = 12
gamma = 0.1
calibration = "{}"
"""


def test_a_run_takes_the_numbers_of_the_file(market: str, tmp_path: Path) -> None:
    out = tmp_path / "btc.json"
    at_once("paper", "calibrate", "BTCUSDT", "--from", market, "--out", str(out))
    config = parse_paper(paper(GLFT.format(out)), "paper.toml")
    found = with_calibrations(config, "test", [BTC])
    fit = Calibration.from_json(out.read_bytes())
    assert float(found.strategies["BTCUSDT"].parameters["k"]) == fit.k
    # The journal of the run has the numbers as well: the file may be another one later.
    own = {name: each for name, each in fit.parameters.items() if name in {"a", "k", "sigma"}}
    assert found.settings["strategy"]["BTCUSDT"] == own
    again = paper_of(json.loads(json.dumps(found.settings)), "the journal's settings")
    assert {**again.strategies["BTCUSDT"].parameters, "calibration": None} == {
        **found.strategies["BTCUSDT"].parameters,
        "calibration": None,
    }
    with pytest.raises(ConfigError, match=f"strategy.calibration = {out}: the fit is for venue te"):
        with_calibrations(config, "else", [BTC])


def test_a_file_that_is_missing_or_damaged_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "btc.json"
    config = parse_paper(paper(GLFT.format(out)), "paper.toml")
    with pytest.raises(ConfigError, match=f"cannot read {out}: No such file"):
        with_calibrations(config, "test", [BTC])
    out.write_text("{}")
    with pytest.raises(ConfigError, match="the file is no calibration, or is damaged"):
        with_calibrations(config, "test", [BTC])


def test_without_the_key_nothing_is_read() -> None:
    text = paper(GLFT.replace('calibration = "{}"', "sigma = 1\nk = 1\na = 1"))
    config = parse_paper(text, "paper.toml")
    assert with_calibrations(config, "test", [BTC]) == config
