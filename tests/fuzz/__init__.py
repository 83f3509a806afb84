"""Whatever parses bytes from outside, given bytes that nobody sends in good faith.

    python -m tests.fuzz                     every target for two minutes, guided by coverage
    python -m tests.fuzz block --minutes 30  one of them

A *target* is a function of bytes. It ends, soon, in nothing or in one of the errors that its line
in `tests/fuzz/targets.py` names; any other error is a fault, and so is an assertion: a target also
knows what has to be true of what it understood. The suite gives each target a small dose
(`test_targets.py`) and watches what it allocates.
"""
