"""What the caller of the trading code can do wrong. A refused order is no error: it is a report."""

from fanout.protocol.errors import CallerError


class TradingError(CallerError):
    """The root of the errors of `fanout.trading`."""


class TransitionError(TradingError):
    """An event came that an order, or the kill switch, cannot have in its state."""


class UnknownOrderError(TradingError, KeyError):
    """There is no order of this number."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would show the message in quotes


class LimitsError(TradingError, ValueError):
    """A limit, a latency or a setting that contradicts itself or its instrument."""


class StrategyError(TradingError):
    """A strategy gave what is no quote: a price that is not finite, or sides that cross."""
