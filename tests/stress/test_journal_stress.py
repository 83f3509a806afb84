from pathlib import Path

from tests.stress.journal import run


def test_a_journal_of_some_segments_comes_back_as_it_was_written(tmp_path: Path) -> None:
    """`python -m tests.stress.journal` has ten million trades."""
    steps = run(tmp_path, 20_000, seeks=20, seed=1, segment_bytes=64 * 1024)
    figures = {name: figure for figure, name in steps}
    assert int(figures["segments"]) >= 3
