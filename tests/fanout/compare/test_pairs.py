"""Trades of two streams: each planted difference is found, and nothing else."""

from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fanout.clients.outcomes import Disconnected, Restarted
from fanout.compare import Fields, Identity, What
from fanout.protocol import FeedState, GapState, Position, Skipped, Snapshot, TradeKind
from fanout.protocol.records import Trade
from tests.fanout.compare.streams import (
    BTC,
    LIFE,
    Found,
    S,
    compared,
    gap,
    loss,
    paced,
    run_of,
    status,
    trade,
)
from tests.protocol.golden import HEADER

MS = 10**6
COUNT = 30
DEEP = (3, 4, 9, 14, 15, 20, 25)
"""Places of planted differences, away from both ends."""

FIELDS: dict[str, Callable[[Trade], Trade]] = {
    "time": lambda each: replace(each, time=each.time + 1),
    "price": lambda each: replace(each, price=each.price + 1),
    "quantity": lambda each: replace(each, quantity=each.quantity + 1),
    "side": lambda each: replace(each, buyer_is_maker=not each.buyer_is_maker),
    "kind": lambda each: replace(each, kind=TradeKind.RPI),
}

Planted = tuple[list[Trade], list[tuple[What, int, str]]]


def missing(trades: list[Trade], at: int, side: int) -> Planted:
    what = (What.ONLY_B, What.ONLY_A)[side]
    return trades[:at] + trades[at + 1 :], [(what, trades[at].trade_id, "")]


def doubled(trades: list[Trade], at: int, side: int) -> Planted:
    what = (What.DOUBLE_A, What.DOUBLE_B)[side]
    return trades[: at + 2] + trades[at : at + 1] + trades[at + 2 :], [
        (what, trades[at].trade_id, "")
    ]


def reordered(trades: list[Trade], at: int, side: int) -> Planted:
    ahead = 1 if side else 0  # the pair that is completed second
    swapped = [*trades[:at], trades[at + 1], trades[at], *trades[at + 2 :]]
    return swapped, [(What.ORDER, trades[at + 1 - ahead].trade_id, "place")]


def shifted(trades: list[Trade], at: int, side: int) -> Planted:
    """Ids between those of others, so both are within the window."""
    moved = replace(trades[at], trade_id=trades[at].trade_id + 1)
    here, there = (What.ONLY_A, What.ONLY_B) if side == 0 else (What.ONLY_B, What.ONLY_A)
    return [*trades[:at], moved, *trades[at + 1 :]], [
        (here, moved.trade_id, ""),
        (there, trades[at].trade_id, ""),
    ]


def changed(field: str) -> Callable[[list[Trade], int, int], Planted]:
    def plant(trades: list[Trade], at: int, side: int) -> Planted:
        other = FIELDS[field](trades[at])
        found = [(What.UNEQUAL, trades[at].trade_id, field)]
        return [*trades[:at], other, *trades[at + 1 :]], found

    return plant


KINDS = {
    "missing": missing,
    "doubled": doubled,
    "reordered": reordered,
    "shifted": shifted,
    **{field: changed(field) for field in FIELDS},
}


@pytest.mark.parametrize("side", [0, 1], ids="AB")
@pytest.mark.parametrize("kind", KINDS)
def test_a_planted_difference_is_found_and_nothing_else(kind: str, side: int) -> None:
    """126 differences, one at a time."""
    trades = [trade(2 * number) for number in range(COUNT)]
    for at in DEEP:
        planted, expected = KINDS[kind](trades, at, side)
        found = compared(*((planted, trades) if side == 0 else (trades, planted)))
        assert Counter(found.differences) == Counter(expected), at
        assert found.report.differences == len(expected)


