"""A simulated exchange on loopback, for demos and tests.

WebSocket and REST share one port. Trades are generated from a seed, or replayed from captures. The
market, in `market`, depends on no venue. A dialect, in `dialects/<venue>`, encodes it as one venue
does. Dialects are written from the venue's documents and recordings. They share no code with the
service's venue adapters, so that one misreading cannot hide in both.

    source (synthetic, capture) -> player -> engine -> faults.streams -> streams -> outboxes
                                               |                            |          |
                             ledger, history, aggregate, books           dialect   connections
                                               |                            |
                                               '------------ rest ----------'-> faults.rest

`faults` defines the faults. `Simulator.faults`, the control endpoint on the same port, and a
schedule in the config inject them. They act on the market or on connections, with every dialect.
"""

from fanout.simulator.config import SimulatorConfig, made_up_symbols
from fanout.simulator.run import Simulator, run_simulator

__all__ = ["Simulator", "SimulatorConfig", "made_up_symbols", "run_simulator"]
