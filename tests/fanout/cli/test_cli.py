import json
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trustme
import typer

from fanout.cli.outcome import exit_codes
from fanout.clients.outcomes import AddressError, DisconnectedError
from fanout.errors import (
    BindError,
    ConfigError,
    UsageError,
    VenueBusyError,
    VenueForbiddenError,
    VenueMessageError,
    VenueRefusalError,
    VenueUnreachableError,
)
from fanout.venues import VENUES
from tests.fanout.cli.processes import FANOUT, at_once, environment, fanout, serving, started


def test_help_shows_the_commands_and_examples() -> None:
    result = at_once("--help")
    assert result.returncode == 0
    for words in ("tcp", "tail", "simulate", "fanout --assets BTCUSDT,ETHUSDT tcp --port 9000"):
        assert words in result.stdout


@pytest.mark.parametrize(
    "command",
    [
        *("tcp", "shm", "check", "config", "status", "tail", "save", "book", "compare", "simulate"),
        *("venues", "symbols", "replay", "slots", "analytics run"),
    ],
)
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = at_once(*command.split(), "--help")
    assert result.returncode == 0
    assert "Example: fanout" in result.stdout


@pytest.mark.parametrize(
    ("pure", "kinds"), [("0", ["compiled", "plain Python"]), ("1", ["plain Python"])]
)
def test_the_version_names_the_wire_and_the_compiled_functions(pure: str, kinds: list[str]) -> None:
    result = fanout("--version", FANOUT_PURE=pure)
    package, wire, kind = result.stdout.strip().split(", ")
    assert package.startswith("fanout ")
    assert wire == "wire 2"
    assert kind in kinds


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--assets", "BTCUSDT,btcusdt", "tcp"], 2, "BTCUSDT is asked for twice"),
        (["--assets", ",".join(f"A{i}USDT" for i in range(1_025)), "tcp"], 2, "1,025 symbols"),
        (["--assets", "BTC/USDT", "tcp"], 2, "cannot be a symbol"),
        (["--venue", "nyse", "tcp"], 2, f"unknown venue 'nyse': {', '.join(VENUES)}"),
        (["--log-bytes", "much", "tcp"], 2, "'much' is not a size"),
        (["--log-bytes", "1KiB", "tcp"], 2, "at least"),
        (["--ws-url", "nonsense", "tcp"], 2, "--ws-url 'nonsense'"),
        (["--venue", "sim", "--ws-url", "ws://h", "tcp"], 2, "leave --ws-url"),
        (["--stream", "depth", "tcp"], 2, "--stream 'depth': auto, trade, aggTrade"),
        (["--data", "foo", "tcp"], 2, "--data 'foo' is unknown: trades, quotes, book, orders"),
        (["--data", "features", "tcp"], 2, "--data 'features' is unknown: trades, quotes, book"),
        (
            ["--data", "book,orders", "tcp"],
            2,
            "--data book,orders: a channel has the order book",
        ),
        (["--data", "book,book", "tcp"], 2, "--data 'book,book': name each kind once: trades"),
        (["--connections", "0", "tcp"], 2, "--connections 0: 1 to 4"),
        (["--rotate-after", "5", "tcp"], 2, "--rotate-after 5: 60 to 86,400"),
        (["--first-trade-timeout", "nan", "tcp"], 2, "--first-trade-timeout nan"),
        (["--proxy", "gopher://p:1", "tcp"], 2, "--proxy cannot be used: http:// or socks5://"),
        (["tcp", "--port", "70000"], 2, "port 70000"),
        (["tcp", "--port", "many"], 2, "--port"),
        (["tcp", "--host", ""], 1, "no host"),
        (["--venue", "sim", "--assets", "NOSUCHUSDT", "tcp", "--port", "0"], 78, "NOSUCHUSDT"),
        (["--venue", "sim", "tcp", "--host", "192.0.2.1"], 1, "cannot listen on 192.0.2.1:9000"),
        (["tail", "127.0.0.1:9000"], 2, "tcp://HOST:PORT"),
        (["tail", "tcp://a..b:9000"], 2, "tcp://HOST:PORT"),
        (["tail", "shm://a/b"], 2, "shm://NAME"),
        (["tcp", "--host", "a..b"], 1, "cannot listen on 'a..b'"),
        (["--rest-url", "http://a..b", "tcp"], 2, "--rest-url"),
        (["shm", "--name", "a/b"], 2, "--name 'a/b'"),
        (["shm", "--name", ""], 2, "--name ''"),
        (["shm", "--name", "q", "--capacity", "1000000"], 2, "--capacity"),
        (["shm", "--name", "q", "--capacity", "1MB"], 2, "'1MB' is not a size"),
        (["shm"], 2, "--name"),
        (["--venue", "sim", "shm", "--name", "a", "shm", "--name", "a"], 2, "queue a is asked for"),
        (
            [
                *("--venue", "sim", "multicast", "--group", "239.1.1.1:9100"),
                *("--group-b", "239.1.2.1:9100", "multicast", "--group", "239.1.2.1:9100"),
            ],
            2,
            "multicast group 239.1.2.1:9100 is asked for twice",
        ),
        (["slots", "--name", "a/b"], 2, "--name 'a/b'"),
        (["slots", "--name", "q", "--snapshot-s", "-1"], 2, "--snapshot-s -1"),
        (["tcp", "--port", "0", "nonsense"], 2, "'nonsense' behind tcp: tcp, shm, ring"),
        (["tcp", "--port", "0", "shm", "--name", "a/b"], 2, "--name 'a/b'"),
        (["tail", "tcp://h:1", "--limit", "-1"], 2, "--limit"),
        (["tail", "tcp://h:1", "--format", "xml"], 2, "xml"),
        (["tail", "tcp://h:1", "--start", "then"], 2, "--start 'then': live, oldest, EPOCH_NS"),
        (["tail", "tcp://h:1", "--start", "5:0"], 2, "--start '5:0'"),
        (["tail", "tcp://h:1", "--start", "1795219200"], 2, "unix ns has 19 digits, this 10"),
        (["tail", "tcp://h:1", "--no-follow"], 2, "--no-follow is for a journal"),
        (["tail", "journal://"], 2, "use journal://DIR/CHANNEL"),
        (["tail", "journal:///nowhere"], 1, "there is no folder /nowhere"),
        (["book", "journal:///nowhere", "BTCUSDT"], 2, "tail and save read a journal"),
        (["save", "journal:///nowhere", "x.csv"], 1, "there is no folder /nowhere"),
        (["tail", "shm://q", "--start", "oldest"], 2, "a queue is read from where it was left"),
        (["tail", "shm://q", "--token-file", "/x"], 2, "--token-file is for tcp:// and tls://"),
        (["tail", "ring://q", "--tls-ca", "/x"], 2, "--tls-ca is for tcp:// and tls://"),
        (["tail", "journal:///x", "--tls-ca", "/x"], 2, "--tls-ca is for tcp:// and tls://"),
        (
            ["tail", "tls://h:1", "--tls-ca", "/nowhere"],
            78,
            "cannot use --tls-ca /nowhere: ",
        ),
        (
            ["tail", "tcp://h:1", "--token-file", "/nowhere"],
            78,
            "cannot read --token-file /nowhere",
        ),
        (
            ["tcp", "--token-file", "/nowhere"],
            78,
            "--token-file /nowhere: No such file",
        ),
        (
            ["tcp", "--token-file", "/dev/null"],
            2,
            "/dev/null: a token of 0 characters",
        ),
        (["tcp", "--tls-cert", "x.pem"], 2, "--tls-cert and --tls-key go together"),
        (
            ["--venue", "sim", "tcp", "--port", "0", "--tls-cert", "/x.pem", "--tls-key", "/y.pem"],
            78,
            "cannot use --tls-cert /x.pem with --tls-key /y.pem: No such file",
        ),
        (["tail", "tcp://h:1", "--tls-ca", "/x"], 2, "tcp://h:1 does not speak TLS"),
        (["tcp", "--wire", "3"], 2, "--wire 3: 1, or 2"),
        (["tcp", "--max-clients", "0"], 2, "--max-clients 0: 1 to"),
        (["tcp", "--max-per-address", "-1"], 2, "--max-per-address -1: 0 to"),
        (["tcp", "--accept-rate", "0"], 2, "--accept-rate 0: 1 to"),
        (["tcp", "--stall-timeout", "nan"], 2, "--stall-timeout nan: 0.1 to"),
        (["tcp", "--max-lag", "-1"], 2, "--max-lag -1: 0 to"),
        (["save", "tcp://h:1", "trades.txt"], 2, "trades.txt: the name has to end in .csv, .jsonl"),
        (["save", "tcp://h:1", "trades"], 2, ".ndjson, .npy, .parquet"),
        (["save", "tcp://h:1", "x.csv", "--limit", "0"], 2, "--limit"),
        (["save", "tcp://h:1", "x.csv", "--duration", "nan"], 2, "--duration nan"),
        (["save", "h:1", "x.csv"], 2, "tcp://HOST:PORT"),
        (["save", "shm://q", "x.csv", "--start", "oldest"], 2, "a queue is read from where"),
        (["save", "tcp://h:1", "/nowhere/x.csv"], 1, "cannot write /nowhere/x.csv: No such file"),
        (["simulate", "--speed", "fast"], 2, "--speed 'fast'"),
        (["simulate", "--rate", "0"], 2, "rate"),
        (["simulate", "--symbols", "NOSUCHUSDT"], 78, "NOSUCHUSDT"),
        (["simulate", "--capture", "/nowhere/x.gz"], 78, "/nowhere/x.gz"),
        (["replay"], 2, "Missing argument 'DIR'"),
        (["replay", "d"], 2, "no transport given: fanout replay DIR tcp"),
        (["replay", "d", "nonsense"], 2, "'nonsense' behind replay: tcp, shm"),
        (["replay", "/nowhere", "tcp", "--port", "0"], 78, "no journal in /nowhere"),
        (["replay", "--speed", "0", "d", "tcp"], 2, "--speed 0: a number above 0, to"),
        (["replay", "d", "--speed", "fast", "tcp"], 2, "--speed fast: a number above 0, to"),
        (["replay", "d", "--from", "noon", "tcp"], 2, "--from 'noon': a time like 2026-11-29"),
        (["replay", "d", "--to", "1795219200", "tcp"], 2, "--to 1795219200: a time in unix ns"),
        (
            ["replay", "d", "--from", "2026-11-29T13:00Z", "--to", "2026-11-29T12:00+01:00", "tcp"],
            2,
            "--to 2026-11-29T11:00:00.000Z is before --from 2026-11-29T13:00:00.000Z",
        ),
        (["--assets", "BTCUSDT", "replay", "d", "tcp"], 2, "--assets: a replay takes what"),
        (["--log-bytes", "1", "replay", "d", "tcp"], 2, "--log-bytes 1: at least 65,536"),
        (["nonsense"], 2, "nonsense"),
    ],
    ids=lambda each: " ".join(each)[:40] if isinstance(each, list) else "",
)
def test_bad_input_gives_one_line_and_an_exit_code(
    arguments: list[str], code: int, said: str
) -> None:
    result = at_once(*arguments)
    assert result.returncode == code, result.stderr
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("x"), 2),
        (AddressError("x"), 2),
        (BindError("x"), 1),
        (DisconnectedError("x"), 1),
        (ConfigError("x"), 78),
        (VenueUnreachableError("x"), 69),
        (VenueMessageError("x", "y"), 69),
        (VenueRefusalError("x"), 69),
        (VenueBusyError("x"), 75),
        (VenueForbiddenError("x"), 77),
        (KeyboardInterrupt(), 130),
        (MemoryError(), 1),
        (BaseExceptionGroup("", [ExceptionGroup("", [VenueBusyError("x")])]), 75),
        (BaseExceptionGroup("", [KeyboardInterrupt()]), 130),
        (OSError(28, "No space left on device"), 1),
    ],
    ids=lambda each: type(each).__name__,
)
def test_each_kind_of_failure_has_its_exit_code(error: BaseException, code: int) -> None:
    with pytest.raises(typer.Exit) as caught, exit_codes():
        raise error
    assert caught.value.exit_code == code


