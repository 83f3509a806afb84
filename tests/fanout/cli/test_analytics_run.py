"""`fanout analytics run` with real processes, real signals and a real service."""

import asyncio
import csv
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from fanout.analytics import FeatureSettings
from fanout.clients.tcp import TcpClient
from fanout.protocol import BookFlags, BookUpdate, DataKinds, pack_levels
from fanout.protocol.feature_rows import FeatureRow
from tests.clients.nats_streams import BOTH, BTC, CHANNEL, stand
from tests.fanout.analytics.fits.test_microprice_fits import FIT
from tests.fanout.analytics.made_fits import FIT as LINEAR
from tests.fanout.cli.processes import (
    FANOUT,
    TIMEOUT_S,
    Process,
    at_once,
    environment,
    fanout,
    started,
)
from tests.stand.groups import LOOPBACK, free_groups
from tests.stand.nats import NatsServer

DATA = ("--data", "trades,quotes,book")
SIM = ("--venue", "sim", "--assets", "BTCUSDT,ETHUSDT", *DATA)
COLUMNS = FeatureSettings().columns
RUN = ("analytics", "run")


@contextmanager
def serving(*transports: str) -> Iterator[tuple[Process, str]]:
    """A service of the simulator's trades, quotes and books, and its URL over TCP."""
    with started(*SIM, "tcp", "--port", "0", *transports) as service:
        yield service, service.until_said("tcp://").split()[-1]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as (_, url):
        yield url


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


SIGNALS = """
[features]
windows = ["10ms"]
volatility = ["20ms"]
volatility-sample = "1ms"

[[signal]]
name = "flow"
model = "order-flow-threshold"
column = "order_flow_imbalance_10ms"
threshold = 0.001

[signal.size]
risk-budget = 100
max-quantity = 1
volatility = "volatility_20ms"

[[signal]]
name = "btc"
model = "linear"
fit = "btc.json"
horizon = "15s"

[[signal]]
name = "mine"
model = "tests.fanout.analytics.alternating:Alternating"

[[signal]]
name = "all"
model = "combination"
of = ["flow", "btc", "mine"]
"""


@pytest.fixture
def signals(tmp_path: Path) -> Path:
    """The file of a consumer with signals of each kind, in a folder with what it needs."""
    fit = replace(
        LINEAR,
        made_for=replace(LINEAR.made_for, venue="binance-usdm"),
        settings=replace(LINEAR.settings, order_flow_ms=(20,), volatility_sample_ms=1),
        columns=("order_book_imbalance", "order_flow_imbalance_20ms"),
    )
    (tmp_path / "btc.json").write_bytes(fit.to_json())
    path = tmp_path / "consumer.toml"
    path.write_text(SIGNALS.replace("btc.json", str(tmp_path / "btc.json")))
    return path


