"""An exchange on loopback: the default for demos, the stand for tests.

WebSocket and REST answer on one port. Trades are invented (seeded) or replayed from captures. The
market, `market`, knows no venue. A dialect, `dialects/<venue>`, says how one venue puts it into
words; it is made from the venue's documents and recordings alone and shares no code with the
service's venue adapter, so that a misreading in one cannot cancel out in the other.

    source (synthetic, capture) -> player -> engine -> faults.streams -> streams -> outboxes
                                               |                            |          |
                                    ledger, history, aggregate           dialect   connections
                                               |                            |
                                               '------------ rest ----------'-> faults.rest

It misbehaves when asked to, in the words of `faults`: through `Simulator.faults`, through the
control endpoint on the same port, or by itself, by a schedule in the config. Faults belong to the
market or to connections, and work with every dialect.
"""

from fanout.simulator.config import SimulatorConfig, made_up_symbols
from fanout.simulator.run import Simulator, run_simulator

__all__ = ["Simulator", "SimulatorConfig", "made_up_symbols", "run_simulator"]
