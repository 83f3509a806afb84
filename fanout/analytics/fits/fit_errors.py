"""Why a fit cannot be made, read or used."""

from fanout.analytics.errors import FitError


class TooFewRowsError(FitError):
    """There are fewer rows than a fit needs that can be evaluated."""


class ColumnFaultError(FitError):
    """A column has no information of its own: it is constant, or follows from others."""


class FitFileError(FitError):
    """A file is no fit, is damaged, or is of another version."""


class WrongFitError(FitError):
    """A fit was made for another instrument, or for other features."""
