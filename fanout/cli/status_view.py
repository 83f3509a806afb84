"""Renders the status of a service, in colour on a terminal and as plain columns elsewhere.

It fits 80 columns for all values. Each channel has a section. A channel with many symbols has a
summary line, and below it the symbols that most need attention."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Never

import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fanout.cli.figures import brief, short, size, span
from fanout.cli.outcome import is_terminal
from fanout.protocol.errors import FanoutError
from fanout.stats.snapshots import (
    ChannelStats,
    ConsumerStats,
    FeedStats,
    InstrumentStats,
    ProcessStats,
    Quantiles,
    ServiceStats,
    TransportStats,
)

_STYLES: Final = {
    "LIVE": "green",
    "CONNECTING": "cyan",
    "STALE": "bold yellow",
    "HALTED": "yellow",
    "DOWN": "bold red",
}

_SHORT: Final = {"CONNECTING": "CONNECT"}

_PLAIN_COLUMNS: Final = 100
"""Width of the output if it does not go to a terminal."""

_SLOW_MS: Final = 1_000


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Most `consumers` shown of each transport, the slowest first, and most `symbols` of each
    channel, the worst first. None shows all symbols."""

    consumers: int = 20
    symbols: int | None = 20


def rendered(stats: ServiceStats, limits: Limits) -> str:
    """The status as text, in colour if stdout is a terminal."""
    console = _console()
    with console.capture() as capture:
        console.print(view(stats, limits))
    return capture.get().rstrip("\n")


