"""Formats counts, durations and sizes in few characters, so that they fit a column."""


def brief(ns: int) -> str:
    """A short duration with its unit, in two or three digits."""
    for unit, unit_ns in (("s", 10**9), ("ms", 10**6)):
        if abs(ns) >= unit_ns:
            value = ns / unit_ns
            return f"{value:.0f}{unit}" if abs(value) >= 10 else f"{value:.1f}{unit}"
    return f"{ns / 1e3:.0f}us"


def short(count: int) -> str:
    """A count in at most six characters."""
    if count < 100_000:
        return f"{count:,}" if count >= 10_000 else str(count)
    for unit, one in (("T", 10**12), ("G", 10**9), ("M", 10**6)):
        if count >= one:
            return f"{count / one:.3g}{unit}"
    return f"{count // 1000}k"


def span(seconds: float) -> str:
    """A duration in at most two units."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    if seconds < 60:
        return f"{seconds:.0f}s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes}m{int(seconds) % 60:02}s"
    hours, days = minutes // 60, minutes // 1440
    return f"{hours}h{minutes % 60:02}m" if days < 2 else f"{days}d{hours % 24}h"


def size(size_bytes: int) -> str:
    """Bytes in three digits and a unit."""
    value = float(size_bytes)
    for unit in ("B", "KiB", "MiB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1024
    return f"{value:.3g} GiB"
