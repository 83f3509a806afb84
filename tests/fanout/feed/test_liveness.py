from math import inf

from fanout.feed.liveness import FACTOR, FLOOR_S, Change, Liveness
from fanout.protocol import FeedState
from fanout.protocol.constants import DataKinds

CONNECTING, LIVE, STALE, DOWN = (
    FeedState.CONNECTING,
    FeedState.LIVE,
    FeedState.STALE,
    FeedState.DOWN,
)


def subscribed(*usual_s: float) -> Liveness:
    """Instruments with such usual pauses, subscribed to at second 0."""
    liveness = Liveness(usual_s, [0.0] * len(usual_s), first_trade_timeout_s=20.0)
    changes = liveness.subscribed(range(len(usual_s)), 0.0, "subscribed")
    assert changes == [Change(i, CONNECTING, "subscribed") for i in range(len(usual_s))]
    return liveness


def live(usual_s: float) -> Liveness:
    liveness = subscribed(usual_s)
    assert liveness.traded(0, 0.0) == [Change(0, LIVE, "first trade")]
    return liveness


def test_an_instrument_is_live_at_its_first_trade_and_others_are_not() -> None:
    liveness = subscribed(0.1, 0.1)
    assert liveness.traded(1, 0.5) == [Change(1, LIVE, "first trade")]
    assert liveness.traded(1, 0.6) == []
    assert [liveness.state(i) for i in (0, 1)] == [CONNECTING, LIVE]
    assert [liveness.has_traded(i) for i in (0, 1)] == [False, True]


def test_a_pause_that_is_not_known_is_not_reported_as_usual() -> None:
    assert live(0.0).check(FLOOR_S) == [Change(0, STALE, "quiet for 12 s")]


def test_an_instrument_without_a_first_trade_is_reported_stale_once() -> None:
    liveness = subscribed(0.1)
    assert liveness.check(19.9) == []
    assert liveness.check(20.0) == [Change(0, STALE, "no trade within 20 s")]
    assert liveness.check(30.0) == []


def test_a_quiet_instrument_is_stale_and_then_recovers() -> None:
    liveness = live(0.1)
    assert liveness.check(FLOOR_S - 0.1) == []
    assert liveness.check(FLOOR_S) == [Change(0, STALE, "quiet for 12 s, usually for 0.1 s")]
    assert liveness.traded(0, 42.0) == [Change(0, LIVE, "recovered after 42 s")]
    assert liveness.check(42.0 + FLOOR_S - 0.1) == []


def test_an_instrument_with_a_trade_a_minute_may_be_quiet_for_minutes() -> None:
    liveness = live(60.0)
    assert liveness.check(60.0 * FACTOR - 1) == []
    assert len(liveness.check(60.0 * FACTOR)) == 1


def test_the_usual_pause_is_learnt() -> None:
    liveness, now_s = live(0.0), 0.0
    for _ in range(200):
        now_s += 5.0
        liveness.traded(0, now_s)
    assert liveness.check(now_s + 40.0) == []
    assert len(liveness.check(now_s + 5.0 * FACTOR)) == 1


def test_a_burst_does_not_shorten_the_limit_of_a_slow_instrument() -> None:
    liveness = live(60.0)
    for _ in range(1_000):
        liveness.traded(0, 30.0)
    assert liveness.check(30.0 + 500.0) == []


def test_one_long_silence_does_not_extend_the_limit_of_a_fast_instrument() -> None:
    liveness = live(0.1)
    liveness.check(100_000.0)
    liveness.traded(0, 100_000.0)
    assert len(liveness.check(100_000.0 + 2 * FLOOR_S)) == 1


def test_without_a_connection_nothing_is_stale() -> None:
    liveness = live(0.1)
    assert liveness.down([0], "gone") == [Change(0, DOWN, "gone")]
    assert liveness.check(1_000.0) == []
    assert liveness.subscribed([0], 1_001.0, "subscribed") == [Change(0, CONNECTING, "subscribed")]
    assert liveness.check(1_020.0) == []
    assert len(liveness.check(1_021.0)) == 1


