"""The venue's REST interface: whether it answers, the remaining weight, its clock, its symbols.

The check sends five requests, one attempt each. A diagnosis needs the first answer, and a venue
that limits or bans an address must not get a retry. `ask_venue` collects the answers as values,
and `judge_answers` turns them into rows.
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
    VenueKeyError,
    VenueUnreachableError,
)
from fanout.feed.listing import resolve
from fanout.feed.listing_pages import fetch_listing
from fanout.feed.venue_clock import ClockOffset, VenueClock
from fanout.net.budget import MINUTE_S, SHARE
from fanout.net.rest import RestClient
from fanout.venues import Listing, Request, Venue

ANSWERS_S: Final = 5.0
"""Time limit for all requests together."""

ROUND_TRIPS: Final = 3
"""Round trips that measure the clock. One more goes first, which includes connecting."""

CLOCK_OFF_NS: Final = 500_000_000
"""A clock kept by NTP is accurate to some ten milliseconds. Binance refuses orders from a clock
that is a second ahead. At half of that the clock is misconfigured, and latencies are wrong."""

SYMBOL_ADVICE: Final = "correct the symbol in --assets, or remove it"

REMEDIES: Final[tuple[tuple[type[VenueError], Fault, str], ...]] = (
    (
        VenueForbiddenError,
        Fault.FORBIDDEN,
        "the exchange does not serve this region, or a firewall refuses (451, 403): run elsewhere",
    ),
    (
        VenueKeyError,
        Fault.FORBIDDEN,
        "correct the credentials, or unset them; `fanout venues` names their variables",
    ),
    (
        VenueBusyError,
        Fault.BUSY,
        "wait {wait} without any request; the limit counts all programs at this address",
    ),
    (
        VenueError,
        Fault.UNREACHABLE,
        "check {flag}; else the exchange is down, or a proxy or firewall answers instead",
    ),
)
"""The fault and the advice by kind of error; the first matching kind counts. `flag` is the option
with the URL, and `wait` the pause that a busy venue demands."""


class Answers(msgspec.Struct):
    """The answers so far. `error` is the first failure; the requests stop there."""

    first_s: float | None = None
    clock: ClockOffset | None = None
    faults: dict[str, str | None] | None = None
    """By symbol: the reason why the service cannot serve it, or None if it can. The whole is None
    until the listing has arrived."""
    used_weight: int = 0
    others_weight: int = 0
    """The part of it that other programs used."""
    error: VenueError | None = None

    def meant(self, assets: tuple[str, ...]) -> tuple[str, ...]:
        """The symbols that match the patterns, or the patterns until the listing has arrived."""
        return assets if self.faults is None else tuple(self.faults)

    def tradable(self, symbols: tuple[str, ...]) -> tuple[str, ...]:
        """Those without a known fault."""
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
    """Request the time, a few times, and the listing. `wall_ns` gives unix ns."""
    answers = Answers()
    with trio.move_on_at(patience.deadline_s(ANSWERS_S)) as scope:
        try:
            await _ask(answers, rest, venue, symbols, wall_ns)
        except VenueError as error:
            answers.error = error
    if scope.cancelled_caught:
        answers.error = VenueUnreachableError(f"no answer within {time_text(ANSWERS_S)}")
    answers.used_weight, answers.others_weight = rest.budget.used, rest.budget.others
    return answers


async def _ask(
    answers: Answers,
    rest: RestClient,
    venue: Venue,
    symbols: tuple[str, ...],
    wall_ns: Callable[[], int],
) -> None:
    request = venue.time_request()
    if request is not None:
        await _ask_time(answers, rest, venue, request, wall_ns)
    began_s = trio.current_time()
    listing = await fetch_listing(rest, venue)
    answers.first_s = answers.first_s or trio.current_time() - began_s
    answers.faults = {}
    for each in symbols:
        answers.faults.update(_faults(each, listing))


async def _ask_time(
    answers: Answers,
    rest: RestClient,
    venue: Venue,
    request: Request,
    wall_ns: Callable[[], int],
) -> None:
    clock = VenueClock()
    for _ in range(1 + ROUND_TRIPS):
        asked_ns, began_s = wall_ns(), trio.current_time()
        venue_ms = await rest.fetch(request, venue.parse_time)
        clock.measured(asked_ns=asked_ns, venue_ms=venue_ms, answered_ns=wall_ns())
        answers.first_s = answers.first_s or trio.current_time() - began_s
        answers.clock = clock.offset


def _faults(asset: str, listing: Listing) -> dict[str, str | None]:
    """Faults of an asset by symbol. A pattern stands for the trading symbols that match it."""
    if not is_pattern(asset):
        return {asset: listing.fault(asset)}
    try:
        return dict.fromkeys(resolve((asset,), listing))
    except ConfigError as error:
        return {asset: str(error)}


def judge_answers(answers: Answers, venue: Venue, symbols: tuple[str, ...]) -> tuple[Check, ...]:
    """A row each for REST, the remaining weight, the clock, and every symbol."""
    return (
        _rest(answers, venue),
        _weight(answers, venue),
        _clock(answers, venue),
        *(_symbol(answers, each) for each in symbols),
    )


def skip_answers(venue: Venue, symbols: tuple[str, ...], why: str) -> tuple[Check, ...]:
    """The same rows, skipped, for a venue that was not asked."""
    subjects = [Subject(Name.REST, venue.rest_url), Subject(Name.WEIGHT, venue.name)]
    subjects += [Subject(Name.CLOCK, venue.name), *(Subject(Name.SYMBOL, each) for each in symbols)]
    return tuple(each.skipped(why) for each in subjects)


def failure_of(
    subject: Subject, error: VenueError, flag: str, *, took_s: float | None = None
) -> Check:
    """The row of a venue's failure. `flag` is the option with its URL."""
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
    assert answers.first_s is not None, "an answer came, since there is no error"
    found = f"first answer after {time_text(answers.first_s)}"
    return subject.passed(found, took_s=answers.first_s)


def _weight(answers: Answers, venue: Venue) -> Check:
    subject, limit = Subject(Name.WEIGHT, venue.name), venue.limits.weight
    if answers.first_s is None:
        return subject.skipped("rest failed")
    window_s = venue.limits.window_s
    window = "this minute" if window_s == MINUTE_S else f"these {window_s:g} s"
    found = f"{max(0, limit - answers.used_weight):,} of {limit:,} are left in {window}"
    if answers.others_weight > limit * SHARE:
        advice = (
            "other programs at this address use most of it: fanout stops at "
            f"{SHARE:.0%} of the weight, and would delay its requests"
        )
        return subject.warned(found, advice)
    return subject.passed(found)


def _clock(answers: Answers, venue: Venue) -> Check:
    subject, clock = Subject(Name.CLOCK, venue.name), answers.clock
    if venue.time_request() is None:
        return subject.skipped("the exchange does not show its time")
    if clock is None:
        return subject.skipped("rest failed")
    found = (
        f"exchange clock minus ours: {clock.offset_ns / 1e6:+,.1f} ms, "
        f"give or take {clock.uncertainty_ns / 1e6:,.1f} ms"
    )
    if abs(clock.offset_ns) - clock.uncertainty_ns > CLOCK_OFF_NS:
        advice = (
            "set the clock by NTP (timedatectl): latencies are wrong, and the exchange "
            "refuses orders from a clock a second ahead"
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
