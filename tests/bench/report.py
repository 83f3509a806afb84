"""What a stage gives, and how it is shown: a table for people, JSON for machines.

A figure without the machine and the versions it came from is worth nothing, so no report is
printed without them.
"""

import os
import platform
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from tests import captures

LIBRARIES: Final = ("msgspec", "trio", "websockets", "trio-websocket", "numpy")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One figure. A goal bounds it from one side; what is there for comparison has none."""

    name: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None

    @property
    def goal(self) -> str:
        if self.at_most is not None:
            return f"<= {self.at_most:g}"
        return "" if self.at_least is None else f">= {self.at_least:g}"

    @property
    def met(self) -> bool:
        return (self.at_most is None or self.value <= self.at_most) and (
            self.at_least is None or self.value >= self.at_least
        )


class Unavailable(Exception):  # noqa: N818  no error: this machine lacks what the stage needs
    """Why a stage cannot run here."""


class Stage(Protocol):
    """A module of this package: its docstring names the figure in the first line, and below it
    the workload and the goals."""

    __doc__: str | None

    def run(self, *, small: bool) -> list[Row]:
        """Measure; `small` takes a part of the workload, for trying out. Raises `Unavailable`."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one stage. `small` results are shown beside the goals and not judged."""

    stage: str
    title: str
    small: bool
    rows: tuple[Row, ...] = ()
    skipped: str = ""

    @property
    def missed(self) -> bool:
        return not self.small and not all(row.met for row in self.rows)


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    cpu: str
    cores: int
    system: str
    python: str
    libraries: dict[str, str]
    date: str


def capture(name: str) -> Path:
    """The path of a recording. Raises `Unavailable` where it is missing."""
    path = captures.DATA / name
    if not path.exists():
        raise Unavailable(f"no capture {name} in {captures.DATA}")
    return path


def environment(now: datetime) -> Environment:
    return Environment(
        cpu=_cpu_model(),
        cores=len(os.sched_getaffinity(0)),
        system=f"{platform.system()} {platform.release()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        libraries={name: version(name) for name in LIBRARIES},
        date=now.isoformat(timespec="seconds"),
    )


def _cpu_model() -> str:
    """As the kernel names it; `platform.processor()` says only "x86_64" on Linux."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def as_json(where: Environment, results: list[Result]) -> str:
    report = {"environment": where, "stages": [_plain(each) for each in results]}
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode()


def _plain(result: Result) -> dict[str, Any]:
    rows = [
        {
            "name": row.name,
            "value": row.value,
            "unit": row.unit,
            "goal": row.goal or None,
            "met": row.met if row.goal and not result.small else None,
        }
        for row in result.rows
    ]
    return {
        "stage": result.stage,
        "title": result.title,
        "small": result.small,
        "skipped": result.skipped or None,
        "rows": rows,
    }


def as_text(where: Environment, results: list[Result]) -> str:
    libraries = ", ".join(f"{name} {number}" for name, number in where.libraries.items())
    lines = [
        f"machine    {where.cpu}, {where.cores} cores, {where.system}",
        f"python     {where.python}",
        f"libraries  {libraries}",
        f"date       {where.date}",
    ]
    for result in results:
        lines += ["", *_table(result)]
    return "\n".join(lines)


def _table(result: Result) -> list[str]:
    heading = f"{result.stage}: {result.title}"
    if result.skipped:
        return [heading, f"  skipped: {result.skipped}"]
    if result.small:
        heading += " (small: a part of the workload, not judged)"
    width = max(len(row.name) for row in result.rows)
    return [heading, *(_line(row, width, judged=not result.small) for row in result.rows)]


def _line(row: Row, width: int, *, judged: bool) -> str:
    value = f"{row.value:,.1f}" if row.value < 1_000 else f"{row.value:,.0f}"
    line = f"  {row.name:<{width}}  {value:>12} {row.unit}"
    if not row.goal:
        return line
    verdict = ("  met" if row.met else "  MISSED") if judged else ""
    return f"{line}  goal {row.goal}{verdict}"
