"""`fanout compare` with a consolidator's rings."""

import json
import math
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio
from msgspec.structs import replace

from fanout.cli.comparing import compared
from fanout.cli.comparing import rings as module
from fanout.cli.comparing.compared import wishes_of
from fanout.cli.comparing.rings import RingsStream
from fanout.cli.serve import ServeOptions
from fanout.cli.source import Source
from fanout.clients.consolidated import RingsError
from fanout.clients.outcomes import DisconnectedError, Received, Restarted
from fanout.config import FeedConfig
from fanout.errors import UsageError
from fanout.protocol import Loss, LossReason, Moment, Trade, TradeKind
from tests.fanout.cli.comparing.test_compare import journal, trades
from tests.fanout.cli.processes import at_once
from tests.protocol.golden import BTC, HEADER, LIFE
from tests.stand.packed_ring import PackedRing

DIR = "perps_trade_chunk"


def packed(of: Iterable[Trade], **fields: object) -> PackedRing:
    """A ring with these trades, as a service writes them that received each in the ms of its id."""
    ring = PackedRing(capacity=2**21, slots=2**14)
    for each in of:
        add(ring, each, **fields)
    return ring


def add(ring: PackedRing, trade: Trade, **fields: object) -> int:
    said: dict[str, object] = {
        "exchange": "BINANCE",
        "asset": trade.symbol,
        "px": trade.price_text,
        "sz": trade.quantity_text,
        "side": "Sell" if trade.buyer_is_maker else "Buy",
        "exchange_ts_ms": trade.time_ms,
        "recv_ts_ms": trade.trade_id,
    }
    return ring.trade(trade.trade_id, **{**said, **fields})


def of_life(numbers: Iterable[int]) -> list[Trade]:
    return [Trade(LIFE, each, 1_791_382_992_838 + each, 9 + each, 5, True) for each in numbers]


class Reading:
    """A stream of rings in this process."""

    def __init__(self, url: object, **options: Any) -> None:
        said = {"start": None, "symbols": (), "follow": False, "other": HEADER, **options}
        self.stream = RingsStream(f"rings://{url}", **said)

    def records(self) -> list[Received]:
        async def main() -> list[Received]:
            with closing(self.stream):
                await self.stream.connect()
                return [each async for each in self.stream]

        return trio.run(main)

    def ids(self) -> list[int]:
        return [each.trade_id for each in self.records() if isinstance(each, Trade)]


def test_rings_that_have_what_a_journal_has_are_equal(tmp_path: Path) -> None:
    of_btc = trades()
    of_btc[3] = replace(of_btc[3], kind=TradeKind.INSURANCE_FUND)  # a ring does not say so
    kept = journal(tmp_path / "journal", [*of_btc, *of_life(range(1, 8))])
    packed(of_btc).write(tmp_path / "rings", f"{DIR}0")
    packed(of_life(range(1, 8))).write(tmp_path / "rings", f"{DIR}1")
    result = at_once("compare", f"rings://{tmp_path}/rings", kept)
    assert (result.returncode, result.stderr) == (0, "")
    assert "equal: 27 trades" in result.stdout
    assert f"A: rings://{tmp_path}/rings: 27 trades, no loss reported" in result.stdout


def test_what_rings_lack_or_have_otherwise_is_found(tmp_path: Path) -> None:
    kept = journal(tmp_path / "journal", trades())
    there = trades()
    there[7] = replace(there[7], price=there[7].price + 1, buyer_is_maker=True)
    there[8] = replace(there[8], time=there[8].time + 1)
    packed([*there[:11], *there[12:], there[12]]).write(tmp_path / "rings", f"{DIR}0")
    result = at_once("compare", kept, f"rings://{tmp_path}/rings", "--json")
    assert result.returncode == 3, result.stderr
    (btc,) = (each for each in json.loads(result.stdout)["symbols"] if each["symbol"] == "BTCUSDT")
    assert btc["unequal"] == {"price": 1, "side": 1, "time": 1}
    assert (btc["only_a"], btc["only_b"], btc["double_b"], btc["matched"]) == (1, 0, 1, 19)


def test_two_directories_of_rings_are_compared(tmp_path: Path) -> None:
    for name, numbers in (("a", range(1, 9)), ("b", range(3, 9))):
        packed(trades()).write(tmp_path / name, f"{DIR}0")
        packed(of_life(numbers)).write(tmp_path / name, f"{DIR}1")
    result = at_once("compare", f"rings://{tmp_path}/a", f"rings://{tmp_path}/b")
    assert (result.returncode, result.stderr) == (0, "")
    assert "equal: 26 trades" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rings:///nowhere", "tcp://h:1"], "no rings in /nowhere: no such file or directory"),
        (["rings://", "journal://j"], "'rings://' is no directory of rings: rings://DIR"),
        (["rings://d", "tcp://h:1", "--market-only"], "--market-only: rings do not say"),
        (["rings://d", "journal://j", "--start", "1:1"], "--start 1:1: rings have no epoch"),
        (["rings://d", "journal://j", "--start", "then"], "--start 'then'"),
    ],
)
def test_bad_input_gets_a_line(arguments: list[str], said: str, tmp_path: Path) -> None:
    if said.startswith("no rings"):
        arguments = [arguments[0], journal(tmp_path / "j", trades())]
    result = at_once("compare", *arguments)
    assert result.returncode in (1, 2)
    assert said in result.stderr
    assert (result.stderr.count("\n"), result.stdout) == (1, "")


