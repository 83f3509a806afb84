"""Signals, for what is started from here."""

import signal


def heed_signals() -> None:
    """Ignore none that ends a program: who is started in the background by a shell, or by nohup,
    does, and whatever it starts would inherit that."""
    for number, handler in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGHUP, signal.SIG_DFL),
        (signal.SIGTERM, signal.SIG_DFL),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)
