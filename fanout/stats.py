"""What there is to be known of a running service, as frozen snapshots of plain counters."""

import msgspec


class LinkStats(msgspec.Struct, frozen=True, kw_only=True):
    """One place for a connection: `won` are the trades it brought before any other did."""

    name: str
    is_open: bool
    won: int
    rotations: int


class InstrumentStats(msgspec.Struct, frozen=True, kw_only=True):
    """One instrument's trades since the start, and what happened to their ids.

    `newest_delay_ns` is our clock when the newest trade came, less the venue's time in it, as they
    are: below 0 where our clock is behind. None before the first.
    """

    symbol: str
    stream: str
    state: str
    trades: int
    back_filled: int
    duplicates: int
    spent: int
    refused: int
    missing: int
    lost: int
    no_trade: int
    open_gaps: int
    newest_delay_ns: int | None


class FeedStats(msgspec.Struct, frozen=True, kw_only=True):
    """The upstream. `clock_offset_ns` is the venue's clock less ours, give or take
    `clock_uncertainty_ns`; None while it is not known. `rest_weight` was used in this minute, by
    whoever asks from this address, of `rest_weight_limit`."""

    state: str
    messages: int
    connections: int
    links: tuple[LinkStats, ...]
    instruments: tuple[InstrumentStats, ...]
    clock_offset_ns: int | None
    clock_uncertainty_ns: int | None
    rest_weight: int
    rest_weight_limit: int
    anomalies: dict[str, int]
