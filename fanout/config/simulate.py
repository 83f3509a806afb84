"""The options of `fanout simulate`.

They are apart from `fanout.simulator.SimulatorConfig`, since that module loads the whole simulator,
and the command line needs its options for every command.
"""

from typing import Annotated, Final

import msgspec

from fanout.config.options import Option
from fanout.config.ranges import check_seconds
from fanout.net.addresses import check_port

DIALECTS: Final = (
    "binance-usdm",
    "binance-spot",
    "bitfinex",
    "bybit",
    "bybit-spot",
    "coinbase",
    "coinbase-advanced",
    "deribit",
    "okx",
)


class SimulateConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The options as they were typed. `symbols` are names, or one number. `speed` is a number or
    "max"."""

    dialect: Annotated[
        str, Option(f"The exchange: {', '.join(DIALECTS)}.", metavar="DIALECT", choices=DIALECTS)
    ] = DIALECTS[0]
    port: Annotated[int, Option("Port to listen on; 0 takes a free one.")] = 0
    host: Annotated[str, Option("Address to listen on.")] = "127.0.0.1"
    symbols: Annotated[
        tuple[str, ...],
        Option(
            "Symbols that trade, comma-separated or repeated; or how many. "
            "\\[default: all it knows]",
            metavar="SYMBOL,...",
        ),
    ] = ()
    captures: Annotated[
        tuple[str, ...],
        Option(
            "Replay a recording instead. Repeat to merge several.",
            flag="--capture",
            metavar="FILE",
        ),
    ] = ()
    speed: Annotated[
        str,
        Option("1 is real time, 10 ten times that, max without waiting.", metavar="NUMBER"),
    ] = "1"
    rate: Annotated[float, Option("Trades a second, over all symbols.")] = 200.0
    seed: Annotated[int, Option("The same seed makes the same market.")] = 0
    duration_s: Annotated[float | None, Option("Seconds until it ends. \\[default: runs on]")] = (
        None
    )
    faults: Annotated[
        tuple[str, ...],
        Option(
            'A fault, such as "drop every 30s". Repeat for more.', flag="--fault", metavar="FAULT"
        ),
    ] = ()
    lifetime_s: Annotated[
        float | None, Option("Seconds until a connection is dropped. \\[default: 24 hours]")
    ] = None

    def __post_init__(self) -> None:
        check_port(self.port)
        check_seconds("--duration", self.duration_s)
        check_seconds("--lifetime", self.lifetime_s)
