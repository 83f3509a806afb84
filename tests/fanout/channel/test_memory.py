"""What the next start has to know of a channel."""

import pytest
from msgspec.structs import replace

from fanout.channel import memory
from fanout.channel.memory import (
    MAX_STEP,
    RECENT_NS,
    Memory,
    OpenGaps,
    Recollection,
    Remembered,
)
from fanout.protocol import BlockFlags, Gap, GapState, Snapshot, Trade, TradeKind
from tests.protocol.golden import BTC, LIFE
from tests.stand.channels import new_channel
from tests.stand.kept_past import KeptPast

S = 1_000_000_000


def trade(trade_id: int, *, s: int = 1, kind: TradeKind = TradeKind.MARKET, **more: bool) -> Trade:
    """A trade that came at second `s`, in which it was made."""
    made = Trade(BTC, trade_id, s * 1_000, 20, 30, True, kind, 1, s * S)
    return replace(made, back_filled=bool(more))


def gap(first: int, last: int, state: GapState = GapState.OPEN) -> Gap:
    return Gap(seq=1, instrument=BTC, first_id=first, last_id=last, state=state)


def recall(
    *records: Trade | Gap | Snapshot, before: Memory | None = None, is_orderly: bool = True
) -> Remembered:
    """What is remembered of the instrument behind these records."""
    recollection = Recollection(before)
    recollection.take(records)
    recollection.end(is_orderly=is_orderly)
    found = recollection.memory(epoch_ns=7, next_seq=9, symbols=["BTCUSDT", LIFE.symbol])
    assert list(found.symbols) == ["BTCUSDT"]
    return found.symbols["BTCUSDT"]


def test_gaps_stay_open_until_each_id_has_an_outcome() -> None:
    gaps = OpenGaps()
    for each in (gap(5, 9), gap(20, 20), gap(6, 7, GapState.BACK_FILLED), gap(1, 2)):
        gaps.take(each)
    assert gaps.of("BTCUSDT") == ((1, 2), (5, 5), (8, 9), (20, 20))
    gaps.take(gap(5, 9))
    assert gaps.of("BTCUSDT") == ((1, 2), (5, 9), (20, 20)), "reported again"
    gaps.take(gap(0, 30, GapState.UNRECOVERABLE))
    assert gaps.of("BTCUSDT") == ()


def test_ids_that_were_reported_count_as_known() -> None:
    assert recall(trade(5), gap(6, 9)).next_id == 10
    assert recall(trade(5), gap(6 + MAX_STEP + 1, 9 + MAX_STEP)).next_id == 6, "of other ids"
    assert recall(gap(6, 9)) == Remembered(None, 10, ((6, 9),))
    assert recall(gap(6, 9)).time_ns == 0


def test_the_newest_trade_is_the_latest_also_if_another_comes_late() -> None:
    known = recall(trade(5, s=2), trade(7, s=4), trade(6, s=3), trade(4, s=1, back_filled=True))
    assert (known.newest, known.next_id) == (trade(7, s=4), 8)
    assert [each for each, _ in known.recent] == [5, 7, 6, 4]


def test_trades_of_the_last_seconds_are_remembered_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "MOST_RECENT", 10)
    later = RECENT_NS // S + 2
    assert recall(trade(5), trade(6, s=later)).recent == ((6, later * S),)
    assert len(recall(*map(trade, range(15))).recent) == 10


def test_another_kind_of_trades_begins_its_own_ids_when_it_comes_live() -> None:
    aggregate = TradeKind.AGGREGATE
    known = recall(trade(500), trade(7, s=2, kind=aggregate), trade(503, back_filled=True))
    assert (known.next_id, known.is_aggregate) == (8, True)
    assert recall(trade(7, back_filled=True)).next_id == 8, "it is the first"


def test_ids_of_a_new_numbering_replace_the_old_ones() -> None:
    assert recall(trade(2 * MAX_STEP), trade(5, s=2)).next_id == 6


def test_ids_that_were_skipped_shortly_before_a_kill_are_missing() -> None:
    records = trade(1), trade(3), trade(5, s=9), trade(9, s=10), trade(7, s=10)
    assert recall(*records, is_orderly=False).gaps == ((4, 4), (6, 6), (8, 8))
    assert recall(*records, is_orderly=True).gaps == ()
    told = gap(8, 8), gap(8, 8, GapState.NO_TRADE)
    assert recall(*records, *told, is_orderly=False).gaps == ((4, 4), (6, 6))
    assert recall(*records, trade(10, s=20), is_orderly=False).gaps == ()


def test_a_snapshot_tells_only_what_is_not_known() -> None:
    assert recall(Snapshot(trades=(trade(5),))).next_id == 6
    assert recall(trade(7), Snapshot(trades=(trade(5),))).recent == ((7, S),)


def test_what_is_remembered_goes_on_over_several_epochs() -> None:
    symbols = {"BTCUSDT": Remembered(trade(5), 7, ((2, 3),), ((5, S),), S)}
    before = Memory(epoch_ns=1, next_seq=2, time_ns=3, symbols=symbols)
    assert recall(before=before) == symbols["BTCUSDT"]
    known = recall(trade(7, s=2), gap(2, 2, GapState.NO_TRADE), before=before)
    assert (known.newest, known.next_id, known.gaps) == (trade(7, s=2), 8, ((3, 3),))


def test_a_channel_gives_what_it_published_and_what_it_inherited() -> None:
    life = replace(trade(50), instrument=LIFE)
    known = {
        "BTCUSDT": Remembered(trade(5), 7, ((2, 3),), ((5, S),), S),
        LIFE.symbol: Remembered(life, 60, since_ns=S),
        "GONE": Remembered(life, 60),
    }
    before = Memory(epoch_ns=1, next_seq=2, time_ns=3, symbols=known)
    channel = new_channel(wall_ns=77, past=KeptPast(before))
    inherited = {"BTCUSDT": replace(known["BTCUSDT"], recent=()), LIFE.symbol: known[LIFE.symbol]}
    assert channel.memory() == Memory(epoch_ns=1, next_seq=1, time_ns=77, symbols=inherited)
    channel.publish([trade(8)], received_ns=1, held_ns=1)
    channel.publish(
        [trade(7), gap(2, 3, GapState.NO_TRADE)],
        received_ns=1,
        held_ns=1,
        flags=BlockFlags.BACK_FILLED,
    )
    channel.recall([life])
    newer = replace(life, trade_id=51, time=2_000)
    channel.publish([newer], received_ns=1, held_ns=1, flags=BlockFlags.BACK_FILLED)
    assert channel.memory().symbols == {
        "BTCUSDT": Remembered(trade(8), 9, since_ns=S),
        LIFE.symbol: Remembered(newer, 60, since_ns=S),
    }
