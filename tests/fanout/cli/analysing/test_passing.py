from fanout.cli.analysing.passing import WINDOW_NS, Passing

MS = 10**6


def test_there_is_no_time_before_the_first_record() -> None:
    passing = Passing()
    assert passing.now_ns(5) == 0
    passing.note(0, 5)
    assert passing.now_ns(5) == 0, "a record without a time says nothing"


def test_time_goes_on_from_the_newest_record() -> None:
    passing = Passing()
    passing.note(1_000 * MS, 10 * MS)
    assert passing.now_ns(10 * MS) == 1_000 * MS
    assert passing.now_ns(17 * MS) == 1_007 * MS


def test_a_record_that_took_longer_does_not_turn_time_back() -> None:
    passing = Passing()
    passing.note(1_000 * MS, 10 * MS)
    passing.note(1_001 * MS, 50 * MS)
    assert passing.now_ns(50 * MS) == 1_040 * MS
    passing.note(1_060 * MS, 60 * MS)
    assert passing.now_ns(60 * MS) == 1_060 * MS


def test_a_clock_that_was_set_back_is_believed_after_two_windows() -> None:
    passing = Passing()
    passing.note(100_000 * MS, 0)
    for second in range(1, 14):
        here_ns = second * 1_000 * MS
        passing.note(90_000 * MS + here_ns, here_ns)
        behind_ns = 100_000 * MS + here_ns - passing.now_ns(here_ns)
        assert behind_ns in (0, 10_000 * MS)
        assert behind_ns == 0 or here_ns > WINDOW_NS
    assert passing.now_ns(here_ns) == 90_000 * MS + here_ns