def watch_live(
    fetch: Callable[[], ServiceStats], url: str, interval_s: float, limits: Limits
) -> Never:
    """Redraw the status on the terminal every `interval_s`.

    Raises the error of the first `fetch`. If a later one fails, the error is shown above the last
    status, and the next try follows.
    """
    stats, asked_s = fetch(), time.monotonic()
    with Live(view(stats, limits), console=_console(), screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(interval_s)
            try:
                stats, asked_s = fetch(), time.monotonic()
                live.update(view(stats, limits), refresh=True)
            except FanoutError as error:
                away = f"{error}  (for {time.monotonic() - asked_s:.0f} s)"
                live.update(Group(Text(away, "bold red"), view(stats, limits)), refresh=True)


def _console() -> Console:
    is_wide = not is_terminal(sys.stdout)
    return Console(highlight=False, width=_PLAIN_COLUMNS if is_wide else None)


def view(stats: ServiceStats, limits: Limits) -> RenderableType:
    """The whole status, up to the limits."""
    channels = stats.all_channels
    parts: list[RenderableType] = [_title(stats)]
    for channel in channels:
        parts += _channel(channel, limits, is_one_of_several=len(channels) > 1)
    for each in stats.transports:
        if each.journal:
            parts += ["", *_journal(each)]
            continue
        if each.groups:
            parts += ["", *_multicast(each)]
            continue
        parts += ["", _transport(each)]
        if each.consumers and limits.consumers:
            parts.append(
                _consumers(each.consumers, limits.consumers, names_channel=len(channels) > 1)
            )
    odd = [each.feed.anomalies for each in channels]
    odd += [each.anomalies for each in stats.transports]
    parts += ["", *_logs(channels), _process(stats.process), *_anomalies(odd)]
    return Group(*parts)


def _title(stats: ServiceStats) -> Text:
    ready = ("ready", "green") if stats.is_ready else ("not ready", "bold red")
    versions, channels = stats.versions, stats.all_channels
    return Text.assemble(
        (f"fanout {versions['fanout']}", "bold"),
        f", wire {versions['wire']}, {versions['functions']}  ",
        f"{stats.venue if len(channels) == 1 else f'{len(channels)} channels'}  ",
        ready,
        f"  up {span(stats.uptime_s)}",
        overflow="ellipsis",
        no_wrap=True,
    )


def _channel(
    channel: ChannelStats, limits: Limits, *, is_one_of_several: bool
) -> Iterable[RenderableType]:
    """A channel: its name, its feed, a summary of many symbols, and the symbols."""
    if is_one_of_several:
        yield ""
        yield Text.assemble(
            (channel.name, "bold"),
            f"  {channel.venue}  ",
            ("ready", "green") if channel.is_ready else ("not ready", "bold red"),
        )
    if channel.why:
        yield Text.assemble(("DOWN", _STYLES["DOWN"]), f"  {channel.why}")
        return
    symbols = channel.feed.instruments
    yield _feed(channel.feed)
    yield ""
    if limits.symbols is not None and len(symbols) > limits.symbols:
        yield _summary(symbols)
        symbols = tuple(sorted(symbols, key=_badness)[: limits.symbols])
    if symbols:
        yield _symbols(symbols)
    if any(each.quotes or each.book for each in symbols):
        yield ""
        yield _books(symbols)
    hidden = len(channel.feed.instruments) - len(symbols)
    if hidden:
        yield Text(f"and {hidden:,} more, with --all", "dim")


def _badness(each: InstrumentStats) -> tuple[bool, int, int, int, float]:
    """Sort key, worst first: not live, ids lost, gaps open, ids missing, longest silence."""
    silent_s = float("inf") if each.last_trade_s is None else each.last_trade_s
    return each.state == "LIVE", -each.lost, -each.open_gaps, -each.missing, -silent_s


def _summary(symbols: Sequence[InstrumentStats]) -> Text:
    states = Counter(each.state for each in symbols)
    parts: list[str | tuple[str, str]] = [f"{len(symbols):,} symbols: "]
    for state, count in states.most_common():
        parts += [(f"{count:,} {state}", _STYLES.get(state, "")), " "]
    return Text.assemble(
        *parts,
        f" {sum(each.trades_per_s for each in symbols):,.1f} trades/s  "
        f"{short(sum(each.missing for each in symbols))} missing, "
        f"{short(sum(each.back_filled for each in symbols))} filled, ",
        _alarming(sum(each.lost for each in symbols), "bold red"),
        " lost",
    )


def _feed(feed: FeedStats) -> Text:
    is_open = sum(each.open_s is not None for each in feed.links)
    age_s = max((each.open_s or 0.0 for each in feed.links), default=0.0)
    clock = "not known yet"
    if feed.clock_offset_ns is not None and feed.clock_uncertainty_ns is not None:
        clock = f"{feed.clock_offset_ns / 1e6:+.1f} ±{feed.clock_uncertainty_ns / 1e6:.1f} ms"
    return Text.assemble(
        "feed ",
        (feed.state, _STYLES.get(feed.state, "")),
        f"  {is_open} of {len(feed.links)} connected, for {span(age_s)}, "
        f"{sum(each.rotations for each in feed.links)} replaced, {feed.connections:,} in all\n",
        f"     clock of the venue {clock}  REST weight {feed.rest_weight:,} of "
        f"{feed.rest_weight_limit:,}",
    )


def _symbols(symbols: Iterable[InstrumentStats]) -> Table:
    table = _table("symbol", "state", "last", "trades/s", "missing", "filled", "lost")
    for name in ("delay", "p99", "max"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in symbols:
        table.add_row(*_symbol(each))
    return table


def _symbol(each: InstrumentStats) -> Iterable[str | Text]:
    yield Text(each.symbol, "bold")
    # Only aggregates are marked; single trades are the usual stream.
    stream = "" if each.stream == "trade" else " agg"
    yield Text(_SHORT.get(each.state, each.state) + stream, _STYLES.get(each.state, ""))
    yield "-" if each.last_trade_s is None else span(each.last_trade_s)
    yield f"{each.trades_per_s:,.1f}"
    yield _alarming(each.missing, "yellow" if each.open_gaps else "")
    yield short(each.back_filled)
    yield _alarming(each.lost, "bold red")
    yield from _quantiles(each.delay)


def _books(symbols: Iterable[InstrumentStats]) -> Table:
    """Quotes and order books. `lost` counts how often a book had to be fetched anew."""
    table = _table("symbol", "book", "bids", "asks", "updates", "whole", "lost", "quotes")
    for each in symbols:
        book, symbol = each.book, Text(each.symbol, "bold")
        if book is None:
            table.add_row(symbol, *["-"] * 6, short(each.quotes))
            continue
        state = ("whole", "green") if book.is_whole else ("unknown", "bold yellow")
        table.add_row(
            symbol,
            Text(*state),
            short(book.bids),
            short(book.asks),
            short(book.updates),
            short(book.snapshots),
            _alarming(book.breaks, "yellow"),
            short(each.quotes),
        )
    return table


def _transport(each: TransportStats) -> Text:
    send = "nothing sent yet"
    if each.send is not None:
        p50, p99, most = _quantiles(each.send)
        send = f"received to sent: median {p50}, p99 {p99}, max {most}"
    return Text.assemble(
        (each.url, "bold"),
        f"  {len(each.consumers):,} there, {short(each.accepted)} came, "
        f"{short(each.refused)} refused, ",
        _alarming(each.lost, "bold red"),
        f" records lost\n     {send}",
    )


def _journal(each: TransportStats) -> Iterable[RenderableType]:
    """A journal: what its disk has room for, and a line for each channel, with the p99 of how long
    the disk takes."""
    free_bytes = each.journal[0].free_bytes
    yield Text.assemble(
        (each.url, "bold"),
        "" if free_bytes is None else f"  {size(free_bytes)} free",
    )
    table = _table("kept", "state", "bytes", "behind", "lost", "write", "sync")
    for kept in each.journal:
        is_well = not kept.why
        table.add_row(
            Text(kept.channel, "bold"),
            Text(kept.state, "green" if is_well else "bold red"),
            size(kept.bytes),
            size(kept.lag_bytes),
            _alarming(kept.lost, "bold red"),
            _quantiles(kept.write)[1],
            _quantiles(kept.sync)[1],
        )
    yield table
    for kept in each.journal:
        if kept.why:
            yield Text(f"     {kept.channel}: {kept.why}", "bold red")


def _multicast(each: TransportStats) -> Iterable[RenderableType]:
    """Multicast: a line for each channel, with its groups."""
    send = "nothing sent yet"
    if each.send is not None:
        p50, p99, most = _quantiles(each.send)
        send = f"received to sent: median {p50}, p99 {p99}, max {most}"
    yield Text.assemble((each.url, "bold"), f"\n     {send}")
    table = _table("channel", "groups", "packets", "bytes", "unsent")
    for sent in each.groups:
        table.add_row(
            Text(sent.channel, "bold"),
            "\n".join(sent.groups),
            short(sent.packets),
            size(sent.bytes),
            _alarming(sent.unsent, "bold red"),
        )
    yield table
    for sent in each.groups:
        if sent.lost or sent.left_out:
            words = f"{short(sent.lost)} records lost, {short(sent.left_out)} fit no packet"
            yield Text(f"     {sent.channel}: {words}", "bold red")


def _consumers(consumers: tuple[ConsumerStats, ...], most: int, *, names_channel: bool) -> Table:
    slowest = sorted(consumers, key=lambda each: (-(each.lag_ms or 0), -each.lag_bytes))
    laps = ("lapped",) if any(each.lapped is not None for each in consumers) else ()
    table = _table("consumer", "age", "blocks", "lost", *laps, "behind: blocks", "bytes", "time")
    for each in slowest[:most]:
        is_slow = (each.lag_ms or 0) > _SLOW_MS
        of_what = f" {each.channel}" if names_channel else ""
        table.add_row(
            each.address + of_what,
            span(each.age_s),
            short(each.blocks),
            _alarming(each.lost, "bold red"),
            *(_alarming(each.lapped or 0, "bold red") for _ in laps),
            "-" if each.lag_blocks is None else short(each.lag_blocks),
            size(each.lag_bytes),
            Text(_time_behind(each), "yellow" if is_slow else ""),
        )
    if len(consumers) > most:
        table.add_row(f"and {len(consumers) - most:,} more")
    return table


def _time_behind(consumer: ConsumerStats) -> str:
    if consumer.is_replaying:
        return "replays"
    return "-" if consumer.lag_ms is None else span(consumer.lag_ms / 1000)


def _logs(channels: Sequence[ChannelStats]) -> Iterable[Text]:
    for each in channels:
        log, name = each.log, f"log of {each.name}" if len(channels) > 1 else "log"
        yield Text(
            f"{name}  {log.frames:,} frames of {span(log.span_s)}, {size(log.size_bytes)} of "
            f"{size(log.capacity_bytes)}; {short(log.trades)} trades, "
            f"{short(log.events)} events so far"
        )


def _process(process: ProcessStats) -> Text:
    return Text(
        f"process {process.pid}: {size(process.resident_bytes)}, {process.descriptors:,} of "
        f"{short(process.max_descriptors)} descriptors, {short(process.tasks)} tasks, "
        f"CPU {span(process.cpu_s)}"
    )


def _anomalies(all_counts: list[dict[str, int]]) -> list[RenderableType]:
    told = [f"{kind} {count:,}" for each in all_counts for kind, count in each.items()]
    return [Text(f"odd  {', '.join(told)}", "yellow")] if told else []


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column(first, no_wrap=True)
    for each in others:
        table.add_column(each, justify="left" if each == "state" else "right", no_wrap=True)
    return table


def _alarming(count: int, style: str) -> Text:
    return Text(short(count), style if count else "")


def _quantiles(durations: Quantiles | None) -> tuple[str, str, str]:
    if durations is None:
        return "-", "-", "-"
    return brief(durations.p50_ns), brief(durations.p99_ns), brief(durations.max_ns)