def test_a_hundred_planted_differences_are_found_at_once_and_nothing_else() -> None:
    """Of all kinds, and in both streams."""
    whole = [trade(2 * number) for number in range(3_000)]
    streams, expected = [whole, whole], Counter[tuple[What, int, str]]()
    for number in reversed(range(100)):  # the places before one that is changed stay what they are
        side, plant = number % 2, list(KINDS.values())[number // 2 % len(KINDS)]
        streams[side], planted = plant(streams[side], 20 + 29 * number, side)
        expected.update(planted)
    found = compared(*streams)
    assert Counter(found.differences) == expected
    assert found.report.differences == expected.total() >= 100


def test_equal_streams_match_with_the_time_by_which_one_was_later() -> None:
    found = compared(run_of(0, 50), run_of(0, 50))
    (report,) = found.report.symbols
    assert found.differences == []
    assert (report.matched, report.differences, found.report.compared) == (50, 0, 50)
    assert report.a_later is None
    assert report.b_later is not None
    assert (report.b_later.count, report.b_later.max_ns) == (50, S // 100)
    assert (report.first_id, report.last_id) == (0, 49)
    assert (report.first_ms, report.last_ms) == (trade(0).time_ms, trade(49).time_ms)


@given(st.data())
def test_any_two_streams_of_one_market_differ_as_the_lists_say(data: st.DataObject) -> None:
    ids = st.lists(st.integers(0, 15), max_size=25)
    streams = [[trade(each) for each in data.draw(ids)] for _ in "AB"]
    changed_ids = data.draw(st.sets(st.integers(0, 15), max_size=3))
    streams[1] = [FIELDS["price"](x) if x.trade_id in changed_ids else x for x in streams[1]]
    lags = [data.draw(st.integers(0, 9)) * S for _ in "AB"]
    found = Found()
    found.take(*(paced(each, late_ns=lag) for each, lag in zip(streams, lags, strict=True)))
    counted = Counter(what for what, _, _ in found.differences)

    once = [list(dict.fromkeys(x.trade_id for x in each)) for each in streams]
    for side, (what, double) in enumerate(
        ((What.ONLY_A, What.DOUBLE_A), (What.ONLY_B, What.DOUBLE_B))
    ):
        other = once[1 - side]
        alone = [x for x in once[side] if x not in other]
        inside = [x for x in alone if other and other[0] < x < max(other)]
        assert counted[what] == sum(x >= once[side][0] for x in inside)
        assert counted[double] == len(streams[side]) - len(once[side])
    common = [[x for x in each if x in once[1 - side]] for side, each in enumerate(once)]
    assert (counted[What.ORDER] > 0) == (common[0] != common[1])
    assert counted[What.UNEQUAL] == len(changed_ids & set(common[0]))


def test_late_joiners_and_early_leavers_are_compared_where_both_were() -> None:
    found = compared(run_of(0, 20), run_of(5, 30))
    (report,) = found.report.symbols
    assert found.differences == []
    assert (report.first_id, report.last_id, report.matched, report.outside) == (5, 19, 15, 20)


def test_trades_of_a_snapshot_do_not_count_and_the_window_begins_behind_them() -> None:
    """A joins when 7 was the newest; 5 comes late. B has 6 and 7."""
    late = [Snapshot(trades=(trade(7),)), trade(5), *run_of(8, 5)]
    found = compared(late, run_of(4, 9))
    (report,) = found.report.symbols
    assert found.differences == []
    assert (report.matched, report.outside) == (6, 3)


def test_trades_that_are_back_filled_from_before_the_join_do_not_count() -> None:
    """A joins while its service fills a gap, of which B had the trades long ago."""
    filled = [replace(each, back_filled=True) for each in run_of(10, 5)]
    found = compared([*filled, *run_of(200, 5)], run_of(0, 205))
    assert found.differences == []
    assert found.report.symbols[0].first_id == 200


def test_a_symbol_that_is_silent_in_one_stream_is_missing_there() -> None:
    """No trade of it tells of a window, but the stream itself goes on."""
    other = [trade(number, LIFE) for number in range(200)]
    found = Found()
    found.take(paced(other), sorted(paced(other) + paced(run_of(0, 200), late_ns=1)))
    found.comparison.advance(0, 261 * S)
    assert {what for what, _, _ in found.differences} == {What.ONLY_B}
    assert sorted(number for _, number, _ in found.differences) == list(range(60, 200))


def test_a_stream_that_has_just_joined_need_not_have_what_the_other_has() -> None:
    found = compared([trade(0, LIFE)], run_of(0, 10))
    assert found.differences == []
    assert found.report.compared == 0


@pytest.mark.parametrize("side", [0, 1], ids="AB")
@pytest.mark.parametrize(
    "told",
    [
        [loss(3)],
        [status(FeedState.DOWN), status(FeedState.LIVE)],
        [status(FeedState.STALE, BTC), status(FeedState.LIVE, BTC)],
        [gap(10, 12), gap(10, 12, GapState.UNRECOVERABLE)],
        [Skipped(first_seq=1, last_seq=3, kind=99)],
        [Restarted(before=Position(epoch_ns=1, seq=9), epoch_ns=2)],
    ],
    ids=["loss", "feed", "symbol", "gap", "skipped", "restart"],
)
def test_what_a_stream_told_to_be_lost_is_shown_apart(told: list[object], side: int) -> None:
    whole = run_of(0, 30)
    holed = [*whole[:10], *told, *whole[13:]]
    found = compared(*((holed, whole) if side == 0 else (whole, holed)))  # type: ignore[arg-type]
    what = (What.LOST_A, What.LOST_B)[side]
    assert found.differences == [(what, 10, ""), (what, 11, ""), (what, 12, "")]
    assert found.report.differences == 0
    assert found.report.symbols[0].matched == 27


def test_what_is_missing_elsewhere_than_told_is_a_difference() -> None:
    whole = run_of(0, 30)
    found = compared([*whole[:10], loss(2), *whole[12:20], *whole[21:]], whole)
    assert (What.ONLY_B, 20, "") in found.differences
    assert found.report.differences == 1


def test_more_missing_trades_than_lost_records_are_an_excess() -> None:
    whole = run_of(0, 30)
    found = compared([*whole[:10], loss(2), *whole[15:]], whole)
    assert found.report.a.excess == 3
    assert found.report.differences == 3


def test_ids_that_a_stream_calls_no_trades_are_missing_if_the_other_has_them() -> None:
    whole = run_of(0, 30)
    told = [gap(10, 11), gap(10, 11, GapState.NO_TRADE)]
    found = compared([*whole[:10], *told, *whole[12:]], whole)
    assert found.differences == [(What.ONLY_B, 10, ""), (What.ONLY_B, 11, "")]


def test_back_filled_trades_match_in_any_order_and_however_late_while_their_gap_is_open() -> None:
    whole = run_of(0, 300)
    filled = [replace(each, back_filled=True) for each in whole[10:12]]
    stream = [*whole[:10], gap(10, 11), *whole[12:], *filled, gap(10, 11, GapState.BACK_FILLED)]
    found = compared(stream, whole)
    assert found.differences == []
    assert found.report.symbols[0].matched == 300
    assert found.report.a.open_ids == 0


def test_a_gap_that_is_still_open_at_the_end_is_told() -> None:
    whole = run_of(0, 30)
    found = compared([*whole[:10], gap(10, 11), *whole[12:]], whole)
    assert [what for what, _, _ in found.differences] == [What.LOST_A] * 2
    assert found.report.a.open_ids == 2


def test_trades_that_were_told_missing_and_come_after_all_are_matched() -> None:
    """The feed was down; its gap is opened and back-filled long after it is back."""
    whole = run_of(0, 400)
    away = [status(FeedState.DOWN), status(FeedState.LIVE)]
    filled = [replace(each, back_filled=True) for each in whole[10:12]]
    found = compared([*whole[:10], *away, *whole[12:], *filled], whole)
    (report,) = found.report.symbols
    assert (report.lost_a, report.matched, report.differences) == (0, 400, 0)


def test_a_lost_connection_that_resumes_misses_nothing() -> None:
    whole = run_of(0, 200)
    found = Found()
    away = Disconnected(why="cut", pause_s=1.0)
    resumed = [(150 * S, each) for each in whole[10:]]
    found.take([*paced(whole[:10]), (11 * S, away), *resumed], paced(whole))
    found.comparison.advance(0, 300 * S)
    assert found.differences == []
    assert found.report.symbols[0].matched == 200
    assert found.report.a.disconnects == 1


def test_trades_that_a_restarted_service_brings_again_are_no_doubles() -> None:
    whole = run_of(0, 20)
    again = [replace(each, back_filled=True) for each in whole[8:10]]
    restarted = Restarted(before=Position(epoch_ns=1, seq=9), epoch_ns=2)
    found = compared([*whole[:10], restarted, *again, *whole[10:]], whole)
    assert found.differences == []
    assert found.report.symbols[0].again_a == 2


def test_a_trade_that_is_later_than_allowed_counts_as_missing() -> None:
    whole = run_of(0, 200)
    late = [*whole[:10], *whole[11:150], whole[10], *whole[150:]]
    found = compared(late, whole)
    assert found.differences == [(What.ONLY_B, 10, ""), (What.ONLY_A, 10, "")]


def test_units_do_not_matter_and_values_do() -> None:
    finer = replace(BTC, price_exponent=-4, quantity_exponent=-5, time_exponent=-6)

    def refined(each: Trade) -> Trade:
        return replace(
            each,
            instrument=finer,
            time=each.time * 1000,
            price=each.price * 100,
            quantity=each.quantity * 100,
        )

    whole = run_of(0, 20)
    there = [refined(each) for each in whole]
    there[7] = replace(there[7], price=there[7].price + 1)
    found = compared(whole, there)
    assert found.differences == [(What.UNEQUAL, 7, "price")]
    assert (found.findings[0].a, found.findings[0].b) == ("80000.07", "80000.0701")


def test_ids_in_no_order_are_matched_by_id_and_the_window_goes_by_time() -> None:
    def scrambled(trades: list[Trade]) -> list[Trade]:
        return [replace(each, trade_id=each.trade_id * 7_919 % 10_007) for each in trades]

    whole = scrambled(run_of(0, 40))
    found = compared(whole[5:], [*whole[:20], *whole[21:35]], identity=Identity.UNORDERED)
    assert found.differences == [(What.ONLY_A, whole[20].trade_id, "")]
    assert found.report.symbols[0].first_id is None
    assert found.report.symbols[0].outside == 10


def test_without_comparable_ids_content_is_matched() -> None:
    """Two trades of the same content are two, and a value that differs makes it another trade."""
    whole = run_of(0, 20)
    twins = [*whole[:10], whole[9], *whole[10:]]
    other = [replace(each, trade_id=each.trade_id + 1_000) for each in twins]
    finer = replace(BTC, price_exponent=-4)
    other = [replace(each, instrument=finer, price=each.price * 100) for each in other]
    found = compared(twins, other, identity=Identity.CONTENT)
    assert found.differences == []
    assert found.report.symbols[0].matched == 21
    found = compared(twins, [*other[:9], *other[10:]], identity=Identity.CONTENT)
    assert found.differences == [(What.ONLY_A, 9, "")]


@pytest.mark.parametrize("identity", list(Identity))
def test_times_and_kinds_are_compared_as_far_as_both_streams_have_them(identity: Identity) -> None:
    """B has whole ms only. In its first ms A had a trade before B had joined."""
    fine = replace(BTC, time_exponent=-9)
    of_a = [
        replace(each, instrument=fine, time=each.time * MS + 100_000 * place)
        for place, each in enumerate(run_of(0, 10))
    ]
    of_b = [replace(each, instrument=BTC, time=each.time // MS) for each in of_a[1:]]
    of_b[4] = replace(of_b[4], kind=TradeKind.RPI)
    joined = [replace(of_a[0], time=of_a[1].time - 1), *of_a[1:]]
    coarse = compared(
        joined, of_b, identity=identity, fields=Fields(time_unit_ns=MS, has_kinds=False)
    )
    assert coarse.differences == []
    assert coarse.report.symbols[0].matched == 9
    if identity is Identity.ASCENDING:
        exact = compared(joined, of_b, identity=identity)
        assert exact.report.symbols[0].unequal == {"time": 9, "kind": 1}


def test_memory_is_bounded_by_the_time_that_trades_wait() -> None:
    found = Found(within_ns=20 * S)
    both = run_of(0, 2_000)
    found.take(paced(both), paced(both))
    assert found.comparison.kept < 25
    assert found.differences == []


def test_more_trades_than_are_kept_are_undecided_while_the_other_stream_may_bring_them() -> None:
    found = Found(most_kept=10)
    found.take([*paced(run_of(0, 2)), *paced(run_of(2, 20), late_ns=2 * S)], paced(run_of(0, 1)))
    assert found.comparison.kept == 10
    assert [what for what, _, _ in found.differences] == [What.UNDECIDED] * 11
    assert found.report.symbols[0].undecided == 11


def test_a_symbol_that_waits_for_a_gap_leaves_room_for_the_others() -> None:
    found = Found(most_kept=50)
    quiet = run_of(0, 10, LIFE)
    gone = [gap(0, 1_000), *run_of(1_001, 1)]
    found.take(
        [*paced(run_of(0, 1_002), step_ns=1), *paced(quiet, late_ns=2 * S)],
        [*paced(gone, step_ns=1), *paced(quiet, late_ns=3 * S)],
    )
    by_symbol = {each.symbol: each for each in found.report.symbols}
    assert by_symbol[LIFE.symbol].matched == 10
    assert by_symbol[BTC.symbol].undecided > 900


def test_a_gap_that_is_open_at_a_restart_is_none_that_anything_waits_for() -> None:
    restarted = Restarted(before=Position(epoch_ns=1, seq=1), epoch_ns=2)
    found = Found()
    found.take(
        paced(run_of(0, 200)), paced([*run_of(0, 5), gap(5, 9), restarted, *run_of(10, 190)])
    )
    assert found.differences == [(What.LOST_B, each, "") for each in range(5, 10)]
    assert found.comparison.kept < 70


def test_trades_that_come_after_all_are_no_excess() -> None:
    """Three are lost with the GAP that names them, and back-filled when they count as lost."""
    late = [replace(each, back_filled=True) for each in run_of(5, 3)]
    found = Found()
    b = [*run_of(0, 5), loss(1), *run_of(8, 112), *late, *run_of(120, 80)]
    found.take(paced(run_of(0, 200)), paced(b))
    assert found.report.symbols[0].matched + found.report.symbols[0].lost_b == 200
    assert found.report.b.excess == 0


def test_waiting_ends_with_the_last_partner_or_with_the_stream() -> None:
    found = Found()
    comparison = found.comparison
    assert not comparison.is_waiting
    comparison.take(0, trade(1), S)
    assert comparison.is_waiting
    comparison.close()
    comparison.take(1, trade(1), 2 * S)
    comparison.take(1, trade(2), 2 * S)
    assert not comparison.is_waiting
    assert found.differences == []
    assert found.report.symbols[0].matched == 1


def test_nobody_waits_for_a_stream_that_is_over() -> None:
    comparison = Found().comparison
    comparison.take(0, trade(1), S)
    comparison.end(1)
    assert not comparison.is_waiting
    assert comparison.now_ns(1) is None
    assert comparison.now_ns(0) == S


def test_symbols_that_only_one_stream_has_are_named() -> None:
    few = replace(HEADER, instruments=(BTC,), references=HEADER.references[:1])
    found = Found(headers=(HEADER, few))
    found.take(paced([trade(1, LIFE), status(FeedState.DOWN, LIFE)]), [])
    assert found.report.only_served_by_a == (LIFE.symbol,)
    assert found.report.only_served_by_b == ()
    assert found.report.symbols == ()
    assert found.comparison.common == {"BTCUSDT"}
