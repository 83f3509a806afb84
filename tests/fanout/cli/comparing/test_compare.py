"""`fanout compare`: what it refuses, what it prints, its files and exit codes."""

import csv
import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from fanout.cli.comparing import record
from fanout.cli.comparing.record import Findings
from fanout.cli.comparing.view import lines_of, verdict
from fanout.cli.inputs import fitting
from fanout.cli.outcome import OutputError
from fanout.cli.source import Source
from fanout.compare import Clock, Finding, Report, SideReport, SymbolReport, What
from fanout.compare.values import Spread, States
from fanout.protocol import DataKinds, EndReason, Trade
from tests.clients.test_journal import Folder
from tests.fanout.cli.processes import at_once
from tests.protocol.golden import BTC, HEADER

MS = 1_791_382_992_838


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["tcp://h:1"], 2, "Missing argument 'B'"),
        (["h:1", "tcp://h:2"], 2, "tcp://HOST:PORT"),
        (["tcp://h:1", "tcp://h:2", "--for", "soon"], 2, "'soon' is not a duration"),
        (["tcp://h:1", "tcp://h:2", "--within", "0s"], 2, "'0s' is not a duration"),
        (["tcp://h:1", "tcp://h:2", "--start", "then"], 2, "--start 'then'"),
        (["tcp://h:1", "tcp://h:2", "--match", "price"], 2, "--match"),
        (["tcp://h:1", "venue://nyse"], 2, "venue://nyse: unknown venue 'nyse'"),
        (["venue://sim", "venue://sim"], 2, "venue://sim would be an exchange of its own"),
        (["venue://binance", "tcp://h:1", "--start", "oldest"], 2, "a venue has no past"),
        (
            ["tcp://h:1", "tcp://h:2", "--recovery", "tcp://h:3"],
            2,
            "--recovery is for multicast://",
        ),
        (["shm://q", "tcp://h:2", "--prefix", "x"], 2, "--prefix is for nats://"),
        (["shm://a", "shm://b", "--start", "oldest"], 2, "a queue is read from where it was left"),
        (["journal:///nowhere", "journal:///nowhere"], 1, "there is no folder /nowhere"),
        (["tcp://127.0.0.1:1", "tcp://127.0.0.1:1", "--no-reconnect"], 1, "127.0.0.1:1"),
        (["tcp://h:1", "tcp://h:2", "--out", "/dev/null/x"], 1, "cannot write --out /dev/null/x"),
    ],
)
def test_bad_input_gets_a_line(arguments: list[str], code: int, said: str) -> None:
    result = at_once("compare", *arguments)
    assert result.returncode == code, result.stderr
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_a_directory_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    result = at_once("compare", "tcp://h:1", "tcp://h:2", "--out", str(tmp_path))
    assert result.returncode == 2
    assert result.stderr == f"fanout: --out {tmp_path} is not empty: name another directory\n"


def journal(
    path: Path,
    trades: list[Trade],
    epoch_ns: int = 1,
    *,
    fraction_ns: int = 0,
    **header: object,
) -> str:
    """A journal with these trades, a block each, and these fields of its header. Each was received
    in the ms of its id."""
    folder = Folder(path)
    story = folder.story(epoch_ns)
    channel = story.channel
    channel.header = channel.log.context = replace(channel.header, **header)
    story.rotate()
    for each in trades:
        story.channel.publish(
            [each], received_ns=1_000_000 * each.trade_id + fraction_ns, held_ns=0
        )
    story.channel.end(EndReason.SHUTDOWN, retry_ms=1, why="stopped")
    story.recorder.write()
    folder.write()
    return f"journal://{path}"


def trades(count: int = 20) -> list[Trade]:
    return [Trade(BTC, each, MS + each, 100 + each, 5, False) for each in range(1, count + 1)]


def test_journals_that_are_equal_end_with_0(tmp_path: Path) -> None:
    a = journal(tmp_path / "a", trades())
    b = journal(tmp_path / "b", trades()[4:], epoch_ns=2)
    result = at_once("compare", a, b)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-1].startswith("equal: 16 trades, from 2026-10-07T")


