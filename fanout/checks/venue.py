"""The venue's answers over REST: whether it serves us, its clock, its symbols.

The check makes five requests, one attempt each: the first answer is what counts, and a venue that
limits or bans must not be asked again. The answers are values, and the rows are made from them.
"""

import math
import time
from collections.abc import Callable, Iterable
from typing import Final

import msgspec
import trio

from fanout.checks.patience import Patience
from fanout.checks.report import Check, Fault, Name, Subject, time_text
from fanout.config.assets import is_pattern
from fanout.errors import (
    ConfigError,
    VenueBusyError,
    VenueError,
    VenueForbiddenError,
    VenueUnreachableError,
)
from fanout.feed.listing import resolve
from fanout.feed.venue_clock import ClockOffset, VenueClock
from fanout.net.budget import SHARE
from fanout.net.rest import RestClient
from fanout.venues import Listing, Venue

ANSWERS_S: Final = 5.0
"""For all requests together."""

ROUND_TRIPS: Final = 3
"""To measure the clock by, behind the first, which makes the connection and so tells little."""

CLOCK_OFF_NS: Final = 500_000_000
"""A clock that NTP keeps is right to some ten milliseconds. Binance refuses orders from one that
is a second ahead: half of that is no accident any more, and no latency can be read from it."""

SYMBOL_ADVICE: Final = "name another in --assets, or leave it out"

REMEDIES: Final[tuple[tuple[type[VenueError], Fault, str], ...]] = (
    (
        VenueForbiddenError,
        Fault.FORBIDDEN,
        "it does not serve this region (451), or a firewall refuses (403): run where it serves",
    ),
    (
        VenueBusyError,
        Fault.BUSY,
        "wait {wait}, and ask nothing meanwhile; all programs at this address count together",
    ),
    (
        VenueError,
        Fault.UNREACHABLE,
        "is {flag} the exchange's? Else the exchange is down, or a proxy or firewall answers",
    ),
)
"""What a failure is, and what to do. The first kind that fits counts; `flag` is the URL's, and
`wait` how long a venue that is busy wants to be left alone."""


class Answers(msgspec.Struct):
    """The answers so far. `error` is the first failure, after which nothing more was asked."""

    first_s: float | None = None
    clock: ClockOffset | None = None
    faults: dict[str, str | None] | None = None
    """By symbol, why it cannot be served; None if it can. None while that is not known."""
    used_weight: int = 0
    error: VenueError | None = None

    def meant(self, assets: tuple[str, ...]) -> tuple[str, ...]:
        """The symbols that patterns stand for, and the patterns themselves while that is not
        known."""
        return assets if self.faults is None else tuple(self.faults)

    def tradable(self, symbols: tuple[str, ...]) -> tuple[str, ...]:
        """The symbols that the service could serve, as far as is known."""
        return without_patterns(each for each in symbols if not (self.faults or {}).get(each))


def without_patterns(assets: Iterable[str]) -> tuple[str, ...]:
    return tuple(each for each in assets if not is_pattern(each))


async def ask_venue(
    rest: RestClient,
    venue: Venue,
    symbols: tuple[str, ...],
    patience: Patience,
    *,
    wall_ns: Callable[[], int] = time.time_ns,
) -> Answers:
    """Ask for the time, a few times, and for the symbols. `wall_ns` gives unix ns."""
    answers = Answers()
    with trio.move_on_at(patience.deadline_s(ANSWERS_S)) as scope:
        try:
            await _ask(answers, rest, venue, symbols, wall_ns)
        except VenueError as error:
            answers.error = error
    if scope.cancelled_caught:
        answers.error = VenueUnreachableError(f"no answer within {time_text(ANSWERS_S)}")
    answers.used_weight = rest.budget.used
    return answers


async def _ask(
    answers: Answers,
    rest: RestClient,
    venue: Venue,
    symbols: tuple[str, ...],
    wall_ns: Callable[[], int],
) -> None:
    clock = VenueClock()
    for _ in range(1 + ROUND_TRIPS):
        asked_ns, began_s = wall_ns(), trio.current_time()
        venue_ms = await rest.fetch(venue.time_request(), venue.parse_time)
        clock.measured(asked_ns=asked_ns, venue_ms=venue_ms, answered_ns=wall_ns())
        answers.first_s = answers.first_s or trio.current_time() - began_s
        answers.clock = clock.offset
    listing = await rest.fetch(venue.listing_request(), venue.parse_listing)
    answers.faults = {}
    for each in symbols:
        answers.faults.update(_faults(each, listing))


