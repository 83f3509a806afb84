"""The stage `shm`: who takes part, what its rows are called, and that wrong frames are noticed."""

import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.bench import shm
from tests.bench.measure import REST_CORE, WORK_CORE, answer, start
from tests.bench.report import Absent, Row
from tests.bench.shm import CannotStartError, Contender, Sample
from tests.bench.shm_rivals.frames import (
    FLOOD,
    WrongFrameError,
    clock_ages,
    framed,
    read_flood,
    read_paced,
)
from tests.bench.shm_rivals.pair import CANNOT_START
from tests.thoroughness import small_dose

PACED = [framed(number, 1) for number in range(9)]


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is measured: every contender's frames take 10 ns, and the plain queue's 20."""

    def sample(contender: Contender, dose: object) -> Sample:
        return Sample([20 if contender.pure else 10] * 1_000, 5e6)

    monkeypatch.setattr(shm, "sample", sample)
    monkeypatch.setattr(shm, "limit_sample", lambda ring, dose: Sample([5] * 1_000, 1e7))
    monkeypatch.setattr(shm, "cores_sample", lambda dose: Sample([], 0, away=0.5))
    monkeypatch.setattr(shm, "built", lambda program, directory: Path(program))
    monkeypatch.setattr(shm, "find_spec", lambda name: name)


def result() -> tuple[dict[str, Row], dict[str, str]]:
    rows = shm.run(small=True)
    return (
        {each.name: each for each in rows if isinstance(each, Row)},
        {each.name: each.why for each in rows if isinstance(each, Absent)},
    )


@small_dose
def test_every_contender_is_measured_or_left_out_by_name(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shm, "PREFIX", f"fanout-test-{os.getpid()}-")
    rows, absent = result()
    assert 0 <= rows[f"{shm.CORES}, away"].value < 100
    for name in shm.PUBLISHED.keys() - absent.keys():
        assert rows[f"{name}, p50"].value > 0
    assert {shm.PLAIN, "unix socket pair", "multiprocessing.Pipe", shm.CLOCK}.isdisjoint(absent)
    for name in {*shm.OURS, *shm.RIVALS, shm.LIMIT} - absent.keys():
        for percentile in shm.PERCENTILES:
            assert rows[f"{name}, {percentile}"].value > 0
        assert rows[f"{name}, flood"].value * 100 == pytest.approx(
            rows[f"{name}, bytes of the flood"].value * 1e6
        )
    assert not list(shm.MEMORY.glob(f"{shm.PREFIX}*")), "nothing is left behind"
    assert capfd.readouterr().err == ""


@pytest.mark.usefixtures("measured")
def test_ours_is_compared_with_the_quickest_rival_and_the_limit() -> None:
    rows, absent = result()
    assert not absent
    assert rows["fanout, compiled, p50"].goal == "<= 1,000"
    assert rows["fanout, plain, p50"].goal == "<= 2,500"
    assert {name: (row.value, row.goal) for name, row in rows.items() if " / " in name} == {
        "quickest rival / fanout, compiled, p50": (1, ">= 1"),
        "fanout, compiled / a ring in C, p50": (2, "<= 3"),
        "quickest rival / fanout, plain, p50": (0.5, ""),
        "fanout, plain / a ring in C, p50": (4, ""),
        "quickest rival / fanout, compiled, p99": (1, ">= 1"),
        "fanout, compiled / a ring in C, p99": (2, ""),
        "quickest rival / fanout, plain, p99": (0.5, ""),
        "fanout, plain / a ring in C, p99": (4, ""),
    }


@pytest.mark.usefixtures("measured")
def test_who_is_missing_is_left_out_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shm, "find_spec", lambda name: None)
    monkeypatch.setattr(shm, "built", lambda program, directory: None)
    rows, absent = result()
    assert absent == {
        "fanout, compiled": "fanout.protocol._speedups is not built",
        "fanout, compiled, without its client": "fanout.protocol._speedups is not built",
        "fanout, compiled, from publishing": "fanout.protocol._speedups is not built",
        "iceoryx2": "pip install iceoryx2",
        "pyzmq": "pip install pyzmq",
        "a ring in C": "a C compiler, cc, is missing",
    }
    assert [name for name in rows if " / " in name] == [
        "quickest rival / fanout, plain, p50",
        "quickest rival / fanout, plain, p99",
    ]


@pytest.mark.usefixtures("measured")
def test_who_does_not_start_here_is_left_out_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    measure = shm.sample

    def sample(contender: Contender, dose: Any) -> Sample:
        if contender.way == "iceoryx":
            raise CannotStartError("iceoryx does not start on this machine")
        return measure(contender, dose)

    monkeypatch.setattr(shm, "sample", sample)
    rows, absent = result()
    assert absent == {"iceoryx2": "iceoryx does not start on this machine"}
    assert "pyzmq, p50" in rows


def test_an_end_that_cannot_be_made_is_said_by_the_exit_code() -> None:
    words = ("queue", "/nowhere", 1, 1, WORK_CORE, REST_CORE)
    child = start("tests.bench.shm_rivals.pair", *words, core=REST_CORE)
    with pytest.raises(RuntimeError):
        answer(child)
    assert child.returncode == CANNOT_START


def test_a_contender_that_fails_fails_the_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shm, "start", lambda module, *words, **how: start("no_such_module", **how))
    with pytest.raises(RuntimeError, match="no_such_module"):
        shm.sample(Contender("pipe"), shm.SMALL)


def paced(frames: list[bytes]) -> object:
    return read_paced(deque(frames).popleft, len(frames))


def flood(frames: list[bytes]) -> object:
    return read_flood(deque(frames).popleft, len(frames), 1, 0)


@pytest.mark.parametrize(("read", "frames"), [(paced, PACED), (flood, FLOOD[:9])])
def test_a_frame_that_is_lost_repeated_swapped_or_changed_is_noticed(
    read: Callable[[list[bytes]], object], frames: list[bytes]
) -> None:
    assert read(frames)
    for wrong in (
        frames[:3] + frames[4:],
        frames[:3] + frames[2:],
        [*frames[:3], frames[4], frames[3], *frames[5:]],
        [*frames[:3], frames[3].replace(b"\x07", b"\x08"), *frames[4:]],
    ):
        with pytest.raises(WrongFrameError):
            read(wrong)


def test_a_frame_may_come_without_its_length_and_late() -> None:
    came = deque([None, *FLOOD[:3], None, None, *FLOOD[3:9]])

    def receive() -> bytes | None:
        frame = came.popleft()
        return frame and frame[4:]

    assert read_flood(receive, 9, 1, 4) > 0
    assert not came


def test_ages_of_frames_that_go_nowhere_are_as_many_as_asked_for() -> None:
    ages = clock_ages(5)
    assert len(ages) == 5
    assert all(each >= 0 for each in ages)


def test_the_warm_up_is_not_counted() -> None:
    sample = shm.sample(Contender("pipe"), shm.Dose(paced=3, flood=1, rounds=1))
    assert len(sample.ages) == 3