def test_an_internal_error_shows_its_traceback() -> None:
    with pytest.raises(ExceptionGroup), exit_codes():
        raise ExceptionGroup("", [ConfigError("x"), ZeroDivisionError()])


@pytest.mark.parametrize(
    ("flag", "arguments"),
    [("--port", "tcp --port {port}"), ("--http-port", "--http-port {port} tcp --port 0")],
)
def test_a_port_in_use_is_one_line(flag: str, arguments: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = arguments.format(port=port).split()
        result = fanout("--venue", "sim", "--assets", "BTCUSDT", *words)
    assert result.returncode == 1
    why = "address already in use; another process listens there (ss -ltnp shows it): stop it, or"
    assert result.stderr.splitlines() == [
        f"fanout: cannot listen on 127.0.0.1:{port}: {why} take another {flag}"
    ]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_the_service_with_an_end_frame(number: int, code: int) -> None:
    with serving() as (service, url), started("tail", url, "--no-reconnect") as tail:
        assert "BTCUSDT" in tail.line()
        assert service.end(number) == code
        assert tail.out.read().splitlines()[-1].startswith("END  reason SHUTDOWN")
        assert tail.wait() == 0
        assert "Traceback" not in "".join(service.said + tail.said)
        assert service.process.stdout is not None


def test_without_assets_the_default_symbols_are_named() -> None:
    with started("--venue", "sim", "tcp", "--port", "0") as service:
        assert "taking BTCUSDT,ETHUSDT" in service.until_said("no --assets")
        service.until_said("serving BTCUSDT, ETHUSDT from sim on tcp://127.0.0.1:")


OPEN = ("--venue", "sim", "--assets", "BTCUSDT", "tcp", "--host", "0.0.0.0", "--port", "0")


def test_the_warning_about_an_open_address_is_logged_once() -> None:
    with started(*OPEN) as service:
        service.until_said("serving")
        assert sum("open to the network" in line for line in service.said) == 1


def test_an_address_with_a_token_but_no_tls_warns_of_clear_text() -> None:
    with started(*OPEN, FANOUT_TOKEN="t-o-k-e-n") as service:
        service.until_said("serving")
        said = "".join(service.said)
        assert "whoever reaches it gets the trades" not in said
        assert said.count("the token is sent in clear text") == 1


def test_a_token_is_required_and_never_shown(tmp_path: Path) -> None:
    token = "hunter2-hunter2"
    (tmp_path / "token").write_text(f"{token}\n")
    with started(*OPEN, "--token-file", str(tmp_path / "token")) as service:
        url = service.until_said("serving").split()[-1].replace("0.0.0.0", "127.0.0.1")
        results = [
            at_once("tail", url, "--limit", "1", "--token-file", str(tmp_path / "token")),
            at_once("tail", url, "--limit", "1", FANOUT_TOKEN=token),
            at_once("tail", url, "--limit", "1", FANOUT_TOKEN="wrong"),
            at_once("tail", url, "--limit", "1"),
            at_once("tail", url, "--limit", "0", FANOUT_TOKEN=token),
            at_once("tail", url, "--limit", "0"),
        ]
        command = Path(f"/proc/{service.process.pid}/cmdline").read_text()
        assert service.end(signal.SIGTERM) == 143
    assert [each.returncode for each in results] == [0, 0, 1, 1, 0, 1]
    assert results[2].stderr == f"fanout: {url}: the token is wrong\n"
    assert results[3].stderr == f"fanout: {url}: a token is needed here\n"
    shown = "".join([*service.said, command, *(each.stdout + each.stderr for each in results)])
    assert token not in shown


def test_trades_are_sent_over_tls_and_a_mismatch_is_reported(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    ca, cert, key = (str(tmp_path / name) for name in ("ca.pem", "cert.pem", "key.pem"))
    authority.cert_pem.write_to_path(ca)
    issued.cert_chain_pems[0].write_to_path(cert)
    issued.private_key_pem.write_to_path(key)
    with serving("--log-bytes", "1MiB") as (_, plain):
        mixed_up = at_once("tail", plain.replace("tcp:", "tls:"), "--no-reconnect")
        assert mixed_up.returncode == 1
        assert "does not speak TLS: use tcp:// instead of tls://" in mixed_up.stderr
    with started(*OPEN, "--tls-cert", cert, "--tls-key", key) as service:
        url = service.until_said("serving").split()[-1].replace("0.0.0.0", "127.0.0.1")
        assert url.startswith("tls://")
        assert at_once("tail", url, "--limit", "3", "--tls-ca", ca).returncode == 0
        stranger = at_once("tail", url, "--no-reconnect")
        assert (stranger.returncode, stranger.stdout) == (1, "")
        assert "certificate is not trusted" in stranger.stderr
        mixed_up = at_once("tail", url.replace("tls:", "tcp:"), "--limit", "3")
        assert mixed_up.returncode == 1
        assert mixed_up.stderr.endswith("this port speaks TLS: use tls:// instead of tcp://\n")
        assert service.end(signal.SIGTERM) == 143
        assert "Traceback" not in "".join(service.said)
    assert "no TLS: 127.0.0.1" in "".join(service.said)


def test_tail_reports_a_full_service() -> None:
    arguments = (
        "--venue",
        "sim",
        "--assets",
        "BTCUSDT",
        "tcp",
        "--port",
        "0",
        "--max-clients",
        "1",
    )
    with started(*arguments) as service:
        url = service.until_said("serving").split()[-1]
        with started("tail", url) as first:
            first.line()
            second = at_once("tail", url, "--no-reconnect")
            assert second.returncode == 1
            assert (
                second.stderr == f"fanout: {url}: the service is full: at most 1 clients at once\n"
            )


def test_tail_reports_a_restart_of_the_service() -> None:
    with serving() as (_, url):
        result = at_once("tail", url, "--limit", "1", "--start", "1:5")
    assert "the service was started anew" in result.stderr


def test_a_client_reconnects_to_a_restarted_service() -> None:
    with serving() as (first, url), started("tail", url, "--format", "json") as tail:
        before = json.loads(tail.line())
        assert first.end(signal.SIGTERM) == 143
        again = ("--venue", "sim", "--assets", "BTCUSDT,ETHUSDT", "tcp")
        with started(*again, "--port", url.rpartition(":")[2]) as second:
            tail.until_said("the service was started anew")
            lines = (json.loads(line) for line in tail.out)
            after = next(each for each in lines if each["epoch_ns"] != before["epoch_ns"])
            assert after["epoch_ns"] > before["epoch_ns"]
            assert second.end(signal.SIGTERM) == 143


def test_tail_resumes_at_the_position_of_another_tail() -> None:
    def tail(limit: int, *options: str) -> list[dict[str, Any]]:
        words = ("tail", url, "--format", "json", "--limit", str(limit), *options)
        lines = map(json.loads, at_once(*words).stdout.splitlines())
        return [each for each in lines if "seq" in each]

    with serving() as (_, url):
        first = tail(5)
        epoch_ns = first[0]["epoch_ns"]
        second = tail(5, "--start", f"{epoch_ns}:{first[-1]['seq'] + 1}")
        both = tail(10, "--start", f"{epoch_ns}:{first[0]['seq']}")
        oldest, number_1 = (tail(1, "--start", each) for each in ("oldest", f"{epoch_ns}:1"))
    assert both == first + second
    assert oldest == number_1
    assert oldest[0]["seq"] <= first[0]["seq"]


def test_tail_can_select_market_trades_only() -> None:
    with serving() as (_, url):
        result = at_once("tail", url, "--limit", "3", "--market-only", "--symbol", "ETHUSDT")
    assert result.returncode == 0
    trades = [line for line in result.stdout.splitlines() if " @ " in line]
    assert trades, "the state of the feed may come before them"
    assert all("ETHUSDT" in line for line in trades)


def test_simulator_and_service_connect_by_environment_variables() -> None:
    with started("simulate", "--symbols", "SOLUSDT", "--rate", "300") as simulator:
        urls = json.loads(simulator.line())
        environment_ = {"FANOUT_WS_URL": urls["ws"], "FANOUT_REST_URL": urls["rest"]}
        with started("--assets", "solusdt", "tcp", "--port", "0", **environment_) as service:
            url = service.until_said("serving").split()[-1]
            result = at_once("tail", url, "--limit", "5", "--format", "json")
            assert len(result.stdout.splitlines()) >= 5
            assert service.end(signal.SIGTERM) == 143
        assert simulator.end(signal.SIGINT) == 130
        assert "Traceback" not in "".join(simulator.said)


def test_a_simulator_ends_after_its_duration() -> None:
    result = fanout("simulate", "--duration", "0.2")
    assert result.returncode == 0
    assert set(json.loads(result.stdout)) == {"ws", "rest"}


def test_tail_prints_trades_in_each_format() -> None:
    with serving() as (_, url):
        lines = at_once("tail", url, "--limit", "4", "--format", "json").stdout.splitlines()
        rows = [json.loads(line) for line in lines]
        trades = [row for row in rows if "event" not in row]
        assert len(trades) == 4
        for row in trades:
            assert row["symbol"] in ("BTCUSDT", "ETHUSDT")
            assert isinstance(row["price"], str)
            assert isinstance(row["quantity"], str)
            assert isinstance(row["buyer_is_maker"], bool)
            assert {"seq", "trade_id", "time_ms", "kind", "received_ns"} <= row.keys()
        assert [row["seq"] for row in trades] == sorted(row["seq"] for row in trades)
        assert rows[0]["event"] == "snapshot"

        table = at_once("tail", url, "--limit", "3", "--format", "csv").stdout.splitlines()
        assert table[0].startswith("seq,symbol,trade_id,time_ms,price,quantity")
        assert len(table) == 4
        assert all(line.count(",") == table[0].count(",") for line in table)

        text = at_once("tail", url, "--limit", "3", "--symbol", "ethusdt").stdout.splitlines()
        trades_of_one = [line for line in text if "before joining" not in line]
        assert len(trades_of_one) == 3
        assert all("ETHUSDT" in line for line in trades_of_one)


def test_tail_of_an_unknown_symbol_lists_the_served_ones() -> None:
    with serving() as (_, url):
        result = at_once("tail", url, "--symbol", "XRPUSDT")
    assert result.returncode == 2
    assert result.stderr == "fanout: XRPUSDT is not served here: BTCUSDT, ETHUSDT\n"


def test_tail_of_an_unknown_channel_lists_those_of_the_service() -> None:
    with serving() as (_, url):
        result = at_once("tail", f"{url}/books")
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "no channel books: this service has sim" in result.stderr


def test_tail_with_limit_0_checks_that_a_service_answers() -> None:
    with serving() as (_, url):
        assert at_once("tail", url, "--limit", "0").returncode == 0
    result = at_once("tail", url, "--limit", "0")
    assert result.returncode == 1
    assert result.stderr == f"fanout: {url}: Connection refused\n"


def test_tail_reports_its_retries_and_continues() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        url = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    with started("tail", url) as tail:
        assert f"{url}: Connection refused; trying again in" in tail.until_said("trying again")
        tail.until_said("trying again")
        assert tail.end(signal.SIGINT) == 130
        assert "Traceback" not in "".join(tail.said)


def test_a_closed_pipe_ends_tail_quietly() -> None:
    with serving() as (_, url):
        command = f"{sys.executable} -m fanout tail {url} | head -n 2; echo ${{PIPESTATUS[0]}}"
        result = subprocess.run(
            ["bash", "-c", command],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env=environment(),
        )
    assert result.stderr == ""
    assert len(result.stdout.splitlines()) == 3
    assert result.stdout.splitlines()[-1] == "0"


def test_a_full_disk_is_one_line() -> None:
    with serving() as (_, url), open("/dev/full", "w") as full:
        result = subprocess.run(
            [*FANOUT, "tail", url],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=30,
            check=False,
            env=environment(),
        )
    assert (result.returncode, result.stderr) == (
        1,
        "fanout: cannot write: No space left on device\n",
    )


def run(command: str, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run a line of shell, in which FANOUT is this command."""
    return subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=environment(FANOUT=" ".join(FANOUT), **extra),
    )


def test_with_stderr_closed_no_message_enters_the_data() -> None:
    with serving() as (_, url):
        result = run(f"$FANOUT tail {url} --format csv --limit 2 2>&-")
    header, *rows = result.stdout.splitlines()
    assert header.startswith("seq,")
    assert [row.count(",") for row in rows] == [header.count(",")] * 2
    assert result.returncode == 0


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["tcp", "--help"], ["config"]])
def test_an_unprintable_character_is_one_line(words: list[str]) -> None:
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [*FANOUT, *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env=environment(),
        )
    assert result.returncode == 1
    assert result.stderr.endswith("No space left on device\n")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "variables", "said"),
    [
        (["tcp", "--port", "x"], {}, "--port: input should be a valid integer"),
        (["tcp"], {"FANOUT_TCP_PORT": "x"}, "FANOUT_TCP_PORT: input should be a valid integer"),
        (["--log-format", "xml", "tcp"], {}, "--log-format: 'xml' is not one of 'human', 'json'"),
        (["--nope"], {}, "No such option: --nope"),
        (["tail"], {}, "Missing argument 'ADDRESS'"),
    ],
)
def test_an_error_names_the_flag_variable_or_file_that_set_the_value(
    words: list[str], variables: dict[str, str], said: str
) -> None:
    result = at_once(*words, **variables)
    assert result.returncode == 2
    assert result.stderr.startswith(f"fanout: {said}")
    assert result.stderr.endswith(" --help)\n")
    assert result.stderr.count("\n") == 1


def test_tail_reports_a_closed_stdout() -> None:
    with serving() as (_, url):
        result = run(f"$FANOUT tail {url} --limit 2 >&-")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "fanout: standard output is closed: open it, or redirect it to a file\n"


@pytest.mark.parametrize(
    ("target", "code"), [("| true; exit ${PIPESTATUS[0]}", 0), (">/dev/full", 1)]
)
def test_a_simulator_with_a_closed_pipe_ends_without_a_traceback(target: str, code: int) -> None:
    result = run(f"$FANOUT simulate --duration 5 {target}")
    assert result.returncode == code
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("fanout sta", ["status"]),
        ("fanout --venue ''", list(VENUES)),
        ("fanout --stream a", ["auto", "aggTrade"]),
        ("fanout --log-format ''", ["human", "json"]),
        ("fanout tail --fo", ["--format", "--follow"]),
        ("fanout tcp --po", ["--port"]),
    ],
)
def test_shell_completion_works(words: str, offered: list[str]) -> None:
    count = len(shlex.split(words)) - 1
    asked = {"_FANOUT_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(count)}
    assert fanout(**asked).stdout.split() == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_can_be_shown_for_each_shell(shell: str) -> None:
    result = fanout("--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert result.returncode == 0
    assert "_FANOUT_COMPLETE" in result.stdout
