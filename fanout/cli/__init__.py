"""The command line. The only place that prints, and the only one that knows exit codes.

Data goes to stdout and everything else to stderr. An error is one line and says what to do. What
a command needs is imported when it runs, so that the others, and --help, do not wait for it.
"""

import sys


def main() -> None:
    """The `fanout` script."""
    from fanout.cli.termination import end_on_sigterm

    end_on_sigterm()
    try:
        from fanout.cli.app import run

        run()
    except KeyboardInterrupt:  # while it was still importing
        sys.exit(130)


__all__ = ["main"]
