"""The stage `ring`: its rows and goals, and that a frame which is not the next one is noticed."""

import os
from collections import deque
from typing import Any

import pytest

from tests.bench import ring
from tests.bench.report import Absent, Row
from tests.bench.ring_parts import crowd
from tests.bench.shm import CannotStartError, Contender
from tests.thoroughness import small_dose


def result() -> tuple[dict[str, Row], dict[str, str]]:
    rows = ring.run(small=True)
    return (
        {each.name: each for each in rows if isinstance(each, Row)},
        {each.name: each.why for each in rows if isinstance(each, Absent)},
    )


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is measured; everything is there."""

    def handed(contender: Contender, dose: Any) -> list[int]:
        return [*range(100)]

    monkeypatch.setattr(ring, "alone", lambda contender, dose: [30.0, 20.0, 10.0])
    monkeypatch.setattr(ring, "handed", handed)
    monkeypatch.setattr(ring, "crowd", lambda contender, readers, dose: 100.0 + readers)
    monkeypatch.setattr(Contender, "why_absent", "")


@small_dose
def test_every_contender_is_measured_or_left_out_by_name(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ring, "PREFIX", f"fanout-test-{os.getpid()}-")
    rows, absent = result()
    assert {ring.PLAIN, "tcp"}.isdisjoint(absent)
    for name in (ring.HANDED | ring.PUBLISHED).keys() - absent.keys():
        assert rows[f"{name}, hand-off p50"].value > 0
    for name in ring.HANDED.keys() - absent.keys():
        assert rows[f"{name}, a frame to 8"].value > 0
    assert not list(ring.MEMORY.glob(f"{ring.PREFIX}*")), "nothing is left behind"
    assert capfd.readouterr().err == ""


@pytest.mark.usefixtures("measured")
def test_the_goals_are_those_of_the_ring() -> None:
    rows, absent = result()
    assert not absent
    assert {name: (row.value, row.goal) for name, row in rows.items() if row.goal} == {
        "ring, compiled, push": (30, "<= 200"),
        "ring, compiled, pop": (20, "<= 200"),
        "ring, compiled, empty look": (10, "<= 120"),
        "ring, plain, push": (30, "<= 2,000"),
        "ring, plain, pop": (20, "<= 2,000"),
        "ring, plain, empty look": (10, "<= 2,000"),
        "ring, compiled, hand-off p50": (50, "<= 1,000"),
        "ring, compiled, a frame to 8 / to 1": (108 / 101, "<= 1.2"),
        "ring, plain, a frame to 8 / to 1": (108 / 101, "<= 1.2"),
    }
    assert rows["tcp, hand-off p99"].value == 99
    assert rows["iceoryx2, a frame to 8"].value == 108


@pytest.mark.usefixtures("measured")
def test_who_is_missing_or_does_not_start_is_left_out_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def handed(contender: Contender, dose: Any) -> list[int]:
        if contender.way == "iceoryx":
            raise CannotStartError("iceoryx does not start on this machine")
        return [1]

    monkeypatch.setattr(ring, "handed", handed)
    rows, absent = result()
    assert absent == {"iceoryx2": "iceoryx does not start on this machine"}
    assert not [name for name in rows if name.startswith("iceoryx2")]
    monkeypatch.setattr(Contender, "why_absent", property(lambda each: each.needs and "missing"))
    rows, absent = result()
    assert absent.keys() == {
        "ring, compiled",
        "ring, compiled, from publishing",
        "queue, compiled",
        "queue, compiled, from publishing",
        "iceoryx2",
    }


def test_a_push_and_a_pop_are_measured_alone() -> None:
    dose = ring.Dose(alone=1, paced=0, crowd=0, rounds=1)
    assert all(each > 0 for each in ring.alone(Contender("ring"), dose))


def test_a_frame_that_is_lost_repeated_or_changed_is_noticed() -> None:
    frames = [crowd.framed(number) for number in range(4)]
    came = deque([None, frames[0][4:], *frames[1:]])
    crowd.read(came.popleft, 4)
    assert not came
    for wrong in (frames[1:], [frames[0], *frames], [frames[0], frames[1][:-1] + b"?"]):
        with pytest.raises(RuntimeError, match="was due"):
            crowd.read(deque(wrong).popleft, 4)


def test_a_crowd_of_two_gets_every_frame() -> None:
    dose = ring.Dose(alone=0, paced=0, crowd=20, rounds=1)
    assert ring.crowd(Contender("ring"), 2, dose) > 0
