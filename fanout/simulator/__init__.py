"""A Binance USDⓈ-M exchange on loopback: the default for demos, the stand for tests.

WebSocket and REST answer on one port. Trades are invented (seeded) or replayed from captures. It
is built from the exchange's documents and recordings alone and shares no code with the venue
adapter, so that a misreading in one cannot cancel out in the other.

    source (market, capture) -> aggregate -> player -> streams -> one outbox per connection
                                                    -> history -> rest

Misbehaviour on demand and a control endpoint have their place in `exchange.Exchange`, which sees
every accepted connection; neither exists yet.
"""

from fanout.simulator.config import SimulatorConfig
from fanout.simulator.run import Simulator, run_simulator

__all__ = ["Simulator", "SimulatorConfig", "run_simulator"]
