"""Comparing two streams of the same instruments: a consumer of both, without I/O and without a
clock.

    records of A --.
                    +-> Comparison -> findings, one by one; at the end a Report
    records of B --'

fields       what of two trades is compared
values       what a comparison finds, and the report
side         what one stream brought and reported: where it is, its windows, its holes
pairs        trades, matched one to one
states       quotes and order books, compared at equal update ids
comparison   takes the records of both, and puts the report together

What was received by the time t is compared once the other stream is at t + `within`. Until then a
trade waits for its partner. A trade that has none is a difference if the other stream saw the time
around it, and did not report it as lost:

    A  ...............[first ====== LOSS ========= last]
    B  ........[first ============================================ last]
                          |          |          |        |
                       matched     lost by A   only B   outside: A had left

`fanout.cli.comparing` connects the streams and prints the report.
"""

from fanout.compare.comparison import Comparison
from fanout.compare.fields import Fields
from fanout.compare.values import (
    Clock,
    Finding,
    Identity,
    Report,
    SideReport,
    SymbolReport,
    What,
)

__all__ = [
    "Clock",
    "Comparison",
    "Fields",
    "Finding",
    "Identity",
    "Report",
    "SideReport",
    "SymbolReport",
    "What",
]