def test_next_due_s_is_the_time_of_the_next_check() -> None:
    liveness = subscribed(0.1, 60.0)
    assert liveness.next_due_s == 20.0
    liveness.traded(0, 5.0)
    liveness.traded(1, 5.0)
    assert liveness.next_due_s == 5.0 + FLOOR_S
    liveness.check(5.0 + FLOOR_S)
    assert liveness.next_due_s == 5.0 + FACTOR * 60.0
    liveness.down([0, 1], "gone")
    assert liveness.next_due_s == inf


def test_a_halted_instrument_stays_halted_until_it_trades() -> None:
    liveness = live(0.1)
    liveness.check(50.0)
    assert liveness.halted(0, "status SETTLING") == [Change(0, FeedState.HALTED, "status SETTLING")]
    assert liveness.check(1e9) == []
    assert liveness.traded(0, 100.0) == [Change(0, LIVE, "recovered after 100 s")]


def test_an_instrument_that_trades_in_bursts_may_pause_between_them() -> None:
    liveness, now_s, stale = live(0.1), 0.0, 0
    for _ in range(30):
        for _ in range(20):
            now_s += 0.05
            liveness.traded(0, now_s)
        stale += len(liveness.check(now_s + 40.0))
        now_s += 40.0
    assert stale <= 2


def test_after_a_reconnect_an_instrument_has_its_usual_limit() -> None:
    liveness = live(60.0)
    liveness.down([0], "gone")
    liveness.subscribed([0], 100.0, "subscribed")
    assert liveness.check(100.0 + 599.0) == []
    assert len(liveness.check(100.0 + 600.0)) == 1
    assert (liveness.stale_count(0), liveness.has_ever_traded(0)) == (1, True)


def test_each_kind_of_data_that_is_lost_is_reported_and_all_have_to_be_back() -> None:
    liveness, quotes, book = live(1.0), DataKinds.QUOTES, DataKinds.BOOK_BY_PRICE
    assert liveness.lost(0, quotes, "no quotes") == [Change(0, STALE, "no quotes")]
    # Told again, for readers that joined in between: their book is wrong from now on.
    assert liveness.lost(0, book, "broken") == [Change(0, STALE, "broken")]
    assert liveness.stale_count(0) == 1
    assert liveness.back(0, quotes, "quotes are back") == []
    assert liveness.back(0, book, "whole") == [Change(0, LIVE, "whole")]


def test_a_sign_of_life_postpones_stale_and_changes_no_usual_pause() -> None:
    liveness = live(0.1)
    for second in range(1, 101):
        assert liveness.check(second) == liveness.heard(0, second) == []
    assert liveness.check(100 + FLOOR_S - 0.1) == []
    assert liveness.check(100 + FLOOR_S) == [Change(0, STALE, "quiet for 12 s, usually for 0.1 s")]
    (change,) = liveness.heard(0, 120.0)
    assert change.state is LIVE
    assert liveness.check(120 + FLOOR_S)[0].state is STALE


def test_a_sign_of_life_proves_a_subscription_but_is_no_trade() -> None:
    liveness = subscribed(0.0)
    assert [each.state for each in liveness.heard(0, 1.0)] == [LIVE]
    assert not liveness.has_traded(0)
    liveness.halted(0, "the venue says so")
    assert liveness.heard(0, 2.0) == []
    waiting = Liveness([0.0], [0.0], first_trade_timeout_s=20.0, lacks=DataKinds.BOOK_BY_PRICE)
    waiting.subscribed([0], 0.0, "subscribed")
    assert waiting.heard(0, 19.0) == waiting.check(38.9) == []
    assert waiting.check(39.0) == [Change(0, STALE, "no trade within 20 s")]


def test_the_venue_may_have_a_longer_shortest_silence() -> None:
    liveness = Liveness([0.1], [0.0], first_trade_timeout_s=20.0, silence_s=35.0)
    liveness.subscribed([0], 0.0, "subscribed")
    liveness.traded(0, 0.0)
    assert liveness.check(34.9) == []
    assert [each.state for each in liveness.check(35.0)] == [STALE]
