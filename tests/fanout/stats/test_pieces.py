from fanout.stats.pieces import Pieces, at_once


def test_a_snapshot_that_is_made_in_pieces_can_be_had_at_once() -> None:
    def snapshot() -> Pieces[list[int]]:
        made = []
        for each in range(3):
            made.append(each)
            yield
        return made

    assert at_once(snapshot()) == [0, 1, 2]
