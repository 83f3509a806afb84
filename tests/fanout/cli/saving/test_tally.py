from fanout.cli.saving.tally import Tally, counted
from fanout.clients.outcomes import Disconnected, Restarted
from fanout.protocol import Gap, GapState, Loss, LossReason, Position
from tests.protocol.golden import BTC, LIFE


def gap(first_id: int, last_id: int, state: GapState, instrument: object = BTC) -> Gap:
    return Gap(seq=1, instrument=instrument, first_id=first_id, last_id=last_id, state=state)  # type: ignore[arg-type]


def words(*records: object) -> str:
    tally = Tally()
    for each in records:
        tally.note(each)  # type: ignore[arg-type]
    return tally.words()


def test_a_recording_without_losses_is_complete() -> None:
    assert words() == ", complete"
    assert words(Disconnected(why="", pause_s=0.0)) == ", complete"


def test_losses_are_counted_in_records() -> None:
    first = Loss(first_seq=1, last_seq=1, reason=LossReason.SLOW)
    assert words(first) == "; 1 record lost on the way"
    second = Loss(first_seq=5, last_seq=1003, reason=LossReason.EVICTED)
    assert words(first, second) == "; 1,000 records lost on the way"


def test_an_id_in_an_open_gap_counts_until_the_gap_closes() -> None:
    opened = gap(1, 9, GapState.OPEN)
    assert words(opened) == "; 9 trade ids still open"
    assert words(opened, gap(1, 8, GapState.BACK_FILLED)) == "; 1 trade id still open"
    filled = (opened, gap(1, 8, GapState.BACK_FILLED), gap(9, 9, GapState.NO_TRADE))
    assert words(*filled) == ", complete"
    assert words(opened, gap(1, 9, GapState.UNRECOVERABLE)) == "; 9 trade ids unrecoverable"


def test_a_gap_from_before_the_recording_hides_no_other_gap() -> None:
    older = gap(1, 5, GapState.BACK_FILLED)
    assert words(older, gap(6, 6, GapState.OPEN)) == "; 1 trade id still open"
    others = gap(1, 5, GapState.BACK_FILLED, LIFE)
    assert words(gap(6, 6, GapState.OPEN), others) == "; 1 trade id still open"


def test_restarts_are_counted() -> None:
    restart = Restarted(before=Position(epoch_ns=1, seq=2), epoch_ns=2)
    assert words(restart) == "; 1 restart of the service"


def test_a_count_of_one_is_singular() -> None:
    assert [counted(each, "trade") for each in (0, 1, 1234)] == [
        "0 trades",
        "1 trade",
        "1,234 trades",
    ]
