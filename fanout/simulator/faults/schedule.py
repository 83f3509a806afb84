"""Scheduled faults, each written in one line, such as `drop reset every 30s`.

    NAME [VALUE | FIELD=VALUE]... [after DURATION] [every DURATION] [until DURATION]

Values without a name fill the fields of the fault in order (`route` and `which` always need their
name), and may be quoted as in a shell. A duration is a number with ms, s, m or h. All three count
from the start. Without `after`, a fault that repeats first comes after one interval, and any other
at the start. `until` ends the repetition.
"""

import math
import re
import shlex
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

import msgspec
import trio

from fanout.errors import UsageError
from fanout.simulator.faults import FAULTS, Fault
from fanout.simulator.faults.fields import fault_from

_DURATION: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0}
_TIMES: Final = ("after", "every", "until")


class Scheduled(msgspec.Struct, frozen=True):
    """A fault, `after_s` from the start, and again each `every_s` if that is given, until
    `until_s`."""

    fault: Fault
    after_s: float = 0.0
    every_s: float | None = None
    until_s: float = math.inf


def scheduled(text: str) -> Scheduled:
    """Raises `UsageError`, which quotes the text."""
    try:
        return _scheduled(shlex.split(text))
    except (UsageError, ValueError) as error:
        raise UsageError(f"{text!r}: {error}") from error


async def keep(schedule: Scheduled, inject: Callable[[Fault], None]) -> None:
    """Inject the fault when it is due. Returns after the last time; never if there is none.

    A repetition that `inject` refuses is left out: on a stream without messages, standing faults
    reach their limit.
    """
    started_s = trio.current_time()
    due_s = started_s + schedule.after_s
    await trio.sleep_until(due_s)
    inject(schedule.fault)
    while schedule.every_s is not None:
        due_s += schedule.every_s
        if due_s - started_s > schedule.until_s:
            return
        await trio.sleep_until(due_s)
        with suppress(UsageError):
            inject(schedule.fault)


def _scheduled(words: list[str]) -> Scheduled:
    times: dict[str, float] = {}
    while len(words) > 1 and words[-2] in _TIMES and words[-2] not in times:
        times[words[-2]] = _seconds(words[-1])
        words = words[:-2]
    if words and words[-1] in _TIMES:
        raise UsageError(f"{words[-1]!r} needs a duration, such as 30s")
    if not words:
        raise UsageError(f"give a fault: {', '.join(FAULTS)}")
    every_s = times.get("every")
    after_s = times.get("after", every_s or 0.0)
    if "until" in times and every_s is None:
        raise UsageError("until ends a repetition: give every as well")
    fault = fault_from(words[0], _fields(words[0], words[1:]))
    return Scheduled(fault, after_s, every_s, times.get("until", math.inf))


def _fields(name: str, words: Iterable[str]) -> dict[str, str]:
    """The words as fields. An unknown fault has none, and `fault_from` refuses it."""
    kind = FAULTS.get(name)
    if kind is None:
        return {}
    free = list(kind.__match_args__)
    fields: dict[str, str] = {}
    for word in words:
        field, equals, value = word.partition("=")
        if not equals:
            if not free:
                raise UsageError(f"{word!r} is one value too many for {name}")
            field, value = free[0], word
        if field in fields:
            raise UsageError(f"{field} is given twice")
        fields[field] = value
        free = [each for each in free if each != field]
    return fields


def _seconds(text: str) -> float:
    match = _DURATION.fullmatch(text)
    seconds = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if not seconds:
        raise UsageError(f"{text!r} is no duration above zero, such as 30s, 500ms, 5m, 24h")
    return seconds
