"""Writes what was measured into the documentation, from the JSON of a full run.

    python -m tests.bench --json > report.json
    python -m tests.bench scale ingest-depth reconnect joiners pure-client --json > named.json
    python -m tests.bench.readme report.json named.json

Where more reports are given, a later one's stages take the place of an earlier one's: of the same
machine and day, for a stage that was measured again.

README.md gets a figure or two of each stage and the names of all goals that were missed, between
two markers; docs/performance.md gets all of them, each stage with its docstring. Both say when and
where they were measured.
"""

import sys
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.bench.__main__ import ALL, STAGES
from tests.bench.measure import ROOT
from tests.bench.report import shown

BEGIN: Final = "<!-- performance: begin, written by tests/bench/readme.py -->"
END: Final = "<!-- performance: end -->"

HEADLINES: Final = (
    "fanout, a block a millisecond",
    "encode, blocks of 16: fanout, compiled",
    "decode, blocks of 16: fanout, compiled",
    "fanout, compiled",
    "fanout, compiled / C limit, 100 x 64",
    "nats-server, a message a trade / fanout, compiled, 1x, p99",
    "fanout, compiled, p50",
    "quickest rival / fanout, compiled, p50",
    "growth at most",
    "apply: fanout, compiled, in a second",
    "JSON to the book: fanout / JSON decoded by msgspec",
    "50 symbols, books at the same instants, p99",
    "50 symbols, trades, quotes and books, p99",
    "50 books, a cut to all whole",
    "50 books, REST weight of a reconnect",
    "a depth update: fanout, compiled",
    "2,048 books with features, updates of 2 to 10 levels",
    "20 symbols, trades, quotes and books, p99",
)
"""Of each stage the figures with these names, else the first that has a goal."""

Report = dict[str, Any]


def main(report_paths: Sequence[str], root: Path = ROOT) -> None:
    report = merged([msgspec.json.decode(Path(each).read_bytes()) for each in report_paths])
    stages = report["stages"]
    is_full = not any(each["skipped"] or each["failed"] or each["small"] for each in stages)
    if not is_full or not STAGES.keys() <= {each["stage"] for each in stages}:
        sys.exit("the report is not of a full run: python -m tests.bench --json")
    if report["environment"]["market"] != "recorded":
        sys.exit("the report is of a synthetic market; the documentation takes recorded ones only")
    readme = root / "README.md"
    before, _, rest = readme.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    if not after:
        sys.exit(f"README.md has no place for it: {BEGIN} {END}")
    readme.write_text(f"{before}{BEGIN}\n{section(report)}{END}{after}")
    (root / "docs").mkdir(exist_ok=True)
    (root / "docs" / "performance.md").write_text(page(report))


def merged(reports: Sequence[Report]) -> Report:
    """One report, with the newest of each stage. Exits if they are not of one machine and day."""
    first = reports[0]
    for other in reports[1:]:
        if _machine(other) != _machine(first) or _day(other) != _day(first):
            sys.exit("the reports are not of the same machine and day")
    newest = {stage["stage"]: stage for report in reports for stage in report["stages"]}
    return {"environment": first["environment"], "stages": list(newest.values())}


def _machine(report: Report) -> dict[str, object]:
    """The environment but for the date and what of the rivals is installed: each stage names the
    rivals that it lacked."""
    return report["environment"] | {"date": "", "libraries": {}, "programs": {}}


def section(report: Report) -> str:
    """What README.md gets."""
    goals = [(stage["stage"], row) for stage in report["stages"] for row in stage["rows"]]
    goals = [(stage, row) for stage, row in goals if row["goal"]]
    lines = [f"{_where(report)}.", "", "| stage | figure | measured | goal |", "|---|---|---:|---|"]
    for stage in ALL:
        rows = [row for name, row in goals if name == stage]
        lines += [
            f"| {stage} | {row['name']} | {_value(row)} | {_goal(row)} |"
            for row in [each for each in rows if each["name"] in HEADLINES] or rows[:1]
        ]
    missed = [f"{stage}: {row['name']}" for stage, row in goals if not row["met"]]
    met = f"{len(goals)} figures have a goal, and {len(goals) - len(missed)} meet it."
    return "\n".join([*lines, "", f"{met} Missed: {'; '.join(missed) or 'none'}."]) + "\n"


def page(report: Report) -> str:
    """What docs/performance.md gets."""
    return "\n".join(["# Performance", "", _measured(report), *_stages(report)]) + "\n"


def _stages(report: Report) -> Iterator[str]:
    for stage in report["stages"]:
        title, _, workload = (ALL[stage["stage"]].__doc__ or "").partition("\n")
        yield from ("", f"## {stage['stage']}: {title.removesuffix('.')}", workload.rstrip(), "")
        yield from ("| figure | median | lowest to highest | goal |", "|---|---:|---|---|")
        for row in stage["rows"]:
            yield f"| {row['name']} | {_value(row)} | {_spread(row)} | {_goal(row)} |"
        for name, why in stage["absent"].items():
            yield f"\n{name} is left out: {why}."


def _where(report: Report) -> str:
    where = report["environment"]
    twins = "with" if where["twins"] else "without"
    return (
        f"Measured on {_day(report)} with `python -m tests.bench`, on {where['cores']} cores of "
        f"{where['cpu']}, {where['system']}, {where['python']} {twins} the compiled twins"
    )


def _measured(report: Report) -> str:
    where = report["environment"]
    versions = {**where["libraries"], **where["programs"]}
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"{_where(report)}; {listed}. The two sides of each ratio were measured in turns, in one "
        "run. Absolute times hold for this machine only."
    )


def _day(report: Report) -> date:
    return datetime.fromisoformat(report["environment"]["date"]).date()


def _value(row: Report) -> str:
    return f"{shown(row['value'])} {row['unit']}"


def _spread(row: Report) -> str:
    return "" if row["low"] is None else f"{shown(row['low'])} to {shown(row['high'])}"


def _goal(row: Report) -> str:
    if not row["goal"]:
        return ""
    return f"{row['goal']}{'' if row['met'] else ', **missed**'}"


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python -m tests.bench.readme REPORT.json...")
    main(sys.argv[1:])
