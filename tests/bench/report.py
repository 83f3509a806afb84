"""What a stage gives, and how it is shown: a table for people, JSON for machines.

A figure without the machine and the versions it came from is worth nothing, so no report is
printed without them.
"""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any, Final, Protocol

import msgspec

from tests import captures

LIBRARIES: Final = (
    "msgspec",
    "trio",
    "websockets",
    "trio-websocket",
    "numpy",
    "orjson",
    "picows",
    "protobuf",
    "databento-dbn",
    "pyzmq",
    "iceoryx2",
    "nats-py",
    "sortedcontainers",
    "order-book",
    "nautilus_trader",
)
PROGRAMS: Final = ("nats-server", "redis-server", "cc")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One figure: the median of its repetitions, and the lowest and highest of them where there is
    more than one. A goal bounds it from one side; what is there for comparison has none."""

    name: str
    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    at_most: float | None = None
    at_least: float | None = None

    @property
    def goal(self) -> str:
        if self.at_most is not None:
            return f"<= {self.at_most:,.10g}"
        return "" if self.at_least is None else f">= {self.at_least:,.10g}"

    @property
    def met(self) -> bool:
        return (self.at_most is None or self.value <= self.at_most) and (
            self.at_least is None or self.value >= self.at_least
        )


def figure(
    name: str,
    samples: Sequence[float],
    unit: str,
    *,
    at_most: float | None = None,
    at_least: float | None = None,
) -> Row:
    """The row of a figure that was measured several times."""
    return Row(
        name=name,
        value=median(samples),
        unit=unit,
        low=min(samples),
        high=max(samples),
        at_most=at_most,
        at_least=at_least,
    )


class Absent(msgspec.Struct, frozen=True):
    """A rival that is not on this machine, and what of it is missing."""

    name: str
    why: str


class Unavailable(Exception):  # noqa: N818  no error: this machine lacks what the stage needs
    """Why a stage cannot run here."""


class Stage(Protocol):
    """A module of this package: its docstring names the figure in the first line, and below it
    the workload and the goals."""

    __doc__: str | None

    def run(self, *, small: bool) -> Sequence[Row | Absent]:
        """Measure; `small` takes a part of the workload, for trying out. Raises `Unavailable`."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one stage. `small` results are shown beside the goals and not judged."""

    stage: str
    title: str
    small: bool
    rows: tuple[Row, ...] = ()
    absent: tuple[Absent, ...] = ()
    skipped: str = ""
    failed: str = ""

    @property
    def missed(self) -> bool:
        return not self.small and not all(row.met for row in self.rows)


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    cpu: str
    cores: int
    system: str
    python: str
    twins: bool
    """Whether the compiled twins are installed."""
    libraries: dict[str, str]
    programs: dict[str, str]
    market: str
    """Whether the trades were recorded or are synthetic."""
    date: str


def why_absent(needs: Mapping[str, str]) -> str:
    """Of the modules that a rival needs, how to get those that are missing; empty if none is."""
    return ", ".join(how for module, how in needs.items() if not _is_there(module))


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # nor is its package
        return False


def capture(name: str) -> Path:
    """The path of a recording. Raises `Unavailable` where it is missing."""
    path = captures.DATA / name
    if not path.exists():
        raise Unavailable(f"no capture {name} in {captures.DATA}")
    return path


def environment(now: datetime, market: str) -> Environment:
    """This machine. `market` is where the trades come from."""
    return Environment(
        cpu=_cpu_model(),
        cores=len(os.sched_getaffinity(0)),
        system=f"{platform.system()} {platform.release()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        twins=find_spec("fanout.protocol._speedups") is not None,
        libraries=dict(_libraries()),
        programs=dict(_programs()),
        market=market,
        date=now.isoformat(timespec="seconds"),
    )


def _libraries() -> Iterator[tuple[str, str]]:
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            yield name, version(name)


def _programs() -> Iterator[tuple[str, str]]:
    for name in PROGRAMS:
        if shutil.which(name):
            done = subprocess.run([name, "--version"], capture_output=True, text=True, check=False)
            number = re.search(r"\d+(\.\d+)+", done.stdout)
            yield name, number[0] if number else "of unknown version"


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
            "low": row.low,
            "high": row.high,
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
        "failed": result.failed or None,
        "absent": {each.name: each.why for each in result.absent},
        "rows": rows,
    }


def as_text(where: Environment, results: list[Result]) -> str:
    twins = "with" if where.twins else "without"
    lines = [
        f"machine    {where.cpu}, {where.cores} cores, {where.system}",
        f"python     {where.python}, {twins} the compiled twins",
        f"libraries  {_listed(where.libraries)}",
        f"programs   {_listed(where.programs)}",
        f"market     {where.market}",
        f"date       {where.date}",
    ]
    for result in results:
        lines += ["", *_table(result)]
    return "\n".join(lines)


def _listed(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in versions.items())


def _table(result: Result) -> list[str]:
    heading = f"{result.stage}: {result.title}"
    if result.skipped:
        return [heading, f"  skipped: {result.skipped}"]
    if result.failed:
        return [heading, f"  FAILED: {result.failed}"]
    if result.small:
        heading += " (small: a part of the workload, not judged)"
    width = max(len(row.name) for row in result.rows)
    spread = max(len(_spread(row)) for row in result.rows)
    return [
        heading,
        *(_line(row, width, spread, judged=not result.small) for row in result.rows),
        *(f"  {each.name} is left out: {each.why}" for each in result.absent),
    ]


def _line(row: Row, width: int, spread_width: int, *, judged: bool) -> str:
    line = (
        f"  {row.name:<{width}}  {shown(row.value):>12} {_spread(row):<{spread_width}} {row.unit}"
    )
    if not row.goal:
        return line
    verdict = ("  met" if row.met else "  MISSED") if judged else ""
    return f"{line}  goal {row.goal}{verdict}"


def _spread(row: Row) -> str:
    if row.low is None or row.high is None:
        return ""
    return f"({shown(row.low)} to {shown(row.high)})"


def shown(value: float) -> str:
    """A figure with as many digits as mean something."""
    return f"{value:,.2f}" if value < 10 else f"{value:,.1f}" if value < 1_000 else f"{value:,.0f}"
