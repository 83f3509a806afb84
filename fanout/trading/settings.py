"""How the paper exchange behaves (latencies, fees, the fill models), and how a journal is kept."""

from __future__ import annotations

from typing import Final

import msgspec

from fanout.trading.errors import LimitsError
from fanout.trading.exchange.queues import Model, Weight
from fanout.trading.money import FEE_DIGITS
from fanout.trading.orders import Latencies

_WHOLE_VALUE: Final = 10**FEE_DIGITS


class ExchangeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of a `PaperExchange`.

    Fees are in 10**-8 of the value: 10,000 is one basis point; a rebate is negative. `weight` is
    the f of the probabilistic model. `lead` is the model whose fills the strategy sees; an order
    that ends there ends in the other one too.
    """

    latencies: Latencies
    maker_fee: int = 0
    taker_fee: int = 0
    weight: Weight = Weight.LINEAR
    lead: Model = Model.CONSERVATIVE

    def __post_init__(self) -> None:
        for name, rate in (("maker", self.maker_fee), ("taker", self.taker_fee)):
            if abs(rate) > _WHOLE_VALUE:
                raise LimitsError(f"the {name} fee of {rate:,} exceeds the value, {_WHOLE_VALUE:,}")


class JournalSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How the journal of a run is kept. A file ends at `segment_bytes` at the latest. The oldest
    ones beyond `keep_bytes` are removed, None keeps all. What was written is put on the disk every
    `sync_ns`."""

    segment_bytes: int = 64 * 1024 * 1024
    keep_bytes: int | None = None
    sync_ns: int = 1_000_000_000