def test_journals_that_differ_end_with_3_and_files_that_name_it(tmp_path: Path) -> None:
    a = journal(tmp_path / "a", trades())
    there = trades()
    there[7] = replace(there[7], price=1, buyer_is_maker=True)
    b = journal(tmp_path / "b", [*there[:11], *there[12:]])
    out = tmp_path / "out"
    result = at_once("compare", a, b, "--out", str(out))
    assert result.returncode == 3
    lines = result.stdout.splitlines()
    assert lines[-1] == "different: 3 differences; 19 trades matched"
    assert "trade 8 of 2026-10-07" in result.stdout
    assert "differs in price: A 1.08, B 0.01" in result.stdout
    assert "trade 12 of" in result.stdout
    with (out / "symbols" / "BTCUSDT.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(each["what"], each["number"], each["field"]) for each in rows] == [
        ("unequal", "8", "price"),
        ("unequal", "8", "side"),
        ("only-a", "12", ""),
    ]
    assert (rows[1]["a"], rows[1]["b"]) == ("buy", "sell")
    with (out / "summary.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["symbol"], row["matched"], row["only_a"]) == ("BTCUSDT", "19", "1")
    assert (row["unequal_price"], row["unequal_side"], row["first_id"]) == ("1", "1", "1")
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["exit_code"], summary["differences"], summary["clock"]) == (3, 3, "received")
    as_json = json.loads(at_once("compare", a, b, "--json").stdout)
    assert as_json == summary


def test_journals_of_different_times_end_with_4(tmp_path: Path) -> None:
    a = journal(tmp_path / "a", trades(5))
    b = journal(tmp_path / "b", trades()[10:])
    result = at_once("compare", a, b)
    assert result.returncode == 4
    assert "nothing could be compared" in result.stdout


def test_trades_are_matched_by_content_if_asked(tmp_path: Path) -> None:
    a = journal(tmp_path / "a", trades())
    other = [replace(each, trade_id=each.trade_id + 5) for each in trades()]
    b = journal(tmp_path / "b", other)
    assert at_once("compare", a, b).returncode == 3
    assert at_once("compare", a, b, "--match", "content").returncode == 0


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"venue": "okx"}, "A is of test, and B of okx: compare streams of one venue"),
        (
            {"instruments": (replace(BTC, symbol="X"),), "references": HEADER.references[:1]},
            "A and B have no symbol in common",
        ),
        ({"data": DataKinds.QUOTES}, "A and B have no kind of data in common"),
    ],
)
def test_streams_with_nothing_in_common_are_refused(
    header: dict[str, object], said: str, tmp_path: Path
) -> None:
    a = journal(tmp_path / "a", trades())
    b = journal(tmp_path / "b", [], **header)
    result = at_once("compare", a, b)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"fanout: {said}")
    assert result.stderr.count("\n") == 1


def test_ids_of_bybit_are_matched_in_any_order(tmp_path: Path) -> None:
    scrambled = [replace(each, trade_id=each.trade_id * 7 % 23) for each in trades()]
    urls = [
        journal(tmp_path / name, its, venue="bybit")
        for name, its in (("a", scrambled), ("b", [*scrambled[:9], *scrambled[10:]]))
    ]
    result = at_once("compare", *urls, "--json")
    assert result.returncode == 3
    (symbol,) = json.loads(result.stdout)["symbols"]
    assert (symbol["only_a"], symbol["matched"], symbol["first_id"]) == (1, 19, None)


def test_an_option_goes_to_the_address_that_it_is_for() -> None:
    of = Source(
        address="tcp://h:1",
        symbols=None,
        market_only=False,
        start=None,
        reconnect=True,
        token_file="token",
        tls_ca="ca",
        interface="10.0.0.1",
    )
    group = "multicast://239.1.1.1:1"
    tcp = fitting(of, (of.address, group))
    assert (tcp.token_file, tcp.tls_ca, tcp.interface) == ("token", None, "")
    alone = fitting(replace(of, address=group), (of.address, group))
    assert (alone.token_file, alone.tls_ca, alone.interface) == (None, None, "10.0.0.1")
    asked = fitting(replace(of, address=group, recovery="tls://h:2"), (of.address, group))
    assert (asked.token_file, asked.tls_ca) == ("token", "ca")


def test_a_symbol_that_no_stream_has_is_refused(tmp_path: Path) -> None:
    a = journal(tmp_path / "a", trades())
    result = at_once("compare", a, a, "--symbols", "ETHUSDT")
    assert result.returncode == 2
    assert "ETHUSDT is not served here" in result.stderr


SIDE = SideReport(trades=9, lost_records=2, lost_ids=1, open_ids=3, disconnects=1, restarts=2)


