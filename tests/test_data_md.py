"""`docs/data.md`: its commands and its programs are run as they stand there, but for the port, and
an end for what goes on until Ctrl-C."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fanout.clients.columns import to_arrow, trades_in
from tests.fanout.cli.processes import fanout, serving
from tests.protocol.golden import HEADER, TRADES

TEXT = (Path(__file__).parents[1] / "docs" / "data.md").read_text()
COMMANDS = re.findall(r"^    fanout (save .*)$", TEXT, re.MULTILINE)
PROGRAMS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
ADDRESS = "tcp://127.0.0.1:9000"


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.chdir(tmp_path)
    with serving() as (_, url):
        yield url


@pytest.mark.long
def test_what_it_says_works(url: str) -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("polars")
    pytest.importorskip("duckdb")
    assert len(COMMANDS) == 4
    for command in COMMANDS:
        words = shlex.split(command.replace(ADDRESS, url))
        is_endless = not {"--limit", "--duration"}.intersection(words)
        done = fanout(*words, *(["--limit", "50"] if is_endless else []))
        assert done.returncode == 0, done.stderr
    left = trades_in(TRADES.trades, HEADER)
    with open(".trades.parquet.0123abcd.npy.part", "wb") as file:
        np.save(file, left)
    names: dict[str, Any] = {}
    for program in PROGRAMS:
        exec(program.replace(ADDRESS, url), names)
    assert len(names["by_polars"]) == len(names["by_pandas"]) == 50
    assert sum(count for _, count in names["volumes"]) == 50
    assert names["exact"]["price"].to_list() == names["rows"]["price"].tolist()
    assert len(names["from_text"]) == 100
    assert 0 < len(names["frame"]) <= 100
    mended = names["pl"].read_parquet("mended-0.parquet")
    assert mended["price"].to_list() == left["price"].tolist()


def test_its_columns_are_the_columns() -> None:
    pytest.importorskip("pyarrow")
    section = TEXT.partition("## The columns")[2].partition("##")[0]
    cells = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    named = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
    assert named == to_arrow(trades_in(TRADES.trades, HEADER)).column_names