def _faults(asset: str, listing: Listing) -> dict[str, str | None]:
    """Why an asset cannot be served, by symbol: a pattern stands for symbols that trade."""
    if not is_pattern(asset):
        return {asset: listing.fault(asset)}
    try:
        return dict.fromkeys(resolve((asset,), listing))
    except ConfigError as error:
        return {asset: str(error)}


def judge_answers(answers: Answers, venue: Venue, symbols: tuple[str, ...]) -> tuple[Check, ...]:
    """A row each for REST, the weight that is left, the clock, and every symbol."""
    return (
        _rest(answers, venue),
        _weight(answers, venue),
        _clock(answers, venue),
        *(_symbol(answers, each) for each in symbols),
    )


def skip_answers(venue: Venue, symbols: tuple[str, ...], why: str) -> tuple[Check, ...]:
    """The same rows where nothing could be asked."""
    subjects = [Subject(Name.REST, venue.rest_url), Subject(Name.WEIGHT, venue.name)]
    subjects += [Subject(Name.CLOCK, venue.name), *(Subject(Name.SYMBOL, each) for each in symbols)]
    return tuple(each.skipped(why) for each in subjects)


def failure_of(
    subject: Subject, error: VenueError, flag: str, *, took_s: float | None = None
) -> Check:
    """The row of a failure of the venue's. `flag` is the option that has its URL."""
    fault, advice = next(
        (fault, advice) for kind, fault, advice in REMEDIES if isinstance(error, kind)
    )
    pause_s = error.pause_s if isinstance(error, VenueBusyError) else 0.0
    advice = advice.format(flag=flag, wait=f"{math.ceil(pause_s):,} s")
    return subject.failed(str(error), advice, fault, took_s=took_s)


def _rest(answers: Answers, venue: Venue) -> Check:
    subject = Subject(Name.REST, venue.rest_url)
    if answers.error is not None:
        return failure_of(subject, answers.error, "--rest-url", took_s=answers.first_s)
    assert answers.first_s is not None, "without an error there was an answer"
    found = f"the first answer came in {time_text(answers.first_s)}"
    return subject.passed(found, took_s=answers.first_s)


def _weight(answers: Answers, venue: Venue) -> Check:
    subject, limit = Subject(Name.WEIGHT, venue.name), venue.limits.weight_a_minute
    if answers.first_s is None:
        return subject.skipped("rest failed")
    found = f"{max(0, limit - answers.used_weight):,} of {limit:,} are left in this minute"
    if answers.used_weight > limit * SHARE:
        advice = (
            "other programs at this address ask much: fanout takes no more than the first "
            f"{SHARE:.0%} of a minute's, and would wait with its questions"
        )
        return subject.warned(found, advice)
    return subject.passed(found)


def _clock(answers: Answers, venue: Venue) -> Check:
    subject, clock = Subject(Name.CLOCK, venue.name), answers.clock
    if clock is None:
        return subject.skipped("rest failed")
    found = (
        f"the exchange's less ours: {clock.offset_ns / 1e6:+,.1f} ms, "
        f"give or take {clock.uncertainty_ns / 1e6:,.1f} ms"
    )
    if abs(clock.offset_ns) - clock.uncertainty_ns > CLOCK_OFF_NS:
        advice = (
            "have NTP set the clock (timedatectl): latencies mean nothing, and the exchange "
            "refuses orders that are a second ahead"
        )
        return subject.warned(found, advice)
    return subject.passed(found)


def _symbol(answers: Answers, symbol: str) -> Check:
    subject = Subject(Name.SYMBOL, symbol)
    if answers.faults is None:
        return subject.skipped("rest failed")
    fault = answers.faults[symbol]
    if fault is not None:
        return subject.failed(fault, SYMBOL_ADVICE, Fault.CONFIG)
    return subject.passed("it trades")
