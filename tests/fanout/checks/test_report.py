from itertools import combinations

import pytest

from fanout.checks.report import Check, Fault, Name, Report, State, Subject, any_failed, time_text

PORT = Subject(Name.PORT, "127.0.0.1:9000")

ORDER = ["forbidden", "config", "busy", "unreachable", "machine"]


def failed(fault: Fault) -> Check:
    return PORT.failed("found", "advice", fault)


@pytest.mark.parametrize(("first", "second"), [*combinations(ORDER, 2)])
def test_the_more_permanent_of_two_faults_counts(first: str, second: str) -> None:
    rows = [failed(Fault(second)), failed(Fault(first)), PORT.passed("free")]
    assert Report(tuple(rows)).fault == first
    assert Report(tuple(reversed(rows))).fault == first


def test_a_report_without_failures_has_no_fault() -> None:
    report = Report((PORT.passed("free"), PORT.warned("slow", "hurry"), PORT.skipped("why")))
    assert report.fault is None
    assert [report.count(state) for state in State] == [1, 1, 0, 1]
    assert not any_failed(report.checks)
    assert any_failed([failed(Fault.MACHINE)])


def test_a_row_has_state_finding_advice_and_duration() -> None:
    assert PORT.failed("taken", "take another", Fault.MACHINE, took_s=0.0123) == Check(
        name=Name.PORT,
        target="127.0.0.1:9000",
        state=State.FAIL,
        found="taken",
        advice="take another",
        fault=Fault.MACHINE,
        took_ms=12.3,
    )
    assert PORT.passed("free").took_ms is None


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.0004, "0 ms"), (0.25, "250 ms"), (1.0, "1.0 s"), (7200, "7,200.0 s")]
)
def test_durations_are_shown_in_ms_or_s(seconds: float, said: str) -> None:
    assert time_text(seconds) == said
