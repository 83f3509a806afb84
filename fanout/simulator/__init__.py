"""A Binance USDⓈ-M exchange on loopback: the default for demos, the stand for tests.

WebSocket and REST answer on one port. Trades are invented (seeded) or replayed from captures. It
is built from the exchange's documents and recordings alone and shares no code with the venue
adapter, so that a misreading in one cannot cancel out in the other.

    source (market, capture) -> player -> engine -> stream_faults -> streams -> one outbox each
                                            |                                        |
                                 ledger, history, aggregate                     connections
                                            |
                                           rest -> rest_faults

It misbehaves when asked to, in the words of `faults`: through `Simulator.faults`, through the
control endpoint on the same port, or by itself, by a schedule in the config.
"""

from fanout.simulator.config import SimulatorConfig
from fanout.simulator.run import Simulator, run_simulator

__all__ = ["Simulator", "SimulatorConfig", "run_simulator"]
