"""What can go wrong in analytics. All of it is up to the caller, who gave settings or a fit that
cannot be used. A stream raises only when an instrument first comes, for a fit of another one.
Afterwards a feature without a value has a reason instead.
"""

from fanout.protocol.errors import CallerError


class AnalyticsError(CallerError, ValueError):
    """The root of this package's errors."""


class SettingsError(AnalyticsError):
    """A window, a lag, a depth or an interval is out of range, or a name is unknown."""


class FitError(AnalyticsError):
    """A fit cannot be made, read, or used for this instrument or with these features."""