def report_of(*symbols: SymbolReport) -> Report:
    return Report(
        a=SIDE,
        b=SideReport(trades=1, excess=1),
        symbols=symbols,
        only_served_by_a=tuple(f"S{each}" for each in range(12)),
        only_served_by_b=("X",),
    )


def test_symbols_that_differ_come_first_and_few_of_the_others_are_shown() -> None:
    equal = [SymbolReport(symbol=f"E{each}", matched=1) for each in range(30)]
    odd = SymbolReport(
        symbol="ODD",
        matched=3,
        order=1,
        books=States(matched=4, unequal=1),
        b_later=Spread(count=1, p50_ns=10**6, p90_ns=10**7, p99_ns=10**8, max_ns=10**9),
    )
    first = Finding("ODD", What.ORDER, 7, MS, "place", "1", "2")
    book = Finding("ODD", What.BOOK, 9, 0, "bid 1", "1 @ 2", "none")
    report = report_of(*equal, odd)
    lines = list(lines_of(report, ("tcp://a", "tcp://b"), Clock.ARRIVAL, [first, book]))
    assert lines[1].split()[:7] == ["ODD", "3", "0", "0", "0", "0", "1"]
    assert lines[1].endswith("3/4    -                        1/10/100/1,000 ms")
    assert lines[22] == "and 10 more symbols without a difference"
    assert lines[23] == (
        "A: tcp://a: 9 trades, 2 records lost, 1 trade id unrecoverable, "
        "3 trade ids of open gaps, 1 disconnect, 2 restarts"
    )
    assert lines[24] == "B: tcp://b: 1 trade, 1 more trade missing than reported"
    assert lines[25].startswith("only A has S0, S1")
    assert lines[25].endswith("S9 and 2 more")
    assert lines[26] == "only B has X"
    assert lines[27] == "later: by the time of arrival here"
    assert lines[28].endswith("stands in another order in place: A 1, B 2")
    assert lines[29] == "first: ODD book 9 differs in bid 1: A 1 @ 2, B none"
    assert lines[30] == "different: 3 differences; 33 trades and 4 quotes and books matched"


def test_symbols_that_one_stream_alone_brought_are_named() -> None:
    alone = SymbolReport(symbol="X", trades_b=3, outside=3)
    other = SymbolReport(symbol="Y", trades_a=1, outside=1)
    equal = SymbolReport(symbol="Z", trades_a=2, trades_b=2, matched=2)
    lines = list(lines_of(report_of(alone, other, equal), ("a", "b"), Clock.ARRIVAL, []))
    assert "only A has trades of Y" in lines
    assert "only B has trades of X" in lines


def test_differences_without_a_match_are_differences() -> None:
    report = replace(report_of(SymbolReport(symbol="S", double_a=2)), b=SideReport())
    assert verdict(report) == "different: 2 differences; 0 trades matched"


def test_a_disk_that_is_full_at_the_end_costs_the_files_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OutputError("cannot write out/summary.csv: No space left on device")

    monkeypatch.setattr(Findings, "complete", full)
    a = journal(tmp_path / "a", trades())
    result = at_once("compare", a, a)
    assert (result.returncode, "No space left" in result.stderr) == (1, True)
    assert "equal: 20 trades" in result.stdout


def test_books_alone_have_a_verdict_without_a_time() -> None:
    report = report_of(SymbolReport(symbol="S", quotes=States(matched=2)))
    report = replace(report, b=SideReport())
    assert verdict(report) == "equal: 0 trades and 2 quotes and books"


def test_rows_are_limited_and_all_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "MOST_ROWS", 3)
    findings = Findings(tmp_path / "out")
    for number in range(10):
        findings.add(Finding("A/B", What.ONLY_A, number, 0))
    findings.save()
    path = tmp_path / "out" / "symbols" / "A%2FB.csv"
    assert path.read_text().splitlines() == [
        "what,number,time_ms,field,a,b",
        *(f"only-a,{number},0,,," for number in range(3)),
    ]


def test_a_disk_that_fails_gets_a_line(tmp_path: Path) -> None:
    findings = Findings(tmp_path / "out")
    (tmp_path / "out" / "symbols").rmdir()
    findings.add(Finding("S", What.LOST_A, 1, 0))
    assert findings.first == {}
    with pytest.raises(OutputError, match=r"cannot write .*S\.csv: No such file"):
        findings.save()
    (tmp_path / "out").rmdir()
    with pytest.raises(OutputError, match=r"cannot write .*summary\.csv: No such file"):
        findings.complete(report_of(), {})
