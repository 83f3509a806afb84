import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.corpus import headers
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]

WITHOUT_ATHERIS = "import sys, runpy; sys.modules['atheris'] = None; sys.argv[0] = 'fuzz'; "
RUN = "runpy.run_module('tests.fuzz', run_name='__main__', alter_sys=True)"


def harness(*arguments: object, how: str = WITHOUT_ATHERIS) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", how + RUN, *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )


def test_without_atheris_a_target_is_tried_at_random_and_that_is_said(tmp_path: Path) -> None:
    done = harness("header", "--minutes", 0.01, "--corpus", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "atheris is not installed: mutations at random" in done.stdout
    assert " inputs, no fault" in done.stdout
    kept = [each.read_bytes() for each in (tmp_path / "header").iterdir()]
    assert sorted(kept) == sorted(set(headers()))


def test_with_atheris_a_target_is_guided_by_coverage(tmp_path: Path) -> None:
    pytest.importorskip("atheris")
    how = WITHOUT_ATHERIS.replace("sys.modules['atheris'] = None; ", "")
    done = harness("event", "--minutes", 0.02, "--corpus", tmp_path, how=how)
    assert done.returncode == 0, done.stderr
    assert "stat::number_of_executed_units" in done.stderr


def test_an_input_can_be_tried_alone(tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(headers()[0])
    assert harness("header", "--input", tmp_path / "input").stdout == "understood\n"


def test_a_target_that_is_not_there_is_told_with_those_that_are() -> None:
    done = harness("blocks")
    assert done.returncode == 1
    assert "no target blocks: " in done.stderr
    assert all(each in done.stderr for each in TARGETS)