def signalled(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = fanout(*RUN, *arguments, "--config", str(path))
    assert done.returncode == 0, done.stderr
    assert "order_flow_imbalance_20ms: added to the features, since fits of" in done.stderr
    return done


def test_a_journal_gives_the_signals_that_the_live_stream_gave(
    signals: Path, tmp_path: Path
) -> None:
    """Text for text, of every row: those of a model that remembers and then fails, too."""
    with serving("journal", "--dir", str(tmp_path / "j")) as (service, url):
        live = signalled(signals, url, "--start", "oldest", "--limit", "150")
        assert service.end(signal.SIGTERM) == 143
    kept = signalled(signals, f"journal://{tmp_path}/j", "--no-follow")
    lines = live.stdout.splitlines()
    assert len(lines) == 150
    assert kept.stdout.splitlines()[:150] == lines
    assert live.stderr.count("signal mine of binance-usdm BTCUSDT: RuntimeError: tired") == 1
    rows = objects(live.stdout)
    assert {row["flow_direction"] for row in rows} == {-1.0, 0.0, 1.0}
    assert any(row["flow_quantity"] for row in rows)
    of_btc = [row for row in rows if row["symbol"] == "BTCUSDT"]
    assert any(row["btc_direction"] for row in of_btc)
    assert {row["btc_direction"] for row in rows if row["symbol"] == "ETHUSDT"} == {None}
    assert [row["mine_direction"] for row in of_btc[:3]] == [-1.0, 1.0, -1.0]
    last = of_btc[-1]
    assert last["mine_direction"] is None
    assert last["absences"]["mine_direction"] == "OTHER"
    assert last["reasons"]["mine"] == "failed: RuntimeError: tired (alternating.py:18)"
    assert last["all_confidence"] is not None


def test_signals_go_to_every_output(signals: Path, url: str, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "rows.parquet"
    options = ("--config", str(signals), "--parquet", str(path), "--format", "none")
    names = ("flow_direction", "flow_strength", "flow_confidence", "flow_quantity")
    with started(*RUN, url, *options, "--tcp-port", "0") as process:
        address = process.until_said("serving rows").split()[-1]
        with TcpClient(address) as client:
            row = next(each for each in client if isinstance(each, FeatureRow) and each.seq)
            header = client.header
        assert process.end(signal.SIGTERM) == 143
    assert header is not None
    assert header.columns[-13:-9] == names
    assert header.columns[-3:] == ("all_direction", "all_strength", "all_confidence")
    assert len(row.values) == len(header.columns)
    table = parquet.read_table(path)
    assert tuple(table.column_names[-14:-10]) == names
    assert set(table["flow_direction"].to_pylist()) <= {-1.0, 0.0, 1.0}


def test_models_that_failed_are_counted(signals: Path, url: str) -> None:
    """`mine` fails at its thirtieth row, for each instrument."""
    outputs = ("--format", "none", "--tcp-port", "0", "--http-port", "0")
    with started(*RUN, url, "--config", str(signals), *outputs) as process:
        http = process.until_said("answering").split()[2].removesuffix("/status,")
        said = [process.until_said("signal mine of binance-usdm") for _ in range(2)]
        figures = _asked(f"{http}/status")
        with urllib.request.urlopen(f"{http}/metrics", timeout=TIMEOUT_S) as answer:
            metrics = answer.read().decode().splitlines()
        assert process.end(signal.SIGTERM) == 143
    assert sorted(each.split()[5] for each in said) == ["BTCUSDT:", "ETHUSDT:"], said
    assert figures["failed_models"] == 2
    assert "fanout_analytics_failed_models_total 2.0" in metrics


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("btc.json", "none.json", "none.json': cannot read it: No such file or directory"),
        ("btc.json", "consumer.toml", "consumer.toml is no linear fit, or is damaged"),
        ('"15s"', '"10s"', "signal[1].horizon = '10s': "),
        ('"1ms"', '"2ms"', "the fit was made with volatility_sample_ms 1, and the features"),
        ("tests.fanout.", "no.", "signal[2]: no.analytics.alternating:Alternating: module no."),
    ],
)
def test_a_signal_that_cannot_be_is_refused_in_a_line(
    before: str, after: str, words: str, signals: Path
) -> None:
    signals.write_text(signals.read_text().replace(before, after))
    done = at_once(*RUN, "tcp://127.0.0.1:1", "--config", str(signals))
    assert done.returncode == 78
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_journal_gives_the_rows_that_the_live_stream_gave(tmp_path: Path) -> None:
    """Text for text, of every row."""
    with serving("journal", "--dir", str(tmp_path / "j")) as (service, url):
        live = fanout(*RUN, url, "--start", "oldest", "--limit", "400")
        assert live.returncode == 0, live.stderr
        assert service.end(signal.SIGTERM) == 143
    kept = fanout(*RUN, f"journal://{tmp_path}/j", "--no-follow")
    assert kept.returncode == 0, kept.stderr
    lines = live.stdout.splitlines()
    assert len(lines) == 400
    assert kept.stdout.splitlines()[:400] == lines
    rows = objects(live.stdout)
    assert {(row["venue"], row["symbol"]) for row in rows} == {
        ("binance-usdm", "BTCUSDT"),
        ("binance-usdm", "ETHUSDT"),
    }
    assert any(row["mid"] is not None for row in rows)
    for row in rows:
        assert [name for name in row if name in COLUMNS] == [*COLUMNS]
        assert {name for name in COLUMNS if row[name] is None} == set(row["absences"])