def test_the_rings_of_a_directory_come_in_order_of_receipt(tmp_path: Path) -> None:
    """More than a look brings of each, at rates that differ, and one that ends early."""
    numbers = (range(3, 12_000, 4), range(2, 12_000, 8), range(1, 9_000, 2))
    for place, each in enumerate(numbers):
        its = [Trade((BTC, LIFE)[place % 2], number, number, 1, 1, True) for number in each]
        packed(its).write(tmp_path, f"{DIR}{place}")
    reading = Reading(tmp_path)
    assert reading.ids() == sorted(number for each in numbers for number in each)


def test_no_more_of_a_slow_ring_is_read_than_a_look_brings(tmp_path: Path) -> None:
    for place, step in enumerate((1, 100)):
        its = [Trade(BTC, step * each, each, 1, 1, True) for each in range(1, 4_000)]
        packed(its).write(tmp_path, f"{DIR}{place}")
    reading = Reading(tmp_path)

    async def main() -> int:
        with closing(reading.stream):
            await reading.stream.connect()
            most = 0
            for _ in range(3_900):
                await anext(reading.stream)
                most = max(most, *map(len, reading.stream._ahead.values()))
        return most

    assert trio.run(main) <= 1_025


def test_the_symbols_are_those_of_the_other_stream_or_those_that_are_there(tmp_path: Path) -> None:
    packed(of_life([1])).write(tmp_path, f"{DIR}0")

    def symbols(**options: Any) -> list[str]:
        header = trio.run(Reading(tmp_path, **options).stream.connect)
        return [each.symbol for each in header.instruments]

    assert symbols() == [each.symbol for each in HEADER.instruments]
    assert symbols(other=None) == [LIFE.symbol]
    assert symbols(symbols=["BTCUSDT"]) == ["BTCUSDT"]


def test_a_long_search_for_symbols_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "SCANNED_S", -1.0)
    packed(of_life([1])).write(tmp_path, f"{DIR}0")
    trio.run(Reading(tmp_path, other=None).stream.connect)
    assert f"looking for the symbols that are in rings://{tmp_path}" in capsys.readouterr().err


def test_rings_of_several_channels_have_to_be_told_apart(tmp_path: Path) -> None:
    packed(trades(3)).write(tmp_path, f"{DIR}0")
    packed(trades(2)).write(tmp_path, "BINANCE-USDM_trade_chunk0")
    assert Reading(tmp_path).ids() == [1, 2, 3]
    assert Reading(tmp_path, other=replace(HEADER, channel="x")).ids() == [1, 2]
    assert Reading(f"{tmp_path}/BINANCE-USDM").ids() == [1, 2]
    words = (
        f"rings://{tmp_path} has rings of BINANCE-USDM, perps: "
        f"name one, rings://{tmp_path}/BINANCE-USDM"
    )
    for other in (None, replace(HEADER, channel="x", venue="okx")):
        with pytest.raises(UsageError, match=words):
            Reading(tmp_path, other=other).records()
    with pytest.raises(RingsError, match="no such file or directory"):
        Reading(f"{tmp_path}/spot").records()


def test_a_time_leaves_out_what_was_received_before(tmp_path: Path) -> None:
    packed(trades(9)).write(tmp_path, f"{DIR}0")
    assert Reading(tmp_path, start=Moment(time_ns=6_000_001)).ids() == [7, 8, 9]
    assert Reading(tmp_path, start="live").ids() == []


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12", 12),
        ("00000000-0000-0007-8000-000000000001", 7),
        ("a1-b2", None),
        ("9" * 5_000, None),
    ],
)
def test_ids_that_are_text(text: str, number: int | None, tmp_path: Path) -> None:
    ring = PackedRing()
    add(ring, trades(1)[0], exchange_trade_id=text)
    ring.write(tmp_path, f"{DIR}0")
    assert Reading(tmp_path, by_content=True).ids() == [number or 0]
    if number is None:
        with pytest.raises(UsageError, match="neither a number nor a UUID: give --match content"):
            Reading(tmp_path).ids()
    else:
        assert Reading(tmp_path).ids() == [number]


def test_numbers_that_cannot_be_read_are_told_as_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ring = packed(trades(2))
    ring.damage(add(ring, trades(3)[2]) + 25)
    add(ring, trades(4)[3])
    ring.append(b"{}", kind=0)
    ring.append(b"{}", kind=0)
    ring.write(tmp_path, f"{DIR}0")
    one, two, lost, four = Reading(tmp_path).records()
    assert lost == Loss(first_seq=3, last_seq=3, reason=LossReason.UNANNOUNCED)
    assert [each.trade_id for each in (one, two, four) if isinstance(each, Trade)] == [1, 2, 4]
    said = capsys.readouterr().err
    assert said.count("damaged") == 1
    assert f"rings://{tmp_path}: {DIR}0: number 3 damaged" in said
    assert said.count("is of kind 0") == 1


