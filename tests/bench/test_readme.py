"""What was measured gets into the documentation, and only what was measured in full."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.bench import readme
from tests.bench.__main__ import NAMED, STAGES
from tests.bench.measure import ROOT

ENVIRONMENT = {
    "cpu": "a processor",
    "cores": 2,
    "system": "Linux 6",
    "python": "CPython 3.11",
    "twins": True,
    "libraries": {"trio": "0.35"},
    "programs": {"nats-server": "2.9"},
    "market": "recorded",
    "date": "2026-11-21T08:00:00+00:00",
}


def row(name: str, **more: object) -> dict[str, object]:
    plain = {"low": None, "high": None, "unit": "ns", "goal": None, "met": None}
    return {"name": name, "value": 1234.5, **plain, **more}


def report(**changes: object) -> dict[str, Any]:
    rows = [
        row("judged", goal="<= 2,000", met=True, low=1_000.0, high=1_500.0),
        row("missed", goal=">= 9", met=False),
        row("a rival"),
    ]
    stage = {
        "title": "t",
        "small": False,
        "skipped": None,
        "failed": None,
        "absent": {"dbn": "not there"},
    }
    stages = [{**stage, "stage": name, "rows": rows, **changes} for name in STAGES]
    return {"environment": ENVIRONMENT, "stages": stages}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    (tmp_path / "README.md").write_text(f"before\n{readme.BEGIN}\nold\n{readme.END}\nafter\n")
    (tmp_path / "report.json").write_bytes(msgspec.json.encode(report()))
    readme.main([str(tmp_path / "report.json")], tmp_path)
    return tmp_path


def test_the_readme_gets_a_figure_of_each_stage_and_what_was_missed(written: Path) -> None:
    text = (written / "README.md").read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert "| size | judged | 1,234 ns | <= 2,000 |" in text
    assert f"{2 * len(STAGES)} figures have a goal, and {len(STAGES)} meet it. Missed:" in text
    assert "size: missed; codec: missed; " in text
    assert "a rival" not in text
    for word in ("2026-11-21", "2 cores of a processor", "with the compiled"):
        assert word in text


def test_the_page_gets_all_of_them_and_how_they_were_measured(written: Path) -> None:
    page = (written / "docs" / "performance.md").read_text()
    for stage in STAGES.values():
        assert stage.__doc__ is not None
        assert stage.__doc__.partition("\n")[2].rstrip() in page
    assert "| judged | 1,234 ns | 1,000 to 1,500 | <= 2,000 |" in page
    assert "| a rival | 1,234 ns |  |  |" in page
    assert "dbn is left out: not there." in page
    assert "trio 0.35" in page


def test_stages_that_run_only_by_name_are_written_where_they_were_measured(written: Path) -> None:
    any_stage = report()["stages"][0]
    stages = [{**any_stage, "stage": name} for name in NAMED]
    named = report() | {"stages": stages}
    (written / "named.json").write_bytes(msgspec.json.encode(named))
    readme.main([str(written / each) for each in ("report.json", "named.json")], written)
    text, page = (written / "README.md").read_text(), (written / "docs/performance.md").read_text()
    for name in NAMED:
        assert f"| {name} | judged | 1,234 ns | <= 2,000 |" in text
        assert f"## {name}: " in page


@pytest.mark.parametrize(
    "changes", [{"small": True}, {"skipped": "no capture"}, {"failed": "wrong"}]
)
def test_what_was_not_measured_in_full_is_not_written(
    written: Path, changes: dict[str, object]
) -> None:
    (written / "report.json").write_bytes(msgspec.json.encode(report(**changes)))
    with pytest.raises(SystemExit, match="not of a full run"):
        readme.main([str(written / "report.json")], written)


def test_figures_of_a_synthetic_market_are_not_written(written: Path) -> None:
    synthetic = report()
    synthetic["environment"] = ENVIRONMENT | {"market": "synthetic, seed 1: no recording"}
    before = (written / "README.md").read_text()
    (written / "report.json").write_bytes(msgspec.json.encode(synthetic))
    with pytest.raises(SystemExit, match="the report is of a synthetic market"):
        readme.main([str(written / "report.json")], written)
    assert (written / "README.md").read_text() == before


def test_our_own_readme_and_page_have_every_stage() -> None:
    section = (ROOT / "README.md").read_text().partition(readme.BEGIN)[2].partition(readme.END)[0]
    page = (ROOT / "docs" / "performance.md").read_text()
    for name in STAGES:
        assert f"| {name} |" in section
        assert f"## {name}: " in page
