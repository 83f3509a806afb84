"""`fanout check` in a process: its text, its JSON and its exit codes."""

import json
import os
import re
import signal
import socket
import subprocess
import uuid
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fanout.checks import Check, Fault, Name, State
from fanout.cli.check import EXIT_CODES
from tests.fanout.cli.processes import FANOUT, at_once, environment, exchange, fanout, started

ROOT = Path(__file__).parents[3]
SIM = ("--venue", "sim", "--assets", "BTCUSDT,ETHUSDT")


class Answer(msgspec.Struct, forbid_unknown_fields=True):
    """What programs rely on."""

    ok: bool
    exit_code: int
    checks: list[Check]


def checked(*arguments: str, **variables: str) -> Answer:
    result = fanout(*arguments, **variables)
    assert result.stderr == ""
    answer = msgspec.json.decode(result.stdout, type=Answer)
    assert answer.exit_code == result.returncode
    assert answer.ok == (result.returncode == 0)
    return answer


def failures(answer: Answer) -> list[tuple[str, str]]:
    return [(each.name, each.target) for each in answer.checks if each.state is State.FAIL]


def test_a_passing_check_prints_aligned_lines() -> None:
    result = fanout(*SIM, "check", "tcp", "--port", "0")
    assert (result.returncode, result.stderr) == (0, "")
    *rows, summary = result.stdout.splitlines()
    assert summary == f"{len(rows)} ok: exit code 0"
    assert all(each.startswith("ok    ") for each in rows)
    assert {row.split()[1] for row in rows} >= {"machine", "dns", "rest", "symbol", "first-trade"}
    targets = {row.index(row.split()[2]) for row in rows}
    assert len(targets) == 1, "the columns are aligned"
    assert "\x1b" not in result.stdout


def test_json_output_has_an_object_for_each_row() -> None:
    answer = checked(*SIM, "check", "--json", "tcp", "--port", "0")
    assert (answer.ok, answer.exit_code) == (True, 0)
    (first, second) = [each for each in answer.checks if each.name == Name.FIRST_TRADE]
    assert (first.target, second.target) == ("BTCUSDT", "ETHUSDT")
    assert first.took_ms is not None
    row: dict[str, Any] = json.loads(msgspec.json.encode(answer))["checks"][0]
    assert list(row) == ["name", "target", "state", "found", "advice", "fault", "took_ms"]


def test_without_a_transport_tcp_or_the_files_transports_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "fanout.toml"
    path.write_text('venue = "sim"\n[tcp]\nport = 0\nmax-clients = 7\n')
    answer = checked("--config", str(path), "check", "--json")
    assert "7 clients" in [each.target for each in answer.checks]


def test_a_refusing_exchange_exits_77_before_any_other_fault() -> None:
    with exchange("http 451 requests=null") as options, socket.create_server(("", 0)) as taken:
        port = str(taken.getsockname()[1])
        answer = checked(*options, "check", "--json", "tcp", "--port", port)
    assert answer.exit_code == 77
    assert [name for name, _ in failures(answer)] == ["port", "rest"]


def test_an_unknown_symbol_exits_78() -> None:
    answer = checked(
        "--venue", "sim", "--assets", "NOSUCH", "check", "--json", "tcp", "--port", "0"
    )
    assert (answer.exit_code, failures(answer)) == (78, [("simulator", "NOSUCH")])


def test_an_unknown_host_name_exits_69_with_advice() -> None:
    urls = ("--ws-url", "wss://nosuch.invalid", "--rest-url", "https://nosuch.invalid")
    result = fanout(*urls, "check", "tcp", "--port", "0")
    assert result.returncode == 69
    lines = result.stdout.splitlines()
    (at,) = [at for at, line in enumerate(lines) if line.startswith("fail  dns")]
    assert "/etc/resolv.conf" in lines[at + 1]
    assert lines[at + 1].lstrip().startswith("-> ")
    assert "Traceback" not in result.stderr


def test_a_queue_of_a_live_service_exits_1_and_names_the_process() -> None:
    name = f"fanout-test-{uuid.uuid4().hex}"
    with started(*SIM, "shm", "--name", name, "--capacity", "64KiB") as service:
        service.until_said("serving")
        answer = checked(*SIM, "check", "--json", "shm", "--name", name, "--capacity", "64KiB")
        assert answer.exit_code == 1
        assert failures(answer) == [("queue", name)]
        (queue,) = [each for each in answer.checks if each.name == Name.QUEUE]
        assert f"belongs to process {service.process.pid}" in queue.found
        assert service.end(signal.SIGTERM) == 143


def test_too_few_descriptors_exit_1() -> None:
    command = ["sh", "-c", 'ulimit -n 200; exec "$@"', "sh", *FANOUT, *SIM, "check", "--json"]
    result = subprocess.run(
        [*command, "tcp", "--port", "0"],
        capture_output=True,
        timeout=30,
        check=False,
        env=environment(),
    )
    answer = msgspec.json.decode(result.stdout, type=Answer)
    assert result.returncode == 1
    assert failures(answer) == [("descriptors", "500 clients")]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("check", "--timeout", "0"), 2, "--timeout 0: above 0"),
        (("check", "udp"), 2, "'udp' behind check: tcp, shm, ring"),
        (("check", "tcp", "--port", "90000"), 2, "port 90000"),
    ],
)
def test_arguments_that_serving_refuses_are_refused_by_check(
    arguments: tuple[str, ...], code: int, said: str
) -> None:
    result = at_once(*arguments)
    assert (result.returncode, result.stdout) == (code, "")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_closed_pipe_is_no_failed_check() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*FANOUT, *SIM, "check", "tcp", "--port", "0"],
        stdout=write,
        stderr=subprocess.PIPE,
        timeout=30,
        check=False,
        env=environment(),
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


def test_help_lists_every_exit_code_in_order_of_precedence() -> None:
    assert list(EXIT_CODES) == list(Fault)
    text = at_once("check", "--help").stdout
    places = [text.index(f" {code}  ") for code in EXIT_CODES.values()]
    assert places == sorted(places)


def test_the_guide_explains_every_row() -> None:
    guide = (ROOT / "docs" / "check.md").read_text()
    assert re.findall(r"^\| `([a-z-]+)`", guide, re.MULTILINE) == list(Name)
    codes = re.findall(r"^\| (\d+) \|", guide, re.MULTILINE)
    assert codes == [str(code) for code in EXIT_CODES.values()]