def test_a_ring_that_cannot_be_read_ends_the_comparison_before_it_begins(tmp_path: Path) -> None:
    kept = journal(tmp_path / "journal", trades())
    packed(trades()).write(tmp_path / "rings", f"{DIR}0")
    packed(of_life([1])).write(tmp_path / "rings", f"{DIR}1")
    (tmp_path / "rings" / f"{DIR}1.meta").write_bytes(b"NORING")
    result = at_once("compare", f"rings://{tmp_path}/rings", kept)
    assert (result.returncode, result.stdout) == (1, "")
    assert f"{DIR}1: cannot be read" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_ring_that_cannot_be_read_any_more_ends_its_stream(tmp_path: Path) -> None:
    packed(trades(2)).write(tmp_path, f"{DIR}0")
    reading = Reading(tmp_path, follow=True)

    async def main() -> None:
        with closing(reading.stream), trio.fail_after(20):
            await reading.stream.connect()
            for _ in range(2):
                await anext(reading.stream)
            (tmp_path / f"{DIR}0.meta").write_bytes(b"NORING")
            await anext(reading.stream)

    with pytest.raises(DisconnectedError, match="cannot be read: no ring"):
        trio.run(main)


def test_what_was_received_later_than_a_later_trade_is_taken_for_back_filled(
    tmp_path: Path,
) -> None:
    of = trades(6)
    ring = packed([of[0], of[4], of[5]])
    add(ring, of[1], recv_ts_ms=9)
    add(ring, of[2], recv_ts_ms=6)  # at once with trade 6
    ring.write(tmp_path, f"{DIR}0")
    found = [each for each in Reading(tmp_path).records() if isinstance(each, Trade)]
    assert [each.trade_id for each in found if each.back_filled] == [2]


def test_trades_of_symbols_that_the_other_stream_lacks_are_left_out(tmp_path: Path) -> None:
    ring = packed(trades(1), asset="OTHER")
    add(ring, trades(2)[1])
    ring.write(tmp_path, f"{DIR}0")
    assert Reading(tmp_path).ids() == [2]


def test_beside_a_live_stream_rings_begin_with_what_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compared, "made_from", lambda kind, said: FeedConfig())

    def begins(a: str, b: str, start: str | None = None) -> list[str | None]:
        source = Source(
            address=a,
            symbols=None,
            market_only=False,
            start=start,
            reconnect=False,
            token_file=None,
            tls_ca=None,
        )
        said = {"ws-url": None, "rest-url": None}
        options = ServeOptions(said=said, has_assets=False, act=lambda _: None)
        wishes = wishes_of(source, (a, b), options, by_content=False, for_s=math.inf, within_s=60)
        return [each.source.start for each in wishes]

    assert begins("rings://r", "tcp://h:1") == ["live", None]
    assert begins("tcp://h:1", "rings://r", "oldest") == ["oldest", "oldest"]
    assert begins("journal://j", "rings://r") == [None, None]


def test_the_times_of_receipt_are_compared_in_ms(tmp_path: Path) -> None:
    kept = journal(tmp_path / "journal", trades(), fraction_ns=400_000)
    packed(trades()).write(tmp_path / "rings", f"{DIR}0")
    result = at_once("compare", f"rings://{tmp_path}/rings", kept, "--json")
    (btc,) = (each for each in json.loads(result.stdout)["symbols"] if each["symbol"] == "BTCUSDT")
    assert (btc["matched"], btc["a_later"], btc["b_later"]) == (20, None, None)


def test_rings_are_followed_and_may_begin_anew(tmp_path: Path) -> None:
    packed(trades(2)).write(tmp_path, f"{DIR}0")
    reading = Reading(tmp_path, follow=True)

    async def main() -> list[Received]:
        got: list[Received] = []
        with closing(reading.stream), trio.fail_after(20):
            await reading.stream.connect()
            async for each in reading.stream:
                got.append(each)
                if len(got) == 2:
                    for name in (f"{DIR}0.meta", f"{DIR}0.data"):
                        (tmp_path / name).unlink()
                    packed(trades(1)).write(tmp_path, f"{DIR}0")
                if len(got) == 4:
                    break
        return got

    one, two, anew, again = trio.run(main)
    assert isinstance(anew, Restarted)
    assert [each.trade_id for each in (one, two, again) if isinstance(each, Trade)] == [1, 2, 1]


def test_numbers_have_the_units_of_their_own_digits(tmp_path: Path) -> None:
    ring = PackedRing()
    add(ring, trades(1)[0], px="61800.30", sz="4")
    add(ring, trades(1)[0], px="1_000")
    ring.write(tmp_path, f"{DIR}0")
    found, lost = Reading(tmp_path).records()
    assert isinstance(found, Trade)
    assert (found.price, found.instrument.price_exponent) == (6_180_030, -2)
    assert (found.quantity, found.instrument.quantity_exponent) == (4, 0)
    assert (found.received_ns, found.symbol) == (1_000_000, BTC.symbol)
    assert isinstance(lost, Loss)
