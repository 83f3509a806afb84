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
    spell = VENUES[venue].spell
    return tuple(each if each == ALL else spell(each) for each in assets)
