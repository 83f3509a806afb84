"""What is asked of a venue, and what its answers say of it."""

from hypothesis import given
from hypothesis import strategies as st

from fanout.venues.acks import Ask, Topics


def both(symbol: str) -> tuple[str, ...]:
    return (f"trades.{symbol}", f"book.{symbol}")


def topics(*, most: int = 100, room: int = 4_096) -> Topics:
    return Topics(both, most=most, room=room)


def names(*symbols: str) -> tuple[str, ...]:
    return tuple(topic for each in symbols for topic in both(each))


def test_a_symbol_is_confirmed_with_the_last_of_its_topics() -> None:
    asked = topics()
    assert asked.ask(("A", "B")) == (Ask(1, names("A", "B")),)
    assert asked.unanswered == {"A", "B"}
    assert asked.confirm(["book.B", "trades.A"]) == ()
    assert asked.confirm(["book.A"]) == ("A",)
    assert asked.unanswered == {"B"}
    assert asked.confirm(["book.A", "book.B", "trades.C"]) == (), "known, known, and not asked"
    assert asked.confirm(["trades.B"]) == ("B",)
    assert asked.unanswered == frozenset()


def test_a_request_is_confirmed_by_its_number_once() -> None:
    asked = topics(most=2)
    assert [each.number for each in asked.ask(("A", "B"))] == [1, 2]
    assert asked.confirm(asked.pop(2)) == ("B",)
    assert asked.pop(2) == asked.pop(7) == ()
    assert asked.confirm(asked.pop(1)) == ("A",)


def test_an_answer_without_a_number_is_for_the_oldest_request() -> None:
    asked = topics(most=2)
    asked.ask(("A", "B", "C"))
    asked.pop(1)
    assert asked.pop(None) == names("B")
    assert asked.pop(None) == names("C")
    assert asked.pop(None) == ()


def test_requests_keep_to_the_number_of_topics_and_of_bytes() -> None:
    symbols = tuple(f"S{number}" for number in range(20))
    runs = [each.topics for each in topics(most=7).ask(symbols)]
    assert [len(each) for each in runs] == [7, 7, 7, 7, 7, 5]
    assert sum(runs, ()) == names(*symbols)
    runs = [each.topics for each in topics(room=64).ask(symbols)]
    assert sum(runs, ()) == names(*symbols)
    assert max(len(",".join(f'"{topic}"' for topic in run)) for run in runs) <= 64
    assert topics().ask(()) == ()


def test_a_topic_longer_than_a_request_gets_one_of_its_own() -> None:
    runs = [each.topics for each in topics(room=16).ask(("币" * 20, "B"))]
    assert [len(each) for each in runs] == [1, 1, 1, 1]


def test_what_was_left_is_not_waited_for() -> None:
    asked = topics()
    asked.ask(("A", "B"))
    assert asked.leave(("A",)) == (Ask(2, names("A")),)
    assert asked.unanswered == {"B"}
    assert asked.symbol_of("book.A") is None
    assert asked.symbol_of("book.B") == "B"
    assert asked.confirm(asked.pop(1)) == ("B",)
    assert asked.leave(("C",)) == (Ask(3, names("C")),), "as the caller wants it"


def test_a_symbol_that_is_left_and_asked_again_waits_again() -> None:
    asked = topics()
    asked.confirm(asked.ask(("A",))[0].topics)
    asked.leave(("A",))
    assert asked.ask(("A",)) == (Ask(3, names("A")),)
    assert asked.unanswered == {"A"}


def test_a_refused_symbol_is_refused_once() -> None:
    asked = topics()
    asked.ask(("A", "B"))
    asked.confirm(["trades.A"])
    assert asked.refuse(["A", "C"], "no such symbol") == {"A": "no such symbol"}
    assert asked.refuse(["A"], "no such symbol") == {}
    assert asked.unanswered == {"B"}
    assert asked.symbol_of("book.A") is None
    assert asked.confirm(["book.A"]) == (), "it may answer all the same"


def test_a_request_that_names_the_bad_symbol_is_sent_again_without_it() -> None:
    asked = topics()
    asked.ask(("A", "BAD", "C"))
    refused, again = asked.refuse_request(1, "Invalid symbol", named=("BAD", "OTHER"))
    assert refused == {"BAD": "Invalid symbol"}
    assert again == (Ask(2, names("A", "C")),)
    assert asked.confirm(asked.pop(2)) == ("A", "C")


def test_only_topics_without_an_answer_are_asked_for_again() -> None:
    asked = topics()
    asked.ask(("A", "B", "BAD"))
    asked.confirm(["trades.A", *both("B")])
    refused, again = asked.refuse_request(None, "no", named=("BAD",))
    assert (refused, again) == ({"BAD": "no"}, (Ask(2, ("book.A",)),))


def test_a_symbol_is_not_blamed_for_one_that_was_refused_or_left_meanwhile() -> None:
    asked = topics(most=3)
    asked.ask(("A", "BAD"))
    assert asked.refuse_request(2, "no") == ({"BAD": "no"}, ())
    assert asked.refuse_request(1, "no") == ({}, (Ask(3, names("A")),))
    assert asked.refuse_request(3, "no") == ({"A": "no"}, ())


def test_a_topic_that_is_subscribed_already_blames_no_symbol() -> None:
    asked = topics()
    asked.ask(("A", "B"))
    asked.confirm(["book.A"])
    assert asked.refuse_request(1, "no", live=("book.A",)) == (
        {},
        (Ask(2, ("trades.A", *both("B"))),),
    )
    asked.confirm(["trades.A", "trades.B"])
    assert asked.refuse_request(2, "no", live=("trades.B",)) == ({}, (Ask(3, ("book.B",)),))
    assert asked.refuse_request(3, "no", live=("trades.B",)) == ({"B": "no"}, ()), "not in it"


def test_a_refusal_of_what_was_not_asked_does_nothing() -> None:
    asked = topics()
    asked.ask(("A",))
    assert asked.refuse_request(7, "no") == ({}, ())
    assert asked.unanswered == {"A"}
    asked.leave(("A",))
    assert asked.refuse_request(1, "no") == ({}, ())


@given(
    st.sets(st.integers(0, 40), max_size=5),
    st.integers(0, 41),
    st.integers(1, 90),
    st.booleans(),
)
def test_in_halves_exactly_the_bad_symbols_are_refused(
    bad: set[int], count: int, most: int, is_named: bool
) -> None:
    """At a venue that refuses each request with a bad symbol in it, named or not."""
    asked = topics(most=most)
    waiting = list(asked.ask(f"S{number}" for number in range(count)))
    wrong = {f"S{number}" for number in bad if number < count}
    refused: dict[str, str] = {}
    confirmed: list[str] = []
    sent = 0
    while waiting:
        ask = waiting.pop()
        sent += 1
        assert len(ask.topics) <= most
        faulty = sorted({topic.partition(".")[2] for topic in ask.topics} & wrong)
        if not faulty:
            confirmed += asked.confirm(asked.pop(ask.number))
            continue
        named = faulty[:1] if is_named else ()
        new, again = asked.refuse_request(ask.number, "no", named=named)
        refused |= new
        waiting += again
    assert refused == dict.fromkeys(wrong, "no")
    assert sorted(confirmed) == sorted({f"S{number}" for number in range(count)} - wrong)
    assert asked.unanswered == frozenset()
    assert sent <= 2 * count + 2 * (1 + len(wrong)) * 8
