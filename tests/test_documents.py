"""Every block of every document does what a reader expects of it."""

import re
import sys
from pathlib import Path

import pytest

from tests.documents import ROOT, blocks_of, reading

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

LONG = ("analytics.md", "clients.md", "running.md", "testing.md", "trading.md")

LINK = re.compile(r"\]\(([^)#]+)[^)]*\)")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A checkout, and what is installed here in the place of what the README has installed."""
    for each in ("examples", "protocol", "clients", "fanout"):
        (tmp_path / each).symlink_to(ROOT / each)
    bin_path = tmp_path / ".venv" / "bin"
    bin_path.mkdir(parents=True)
    for name, words in (("python", ""), ("fanout", "-m fanout")):
        script = bin_path / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        script.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(
    "path",
    # Blocks that build on each other are run by tests/test_data_md.py, and those of the README by
    # `python -m tests.documents`, as a new user types them.
    [
        pytest.param(each, id=each.name, marks=[pytest.mark.long] if each.name in LONG else [])
        for each in DOCUMENTS[1:]
        if each.name != "data.md" and blocks_of(each)
    ],
)
def test_the_blocks_run_in_order(path: Path, home: Path) -> None:
    blocks = [each for each in blocks_of(path) if "pytest" not in each.text]
    with reading(home) as reader:
        reader.serve()
        for each in blocks:
            reader.run(each)


def test_the_readme_installs_serves_and_tests_in_one_line_each() -> None:
    first, second, *_ = blocks_of(ROOT / "README.md")
    assert first.text.startswith("python3 -m venv .venv && .venv/bin/pip install . && ")
    assert second.text.endswith(" && .venv/bin/pytest")


@pytest.mark.parametrize("path", [*DOCUMENTS, ROOT / "llms.txt"], ids=lambda path: path.name)
def test_what_is_linked_is_there(path: Path) -> None:
    for target in LINK.findall(path.read_text()):
        if "://" not in target:
            assert (path.parent / target).exists(), target
