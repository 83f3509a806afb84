"""A transport from outside the package is one entry: options, command, check and run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fanout.transports import TRANSPORTS, entry_of, make_transport, register
from fanout.transports.journal.config import JournalConfig
from fanout.transports.journal.transport import JournalTransport
from fanout.transports.multicast import MulticastConfig, MulticastTransport
from fanout.transports.ring import RingConfig, RingTransport
from fanout.transports.shm import ShmTransport
from fanout.transports.shm.config import ShmConfig
from fanout.transports.slots.config import SlotsConfig
from fanout.transports.slots.transport import SlotsTransport
from fanout.transports.tcp import TcpTransport
from fanout.transports.tcp.config import TcpConfig
from tests.fanout.cli.processes import environment

PROGRAM = Path(__file__).with_name("lines_transport.py")


def lines(*arguments: str) -> tuple[int, str, str]:
    """`fanout` with a transport more, run to its end."""
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment(PYTHONPATH=str(PROGRAM.parents[3])),
    )
    return done.returncode, done.stdout, done.stderr


def test_a_transport_appears_among_the_commands_with_its_options() -> None:
    assert "lines" in lines("--help")[1]
    code, text, _ = lines("lines", "--help")
    assert code == 0
    for each in ("Write a line for each block", "--path", "FANOUT_LINES_PATH", "--most"):
        assert each in text


def test_a_registered_transport_is_served(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    code, _, said = lines("--venue", "sim", "lines", "--path", str(path), "--most", "3")
    assert code == 143, said
    assert [int(each) > 0 for each in path.read_text().split()] == [True] * 3


def test_a_file_and_the_environment_have_a_transports_options_too(tmp_path: Path) -> None:
    file = tmp_path / "fanout.toml"
    file.write_text('venue = "sim"\n[lines]\npath = "/nowhere/x"\nmost = 5\n')
    code, text, _ = lines("--config", str(file), "config", "--json")
    (shown,) = json.loads(text)["transports"]
    settings = {each["name"]: each["value"] for each in shown["options"]}
    assert (code, shown["transport"]) == (0, "lines")
    assert settings == {"path": "/nowhere/x", "most": 5}


def test_a_transports_needs_are_checked(tmp_path: Path) -> None:
    code, text, _ = lines("--venue", "sim", "check", "lines", "--path", str(tmp_path / "no" / "x"))
    assert code == 1
    assert "fail  directory" in text
    code, text, _ = lines("--venue", "sim", "check", "lines", "--path", str(tmp_path / "x"))
    assert code == 0
    assert "ok    directory" in text


def test_each_configuration_finds_its_transport() -> None:
    assert list(TRANSPORTS) == [
        *("tcp", "shm", "ring", "journal", "multicast"),
        *("slots", "consolidate"),
    ]
    assert isinstance(make_transport(TcpConfig(port=0)), TcpTransport)
    assert isinstance(make_transport(ShmConfig(name="a")), ShmTransport)
    assert isinstance(make_transport(RingConfig(name="a")), RingTransport)
    assert isinstance(make_transport(JournalConfig(dir="a")), JournalTransport)
    assert isinstance(make_transport(SlotsConfig(name="a")), SlotsTransport)
    group = MulticastConfig(group="239.1.1.1:9100")
    assert isinstance(make_transport(group), MulticastTransport)


def test_a_name_is_taken_once() -> None:
    with pytest.raises(ValueError, match="a transport named 'tcp' already"):
        register(TRANSPORTS["tcp"])


def test_the_error_names_a_configuration_without_a_transport() -> None:
    with pytest.raises(LookupError, match="int is the configuration of no registered transport"):
        entry_of(5)  # type: ignore[arg-type]
