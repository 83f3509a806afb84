"""The command line. The only place that prints, and the only one that knows exit codes.

Data goes to stdout and everything else to stderr. An error is one line and says what to do.
"""

from fanout.cli.app import main

__all__ = ["main"]
