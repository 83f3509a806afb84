"""Venues as people name them, and assets in a venue's own spelling."""

from fanout.config.assets import ALL
from fanout.errors import UsageError, shown
from fanout.venues import VENUES


def check_venue(flag: str, venue: str) -> None:
    """Raises `UsageError` for a venue that does not exist."""
    if venue not in VENUES:
        raise UsageError(f"{flag}: unknown venue {shown(venue)!r}: {', '.join(VENUES)}")


def spelled(venue: str, assets: tuple[str, ...]) -> tuple[str, ...]:
    """Assets as the venue spells them. Raises `UsageError` for one that it cannot have."""
    return tuple(each if each == ALL else _spelled(venue, each) for each in assets)


def _spelled(venue: str, asset: str) -> str:
    try:
        return VENUES[venue].spell(asset)
    except UsageError as error:
        prefix, colon, _ = asset.partition(":")
        if not colon:
            raise
        names = ", ".join(VENUES)
        raise UsageError(f"{error}; and {shown(prefix)[:40]!r} is no venue: {names}") from None
