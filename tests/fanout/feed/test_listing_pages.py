"""Listings that come in several answers."""

import json
from collections.abc import Callable
from typing import TypeVar

import pytest

from fanout.errors import VenueMessageError, VenueRequestError
from fanout.feed.listing_pages import MAX_PAGES, fetch_listing
from fanout.venues import BinanceUsdm, Listing, Request
from tests.stand.loopback import Exchange

T = TypeVar("T")

BTC, ETH, SOL = "BTCUSDT", "ETHUSDT", "SOLUSDT"


class Paged(BinanceUsdm):
    """A venue with two parts of a listing. Each answer names the page that follows it."""

    def listing_requests(self) -> tuple[Request, ...]:
        return (Request(path="/spot"), Request(path="/futures"))

    def more_listing(self, request: Request, body: bytes) -> tuple[Request, ...]:
        try:
            cursor = json.loads(body).get("next")
        except ValueError as error:
            raise VenueMessageError("listing is not as documented", error) from error
        query = {"cursor": cursor}
        return (Request(path=request.path, query=query, is_optional=True),) if cursor else ()


class Pages:
    """REST that answers from a table, and parses each answer up to twice."""

    def __init__(self, answers: dict[str, list[bytes]]) -> None:
        self._answers = answers
        self.requests: list[str] = []
        self.refused = ""

    async def fetch(self, request: Request, parse: Callable[[bytes], T]) -> T:
        name = request.path + request.query.get("cursor", "")
        self.requests.append(name)
        if name == self.refused:
            raise VenueRequestError(f"the venue refuses {name}")
        try:
            return parse(self._answers[name].pop(0))
        except VenueMessageError:
            return parse(self._answers[name].pop(0))


def page(*symbols: str, following: str = "") -> bytes:
    exchange = Exchange(*symbols)
    rows = [exchange._listed(each) for each in symbols]
    return json.dumps({"symbols": rows, "next": following}).encode()


async def fetched(pages: Pages) -> Listing:
    return await fetch_listing(pages, Paged())  # type: ignore[arg-type]


async def test_all_pages_of_all_parts_make_up_the_listing() -> None:
    pages = Pages(
        {
            "/spot": [page(BTC, following="2")],
            "/spot2": [page(SOL)],
            "/futures": [page(ETH)],
        }
    )
    assert list((await fetched(pages)).rows) == [BTC, ETH, SOL]
    assert pages.requests == ["/spot", "/futures", "/spot2"]


async def test_an_unreadable_page_is_read_again_and_counts_once() -> None:
    pages = Pages({"/spot": [b"<html>", page(BTC)], "/futures": [b'{"symbols":1}', page(ETH)]})
    assert list((await fetched(pages)).rows) == [BTC, ETH]


@pytest.mark.parametrize("refused", ["/spot2", "/futures2"])
async def test_an_optional_page_that_the_venue_refuses_is_left_out(refused: str) -> None:
    pages = Pages(
        {
            "/spot": [page(BTC, following="2")],
            "/futures": [page(ETH, following="2")],
            "/spot2": [page(SOL)],
            "/futures2": [page(SOL)],
        }
    )
    pages.refused = refused
    assert list((await fetched(pages)).rows) == [BTC, ETH, SOL]
    pages.refused = "/spot"
    with pytest.raises(VenueRequestError):
        await fetched(pages)


async def test_pages_that_name_each_other_are_an_error_of_one_line() -> None:
    endless = [page(BTC, following="x")] * MAX_PAGES
    pages = Pages({"/spot": [page(BTC)], "/futures": [page(ETH, following="x")]})
    pages._answers["/futuresx"] = endless
    with pytest.raises(VenueMessageError, match=r"^listing has no end: more than 64 answers$"):
        await fetched(pages)
    assert len(pages.requests) == MAX_PAGES


async def test_a_listing_in_one_answer_is_one_request() -> None:
    exchange = Exchange(BTC)
    listing = await fetch_listing(exchange, BinanceUsdm())  # type: ignore[arg-type]
    assert list(listing.rows) == [BTC]
    assert len(exchange.requests) == 1
