"""`fanout check`: tests everything that a service needs, before the operator starts it.

report    rows, and which failure counts
run       all checks in their order
machine   ports, shared memory, descriptors, the processor
network   the way to the venue: name, port, certificate
venue     REST: the weight that is left, the clock, the symbols
stream    the WebSocket, and a first trade on every symbol
silence   why a symbol delivered none

This package returns rows and prints nothing. Each row states a finding and a remedy. The checks
repair nothing.
"""

from fanout.checks.report import Check, Fault, Name, Report, State
from fanout.checks.run import run_checks

__all__ = ["Check", "Fault", "Name", "Report", "State", "run_checks"]
