"""The fits of Stoikov's microprice that a consumer is given, by venue and symbol."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from fanout.analytics.consumer.roster import Need
from fanout.analytics.errors import FitError
from fanout.analytics.features.stoikov import MicropriceFit
from fanout.protocol.records import Header


class NamedFit(NamedTuple):
    """A fit, and where it comes from, for errors."""

    source: str
    fit: MicropriceFit

    @property
    def need(self) -> Need:
        """The instrument that the fit is for."""
        return Need(self.source, self.fit.venue, self.fit.symbol)


def read_fits(files: Iterable[tuple[str, bytes]]) -> tuple[NamedFit, ...]:
    """The fits in files, each with its name and its bytes. Raises `FitFileError` for a file that
    is none, and `FitError` for two fits of one symbol."""
    found: dict[tuple[str, str], NamedFit] = {}
    for source, data in files:
        fit = MicropriceFit.from_json(data, source)
        other = found.setdefault((fit.venue, fit.symbol), NamedFit(source, fit))
        if other.source != source:
            raise FitError(f"{source} and {other.source} are both for {fit.venue} {fit.symbol}")
    return tuple(found.values())


def fits_for(
    header: Header, symbols: Sequence[str], fits: Sequence[NamedFit]
) -> Mapping[str, MicropriceFit]:
    """The fits of a stream by symbol: those that are for its venue and one of these symbols. Raises
    `FitError` for one that was made in other units."""
    instruments = {each.symbol: each for each in header.instruments}
    found: dict[str, MicropriceFit] = {}
    for source, fit in fits:
        if fit.venue != header.venue or fit.symbol not in symbols:
            continue
        try:
            fit.require(instruments[fit.symbol])
        except FitError as error:
            raise FitError(f"{source}: {error}") from error
        found[fit.symbol] = fit
    return found
