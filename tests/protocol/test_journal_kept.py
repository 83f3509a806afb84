from fanout.protocol.journal_kept import Kept


def test_the_value_that_was_not_asked_for_the_longest_goes_first() -> None:
    kept = Kept[str](3)
    assert [kept.keep(each, each.upper()) for each in "abc"] == [False] * 3
    assert kept.get("a") == "A"
    assert kept.keep("d", "D")
    assert (kept.values(), kept.get("b")) == (["C", "A", "D"], None)
    assert (len(kept), kept.size) == (3, 3)


def test_values_count_with_their_sizes() -> None:
    kept = Kept[str](10)
    kept.keep("a", "A", 4)
    assert not kept.keep("a", "A", 5)
    kept.keep("b", "B", 5)
    assert (kept.values(), kept.size) == (["A", "B"], 10)
    kept.keep("c", "C", 6)
    assert (kept.values(), kept.size) == (["C"], 6)
    assert kept.keep("d", "D", 11)
    assert (kept.values(), kept.size) == ([], 0), "it is too large by itself"
