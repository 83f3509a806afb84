"""Rows of OKX's listing. Pure.

    {"instType":"SWAP","instId":"BTC-USD-SWAP","instFamily":"BTC-USD","ctType":"inverse",
     "ctVal":"100","ctMult":"1","ctValCcy":"USD","tickSz":"0.1","lotSz":"0.1","state":"live",...}

https://www.okx.com/docs-v5/en/#public-data-rest-api-get-instruments

There is a request for each type of instrument, and for options one for each underlying. Another
request brings the names of the underlyings, in an answer with one row, an array. Options are asked
for by `uly`, which the documentation no longer names: clients reported in 2026 that OKX refuses
`instFamily` for some of the underlyings that it lists. Should it refuse one by `uly` too, the
listing lacks its options.

The strings of the stream have as many decimals as `tickSz` and `lotSz`. The tick of an option is
the least of several that depend on its price. One unit of quantity is a contract of `ctVal` times
`ctMult`. For an inverse contract that is an amount of the quote currency, otherwise of the base.
"""

from typing import Final

import msgspec

from fanout.errors import VenueMessageError, shown
from fanout.protocol.constants import EXPONENTS, I64_MAX, InstrumentType
from fanout.venues.numbers import BROKEN
from fanout.venues.okx.rest import rows_of
from fanout.venues.rows import (
    ABSENT,
    RowError,
    asset,
    exponent_of,
    in_units,
    named,
    parse_rows,
)
from fanout.venues.values import Listed, Listing, Request

LIVE: Final = "live"
"""The state of an instrument that trades."""

_PATH: Final = "/api/v5/public/instruments"
_UNDERLYING: Final = "/api/v5/public/underlying"

_FAULT: Final = "listing is not as documented"

_TYPES: Final = {
    ("SPOT", ""): InstrumentType.SPOT,
    ("SWAP", "linear"): InstrumentType.LINEAR_PERPETUAL,
    ("SWAP", "inverse"): InstrumentType.INVERSE_PERPETUAL,
    ("FUTURES", "linear"): InstrumentType.FUTURE,
    ("FUTURES", "inverse"): InstrumentType.INVERSE_FUTURE,
    ("OPTION", ""): InstrumentType.OPTION,
}


class _Row(msgspec.Struct, kw_only=True):
    """An unreadable term leaves a row readable."""

    instId: str  # noqa: N815  the venue's name
    instType: str  # noqa: N815
    state: str
    tickSz: str  # noqa: N815
    lotSz: str  # noqa: N815
    baseCcy: msgspec.Raw = ABSENT  # noqa: N815
    quoteCcy: msgspec.Raw = ABSENT  # noqa: N815
    instFamily: msgspec.Raw = ABSENT  # noqa: N815
    ctType: msgspec.Raw = ABSENT  # noqa: N815
    ctVal: msgspec.Raw = ABSENT  # noqa: N815
    ctMult: msgspec.Raw = ABSENT  # noqa: N815


_decode_row = msgspec.json.Decoder(_Row).decode
_decode_names = msgspec.json.Decoder(list[str]).decode
_decode_text = msgspec.json.Decoder(str).decode


def listing_requests() -> tuple[Request, ...]:
    kinds = ("SPOT", "SWAP", "FUTURES")
    underlying = Request(path=_UNDERLYING, query={"instType": "OPTION"})
    return (*(Request(path=_PATH, query={"instType": each}) for each in kinds), underlying)


def more_listing(request: Request, body: bytes) -> tuple[Request, ...]:
    if request.path != _UNDERLYING:
        return ()
    try:
        names = [name for row in rows_of(body, _FAULT) for name in _decode_names(row)]
    except BROKEN as error:
        raise VenueMessageError(_FAULT, error) from error
    return tuple(
        Request(path=_PATH, query={"instType": "OPTION", "uly": name}, is_optional=True)
        for name in dict.fromkeys(names)
    )


def parse_listing(bodies: tuple[bytes, ...], venue: str) -> Listing:
    """Raises `VenueMessageError`."""
    rows = [row for body in bodies for row in rows_of(body, _FAULT) if not _is_underlying(row)]
    return parse_rows(rows, venue, lambda raw: _listed(_decode_row(raw), venue), named("instId"))


def _is_underlying(row: msgspec.Raw) -> bool:
    return bytes(row).startswith(b"[")


def _listed(row: _Row, venue: str) -> Listed:
    price_exponent, quantity_exponent = _exponent(row, row.tickSz), _exponent(row, row.lotSz)
    base, quote = _assets(row)
    mantissa, exponent = _contract(row)
    fault = f"does not trade at {venue} now: state {shown(row.state)}"
    return Listed(
        symbol=row.instId,
        price_exponent=price_exponent,
        quantity_exponent=quantity_exponent,
        time_exponent=-3,
        fault=None if row.state == LIVE else fault,
        tick=in_units(row.tickSz, price_exponent),
        lot=in_units(row.lotSz, quantity_exponent),
        base=base,
        quote=quote,
        type=_TYPES.get((row.instType, _text(row.ctType)), InstrumentType.OTHER),
        contract_mantissa=mantissa,
        contract_exponent=exponent,
    )


def _exponent(row: _Row, step: str) -> int:
    """0 for an instrument that is announced, and whose steps are not filled in yet."""
    return 0 if not step and row.state != LIVE else exponent_of(step)


def _assets(row: _Row) -> tuple[str, str]:
    """The base and the quote. Those of a contract are in its family: "BTC-USD", and "BTC-USD_UM"
    if it is margined in USDC."""
    base, quote = asset(row.baseCcy), asset(row.quoteCcy)
    if base or quote:
        return base, quote
    base, _, quote = asset(row.instFamily).partition("-")
    return base, quote.partition("_")[0]


def _contract(row: _Row) -> tuple[int, int]:
    """The size of a contract as mantissa and exponent; 1 for spot, and where it is unreadable."""
    mantissa, exponent = 1, 0
    for text in (_text(row.ctVal), _text(row.ctMult)):
        try:
            own = exponent_of(text)
        except RowError:
            return 1, 0
        mantissa, exponent = mantissa * in_units(text, own), exponent + own
    while exponent < 0 and mantissa % 10 == 0 < mantissa:
        mantissa, exponent = mantissa // 10, exponent + 1
    fits = exponent in EXPONENTS and 0 < mantissa <= I64_MAX
    return (mantissa, exponent) if fits else (1, 0)


def _text(raw: msgspec.Raw) -> str:
    """Empty for a field that has no text."""
    try:
        return _decode_text(raw)
    except BROKEN:
        return ""