def test_rows_at_an_interval_stand_at_its_multiples(url: str) -> None:
    done = fanout(*RUN, url, "--every", "10ms", "--limit", "30", "--format", "csv")
    assert done.returncode == 0, done.stderr
    rows = [*csv.DictReader(done.stdout.splitlines())]
    assert [*rows[0]] == ["time_ns", "venue", "symbol", *COLUMNS]
    assert len(rows) == 30
    assert all(int(row["time_ns"]) % 10_000_000 == 0 for row in rows)
    assert all(row["wap_10bps"] == "" or float(row["wap_10bps"]) > 0 for row in rows)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_and_completes_the_file(
    number: int, code: int, url: str, tmp_path: Path
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "rows.parquet"
    with started(*RUN, url, "--parquet", str(path)) as process:
        lines = [process.line() for _ in range(20)]
        assert process.end(number) == code
    table = parquet.read_table(path)
    assert table.column_names == ["venue", "symbol", "time", *COLUMNS, "absences"]
    assert table.num_rows >= 20
    assert os.listdir(tmp_path) == ["rows.parquet"]
    said = "".join(process.said)
    assert f"{table.num_rows:,} rows" in said
    assert "Traceback" not in said
    first = json.loads(lines[0])
    assert table["time"].cast("int64")[0].as_py() == first["time_ns"]
    assert table["mid"][0].as_py() == first["mid"]
    reasons = table["absences"][0].as_py()
    assert {name: why for name, why in reasons.items() if why} == first["absences"]


def test_a_reader_that_leaves_ends_it_without_a_word(url: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    command = subprocess.run(
        f"{sys.executable} -m fanout analytics run {url} --parquet {path} | head -n 3",
        shell=True,
        capture_output=True,
        text=True,
        env=environment(),
        timeout=TIMEOUT_S,
        check=False,
    )
    assert len(objects(command.stdout)) == 3
    assert command.stderr.count("\n") == 1  # the counts
    assert path.exists()


def test_a_reader_that_is_slow_slows_it_down_and_a_signal_still_ends_it(url: str) -> None:
    """Nobody reads standard output. A full pipe must hold up neither signals nor answers."""
    with started(*RUN, url, "--start", "oldest", "--http-port", "0") as process:
        http = process.until_said("answering").split()[2].removesuffix("/status,")
        figures = {"records": -1, "rows": 0}
        deadline_s = time.monotonic() + TIMEOUT_S
        while True:
            before, figures = figures, _asked(f"{http}/status")
            # On a busy machine records stand still before the pipe is full, too.
            if figures["records"] == before["records"] and figures["rows"] > 50:
                break
            assert time.monotonic() < deadline_s, f"the pipe did not fill up: {figures}"
            time.sleep(0.3)
        process.process.send_signal(signal.SIGTERM)
        assert process.wait() == 143


def _asked(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
        return json.load(answer)


def test_a_full_disk_is_told_in_a_line(url: str) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*FANOUT, *RUN, url],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
            timeout=TIMEOUT_S,
            check=False,
        )
    assert done.returncode == 1
    assert "cannot write: No space left on device" in done.stderr


def test_rows_are_served_as_a_channel(url: str) -> None:
    with started(*RUN, url, "--format", "none", "--tcp-port", "0") as process:
        address = process.until_said("serving rows").split()[-1]
        with TcpClient(address) as client:
            rows = []
            for record in client:
                if isinstance(record, FeatureRow) and record.seq:
                    rows.append(record)
                if len(rows) == 50:
                    break
            header = client.header
        assert header is not None
        assert (header.venue, header.channel, header.columns) == ("features", "features", COLUMNS)
        names = {each.symbol for each in header.instruments}
        assert names <= {"binance-usdm:BTCUSDT", "binance-usdm:ETHUSDT"}
        assert {each.symbol for each in rows} <= names
        assert [each.seq for each in rows] == list(range(rows[0].seq, rows[0].seq + 50))
        assert all(len(each.values) == len(each.absences) == len(COLUMNS) for each in rows)
        assert process.end(signal.SIGTERM) == 143


def test_two_services_are_merged_and_answered_for(url: str) -> None:
    """The second has other symbols of the same venue."""
    other = ("--venue", "sim", "--assets", "SOLUSDT", *DATA, "tcp", "--port", "0")
    with started(*other) as service:
        second = service.until_said("tcp://").split()[-1]
        arguments = (*RUN, url, second, "--wait", "200ms", "--http-port", "0")
        with started(*arguments) as process:
            http = process.until_said("answering").split()[2].removesuffix("/status,")
            rows = [json.loads(process.line()) for _ in range(200)]
            figures = _asked(f"{http}/status")
            with urllib.request.urlopen(f"{http}/metrics", timeout=TIMEOUT_S) as answer:
                metrics = answer.read().decode()
            with urllib.request.urlopen(f"{http}/readyz", timeout=TIMEOUT_S) as answer:
                assert answer.read() == b"ready\n"
            assert process.end(signal.SIGTERM) == 143
    assert {row["symbol"] for row in rows} == {"BTCUSDT", "ETHUSDT", "SOLUSDT"}
    if figures["late"] == 0:
        times = [row["time_ns"] for row in rows]
        assert times == sorted(times)
    assert [each["address"] for each in figures["streams"]] == [url, second]
    assert all(each["is_connected"] and each["records"] for each in figures["streams"])
    assert f'fanout_analytics_records_total{{input="{second}"}}' in metrics
    assert "fanout_analytics_lag_seconds" in metrics


def test_an_input_that_cannot_be_reached_holds_up_no_other_one(url: str) -> None:
    with started(*RUN, url, "tcp://127.0.0.1:1", "--http-port", "0") as process:
        http = process.until_said("answering").split()[2].removesuffix("/status,")
        process.until_said("trying again")
        for _ in range(30):
            process.line()
        with pytest.raises(urllib.error.HTTPError, match="503"):
            urllib.request.urlopen(f"{http}/readyz", timeout=TIMEOUT_S)
        assert process.end(signal.SIGTERM) == 143


def test_a_restart_of_the_service_is_survived(tmp_path: Path) -> None:
    with serving() as (service, url):
        port = url.rpartition(":")[2]
        with started(*RUN, url) as process:
            process.line()
            service.process.kill()
            service.wait()
            process.until_said("trying again")
            with started(*SIM, "tcp", "--port", port) as again:
                again.until_said("tcp://")
                process.until_said("started anew")
                last = json.loads(process.line())["time_ns"]
                for _ in range(100):
                    row = json.loads(process.line())
                    assert row["time_ns"] >= last
                    last = row["time_ns"]
            assert process.end(signal.SIGTERM) == 143


def test_it_waits_for_a_service_until_a_signal_comes() -> None:
    with started(*RUN, "tcp://127.0.0.1:1", "--format", "csv") as process:
        process.until_said("trying again")
        assert process.line() == ",".join(("time_ns", "venue", "symbol", *COLUMNS)) + "\n"
        assert process.end(signal.SIGTERM) == 143
    assert "0 records" in process.said[-1] or "records, 0 rows" in process.said[-1]


def test_rings_and_queues_are_inputs_too() -> None:
    ring, queue = (f"fanout-test-{uuid.uuid4().hex}" for _ in range(2))
    try:
        with started(*SIM, "ring", "--name", ring, "shm", "--name", queue) as service:
            service.until_said("ring://")
            for address in (f"ring://{ring}", f"shm://{queue}"):
                done = fanout(*RUN, address, "--limit", "5")
                assert done.returncode == 0, done.stderr
                assert len(objects(done.stdout)) == 5
            assert service.end(signal.SIGTERM) == 143
    finally:
        for each in (ring, queue):
            Path("/dev/shm", each).unlink(missing_ok=True)


def test_streams_of_nats_are_inputs_too(shared_nats: NatsServer) -> None:
    prefix = shared_nats.new_prefix()
    book = BookUpdate(BTC, 7, 5, pack_levels([(10, 5)]), pack_levels([(11, 2)]), BookFlags.WHOLE)

    async def write() -> None:
        async with stand(shared_nats.url, prefix) as its:
            writer = its.writer
            writer.header = replace(BOTH, data=DataKinds.TRADES | DataKinds.BOOK_BY_PRICE)
            await its.write(*writer.head(), writer.block([book]), writer.trades(2))

    asyncio.run(write())
    url = f"{shared_nats.url}/{CHANNEL}"
    done = fanout(*RUN, url, "--prefix", prefix, "--start", "oldest", "--limit", "3")
    assert done.returncode == 0, done.stderr
    assert [row["symbol"] for row in objects(done.stdout)] == [BTC.symbol] * 3
    assert objects(done.stdout)[0]["mid"] == 0.105


def test_two_journals_give_the_rows_of_two_live_streams_in_one_order(tmp_path: Path) -> None:
    def options(name: str, symbol: str) -> tuple[str, ...]:
        kept = ("journal", "--dir", str(tmp_path / name))
        return ("--venue", "sim", "--assets", symbol, *DATA, "tcp", "--port", "0", *kept)

    with started(*options("a", "BTCUSDT")) as one, started(*options("b", "ETHUSDT")) as other:
        urls = [each.until_said("tcp://").split()[-1] for each in (one, other)]
        live = fanout(*RUN, *urls, "--start", "oldest", "--limit", "300")
        assert live.returncode == 0, live.stderr
        assert [each.end(signal.SIGTERM) for each in (one, other)] == [143, 143]
    journals = [f"journal://{tmp_path}/{name}" for name in "ab"]
    first, second = (fanout(*RUN, *journals, "--no-follow", "--wait", "0ms") for _ in range(2))
    assert first.stdout == second.stdout
    times = [row["time_ns"] for row in objects(first.stdout)]
    assert times == sorted(times)
    for symbol in ("BTCUSDT", "ETHUSDT"):
        kept, came = (
            [line for line in each.stdout.splitlines() if symbol in line] for each in (first, live)
        )
        assert came == kept[: len(came)]
        assert came


def test_the_described_layout_reads_multicast(tmp_path: Path) -> None:
    group, _ = free_groups()
    ip, port = str(group).split(":")
    path = tmp_path / "consumer.json"
    described = {
        "udp_config": {
            "multicast_group": ip,
            "port": int(port),
            "interface": LOOPBACK,
            "buffer_size": 65_536,
        },
        "symbols": [
            {"exchange": "binance", "symbol": "BTCUSDT", "tick_size": 0.1, "enabled": True},
            {"exchange": "binance", "symbol": "ETHUSDT", "enabled": False},
        ],
        "processing_config": {
            "cpu_core": min(os.sched_getaffinity(0)),
            "ring_buffer_size": 8,
            "batch_size": 2,
            "max_symbols": 1,
        },
    }
    path.write_text(json.dumps(described))
    lines = ("--group", str(group), "--interface", LOOPBACK, "--snapshot-s", "0.1")
    with serving("multicast", *lines):
        done = fanout(*RUN, "--limit", "20", CONSUMER_CONFIG=str(path))
    assert done.returncode == 0, done.stderr
    assert {row["symbol"] for row in objects(done.stdout)} == {"BTCUSDT"}


def test_rows_are_published_to_nats(url: str, shared_nats: NatsServer) -> None:
    from nats import connect

    subject = shared_nats.new_prefix()
    options = ("--nats", shared_nats.url, "--nats-subject", subject, "--format", "none")

    async def receive() -> list[tuple[str, Any]]:
        client = await connect(shared_nats.url)
        subscription = await client.subscribe(f"{subject}.>")
        await client.flush()
        messages = []
        with started(*RUN, url, *options) as process:
            for _ in range(20):
                each = await subscription.next_msg(timeout=TIMEOUT_S)
                messages.append((each.subject, json.loads(each.data)))
            assert process.end(signal.SIGTERM) == 143
        await client.close()
        return messages

    for each, row in asyncio.run(receive()):
        assert each == f"{subject}.binance-usdm.{row['symbol']}"
        assert set(COLUMNS) < set(row)


TICK = '[[symbol]]\nvenue = "sim"\nsymbol = "BTCUSDT"\ntick = 0.25\n'
TWO = "".join(f'[[symbol]]\nvenue = "sim"\nsymbol = "{each}"\n' for each in ("BTCUSDT", "NONEUSDT"))
OKX_SIGNAL = """
[[signal]]
name = "flow"
model = "order-flow-threshold"
threshold = 1
venue = "okx"
"""
OKX = '[[symbol]]\nvenue = "okx"\nsymbol = "BTC-USDT"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (TICK, "binance-usdm BTCUSDT: tick 0.25 is not the venue's, which is 0.1"),
        (TWO, "no input has binance-usdm NONEUSDT"),
        (OKX, "no input has okx BTC-USDT"),
        (OKX_SIGNAL, "signal flow is for okx, which no input has: leave it out"),
    ],
)
def test_what_does_not_fit_the_stream_ends_it_in_a_line(
    text: str, words: str, url: str, tmp_path: Path
) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    done = fanout(*RUN, url, "--config", str(path))
    assert done.returncode == 78
    assert words in done.stderr.splitlines()[-1]


