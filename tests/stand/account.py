"""Holds the trades of a symbol that a client received against those that the exchange issued, where
ids prove nothing: at a venue that numbers its messages, or whose ids cannot be compared.

Every issued trade has come, or was traded within a span of time that a STATUS named. None came
twice, and none was made up.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from fanout.protocol import Status
from tests.stand.exchange import SPENT, Issued

_SPAN: Final = re.compile(r"trades between (\S+ \S+) and (\S+ \S+) may be missing")

_MOST_NAMED: Final = 5

SLACK_MS: Final = 3_000
MOST_MS: Final = 60_000
"""Of all spans of a symbol together, in a scene."""


class Span(msgspec.Struct, frozen=True):
    """A time in which trades may be missing, in unix ms."""

    begin_ms: int
    end_ms: int


def spans_of(symbol: str, statuses: Iterable[Status]) -> Iterator[Span]:
    """The spans that the statuses of a symbol name."""
    for each in statuses:
        found = _SPAN.search(each.why)
        if found and each.instrument is not None and each.instrument.symbol == symbol:
            yield Span(_ms(found[1]), _ms(found[2]))


def fault_of(issued: Sequence[Issued], received: Iterable[int], spans: Sequence[Span]) -> str:
    """What is wrong with the received ids; empty if nothing is. `issued` is in the order in which
    the exchange traded. What it traded before the first received trade, and after the last, is of
    no concern."""
    times = Counter(received)
    twice = [each for each, count in times.items() if count > 1]
    if twice:
        return f"trades came twice: {_named(twice)}"
    made_up = sorted(set(times) - {each.trade_id for each in issued})
    if made_up:
        return f"trades were made up: {_named(made_up)}"
    places = [place for place, each in enumerate(issued) if each.trade_id in times]
    due = issued[places[0] : places[-1] + 1] if places else ()
    missing = [
        each.trade_id
        for each in due
        if each.trade_id not in times
        and each.kind != SPENT
        and not any(span.begin_ms <= each.time_ms <= span.end_ms for span in spans)
    ]
    return f"trades are missing, and no STATUS says so: {_named(missing)}" if missing else ""


def fault_of_spans(issued: Sequence[Issued], received: Iterable[int], spans: Sequence[Span]) -> str:
    """Which span is wider than its interruption; empty if none is. No trade came during one, but
    for a few seconds at either end."""
    ids = set(received)
    times_ms = [each.time_ms for each in issued if each.trade_id in ids]
    for span in spans:
        begin_ms, end_ms = span.begin_ms + SLACK_MS, span.end_ms - SLACK_MS
        came = sum(begin_ms < each < end_ms for each in times_ms)
        if came:
            return f"{span} is too wide: {came} trades of its time came"
    total_ms = sum(span.end_ms - span.begin_ms for span in spans)
    return f"the spans are {total_ms} ms in all" if total_ms > MOST_MS else ""


def _named(ids: Sequence[int]) -> str:
    more = f" and {len(ids) - _MOST_NAMED} more" if len(ids) > _MOST_NAMED else ""
    return ", ".join(map(str, ids[:_MOST_NAMED])) + more


def _ms(text: str) -> int:
    at = datetime.strptime(text, "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=UTC)
    return round(at.timestamp() * 1_000)
