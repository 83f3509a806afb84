import os
import signal

import pytest
import trio

from fanout.cli.saving import signals as module
from fanout.cli.saving.signals import Signals


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_cancels_the_scope(number: int) -> None:
    async def wait(signals: Signals) -> bool:
        with trio.CancelScope() as scope, signals.cancelling(scope):
            send(number)
            await trio.sleep_forever()
        return scope.cancelled_caught

    with Signals() as signals:
        assert trio.run(wait, signals)
        assert signals.first == number


def test_an_earlier_signal_cancels_the_scope_too() -> None:
    async def wait(signals: Signals) -> None:
        with trio.fail_after(5), trio.CancelScope() as scope, signals.cancelling(scope):
            await trio.sleep_forever()

    with Signals() as signals:
        send(signal.SIGTERM)
        trio.run(wait, signals)


def test_only_a_second_signal_after_a_second_interrupts_the_completion(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_s = 100.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now_s)
    with Signals() as signals:
        with signals.interrupting():
            send(signal.SIGTERM)
            send(signal.SIGTERM)
            now_s += module.REPEATED_S + 0.1
            with pytest.raises(KeyboardInterrupt):
                send(signal.SIGINT)
        send(signal.SIGINT)
        assert signals.first == signal.SIGTERM


def test_handlers_are_restored_and_nohup_is_honoured() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Signals() as signals:
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) == signals._take
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)
