"""What every venue adapter has to do. Subclass `VenueContract`, give a few real messages, and
inherit the tests."""

import contextlib
from abc import ABC, abstractmethod
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.errors import ConfigError, VenueMessageError, VenueRefusalError
from fanout.venues import Venue, VenueTrade

GARBAGE = [
    b"",
    b"\0",
    b"{",
    b"null",
    b"[]",
    b"{}",
    b'"text"',
    b"\xff\xfe",
    b'{"stream":"x","data":null}',
    b'{"stream":"x","data":{"e":"somethingNew","E":1}}',
    b'{"e":"serverShutdown","E":1770123456789}',
    b"[" * 100_000,
    b'{"data":' * 10_000,
    b"1" * 10_000,
]


class VenueContract(ABC):
    trade_message: ClassVar[bytes]
    trade: ClassVar[VenueTrade]
    acknowledgement: ClassVar[bytes]
    instruments_body: ClassVar[bytes]
    symbols: ClassVar[tuple[str, ...]]
    recent_trades_body: ClassVar[bytes]
    error_body: ClassVar[bytes]

    @abstractmethod
    def make(self) -> Venue:
        """The adapter."""

    def test_a_trade_is_parsed_into_the_venues_own_words(self) -> None:
        assert self.make().parse(self.trade_message) == self.trade

    def test_an_acknowledgement_needs_no_answer(self) -> None:
        assert self.make().parse(self.acknowledgement) is None

    @pytest.mark.parametrize("message", GARBAGE, ids=lambda each: repr(each[:20]))
    def test_garbage_is_refused_as_a_message(self, message: bytes) -> None:
        with pytest.raises(VenueMessageError):
            self.make().parse(message)

    def test_every_truncation_is_refused_as_a_message(self) -> None:
        venue = self.make()
        for length in range(len(self.trade_message)):
            with pytest.raises(VenueMessageError):
                venue.parse(self.trade_message[:length])

    @given(st.data())
    def test_damage_gives_a_venue_error_or_something_well_formed(self, data: st.DataObject) -> None:
        message = bytearray(self.trade_message)
        for _ in range(data.draw(st.integers(1, 4))):
            message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
        with contextlib.suppress(VenueMessageError, VenueRefusalError):
            item = self.make().parse(bytes(message))
            assert item is None or isinstance(item.symbol, str)

    def test_what_it_says_of_a_bad_message_is_short(self) -> None:
        with pytest.raises(VenueMessageError) as caught:
            self.make().parse(b"x" * 1_000_000)
        assert len(str(caught.value)) < 300

    def test_the_subscription_names_every_symbol(self) -> None:
        venue = self.make()
        said = " ".join(venue.subscriptions(self.symbols)).lower()
        assert all(each.lower() in said for each in self.symbols)
        assert venue.stream_url().startswith(("ws://", "wss://"))

    def test_instruments_come_in_the_order_they_were_asked_for(self) -> None:
        backwards = tuple(reversed(self.symbols))
        instruments = self.make().parse_instruments(self.instruments_body, backwards)
        assert [each.symbol for each in instruments] == list(backwards)
        assert [each.index for each in instruments] == list(range(len(backwards)))

    def test_a_symbol_that_is_not_listed_is_told_with_a_suggestion(self) -> None:
        almost = self.symbols[0] + "X"
        with pytest.raises(ConfigError, match=f"{almost} is not listed .*{self.symbols[0]}"):
            self.make().parse_instruments(self.instruments_body, (almost,))

    @pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"symbols":[{}]}', b"\xff"])
    def test_an_answer_that_is_nonsense_is_a_message_error(self, body: bytes) -> None:
        with pytest.raises(VenueMessageError):
            self.make().parse_instruments(body, self.symbols)
        with pytest.raises(VenueMessageError):
            self.make().parse_recent_trades(body if body != b"[]" else b"{}", self.symbols[0])

    def test_recent_trades_come_oldest_first(self) -> None:
        trades = self.make().parse_recent_trades(self.recent_trades_body, self.symbols[0])
        ids = [each.trade_id for each in trades]
        assert ids
        assert ids == sorted(ids)
        assert {each.symbol for each in trades} == {self.symbols[0]}

    def test_its_own_words_in_an_error_are_found_and_nonsense_has_none(self) -> None:
        venue = self.make()
        assert venue.explain(400, self.error_body)
        assert [venue.explain(400, each) for each in (b"", b"<html>", b"[]", b"\xff")] == [""] * 4