def test_a_fit_gives_the_microprice_and_one_for_something_else_is_refused(
    url: str, tmp_path: Path
) -> None:
    fit = replace(FIT, symbol="BTCUSDT", venue="binance-usdm", price_exponent=-1, tick=1)
    path = tmp_path / "btc.json"
    path.write_bytes(fit.to_json())
    done = fanout(*RUN, url, "--microprice", str(path), "--limit", "100")
    assert done.returncode == 0, done.stderr
    known = {row["symbol"] for row in objects(done.stdout) if row["stoikov_microprice"]}
    assert known == {"BTCUSDT"}
    path.write_bytes(replace(fit, venue="okx").to_json())
    elsewhere = fanout(*RUN, url, "--microprice", str(path))
    assert elsewhere.returncode == 78
    assert f"{path} is for okx BTCUSDT, which no input has: leave it out" in elsewhere.stderr
    path.write_bytes(replace(fit, tick=7).to_json())
    refused = fanout(*RUN, url, "--microprice", str(path))
    assert refused.returncode == 78
    assert "the microprice was fitted for BTCUSDT with a tick of 7e-1" in refused.stderr
    missing = fanout(*RUN, url, "--microprice", "none.json")
    assert missing.returncode == 78
    assert missing.stderr == (
        "fanout: cannot read --microprice: none.json: No such file or directory\n"
    )


def test_a_symbol_of_two_inputs_is_refused(url: str) -> None:
    done = fanout(*RUN, url, f"{url}/sim")
    assert done.returncode == 78
    words = "comes from tcp://"
    assert words in done.stderr.splitlines()[-1]
    assert done.stderr.endswith("name symbols for each input\n")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ((), "no channel none: this service has sim"),
        (("--symbol", "NONE"), "no input has NONE"),
    ],
)
def test_an_input_that_is_refused_at_the_start_ends_it(
    more: tuple[str, ...], words: str, url: str
) -> None:
    inputs = (url,) if more else (f"{url}/none", "tcp://127.0.0.1:1")
    done = fanout(*RUN, *inputs, *more)
    assert done.returncode == (78 if more else 2)
    assert words in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "no input: give an address, or an [[input]] in --config"),
        (("tcp://h:1", "tcp://h:1"), 2, "tcp://h:1 is named twice"),
        (("tcp://h:1", "--every", "0ms"), 2, "--every 0ms: at least 1ms"),
        (("tcp://h:1", "--every", "1"), 2, "--every '1': no duration"),
        (("tcp://h:1", "--wait", "1 week"), 2, "--wait '1 week': no duration"),
        (("tcp://h:1", "--no-follow"), 2, "--no-follow is for a journal"),
        (("tcp://h:1", "--format", "none"), 2, "--format none leaves no output"),
        (("tcp://h:1", "--cpu", "4096"), 2, "core 4096 is not there for this process"),
        (("tcp://h:1", "--parquet", "rows.csv"), 2, "a name that ends in .parquet"),
        (("tcp://h:1", "--recovery", "tcp://h:2"), 2, "--recovery is for multicast://"),
        (("http://h:1",), 2, "http://h:1"),
        (("tcp://h:1", "--config", "/none.toml"), 78, "cannot read --config /none.toml"),
        (
            ("tcp://h:1", "--nats-subject", "a..b", "--nats", "nats://h:1"),
            2,
            "--nats-subject 'a..b'",
        ),
        (("tcp://h:1", "--nats", "http://h:1"), 2, "--nats: "),
        (("journal:///none", "--no-follow"), 1, "journal:///none"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line(
    arguments: tuple[str, ...], code: int, words: str
) -> None:
    done = fanout(*RUN, *arguments)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    said = [line for line in done.stderr.splitlines() if " records, " not in line]
    assert len(said) == 1


def test_a_bad_file_names_the_key_the_value_and_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("[features]\nwindows = ['0s']\n")
    done = at_once(*RUN, "tcp://h:1", "--config", str(path))
    assert done.returncode == 78
    assert done.stderr == f"fanout: {path}: features.windows = '0s': too short: 1ms to 24h\n"


def test_a_core_that_is_not_there_is_named_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("[processing]\ncpu = 4096\n")
    done = at_once(*RUN, "tcp://h:1", "--config", str(path))
    assert done.returncode == 78
    assert done.stderr.startswith(f"fanout: {path}: core 4096 is not there for this process: ")
