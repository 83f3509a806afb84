"""Levels of a book as venues write them in JSON: arrays of decimal strings.

    [["61800.20","2.507"],["61800.10","0.002"]]

Several venues send this, and it is most of what they send. `packed_levels` reads it in one pass
from the message to packed levels, without an object per level. It reads only the ordinary form, and
leaves everything else to the venue's own parser, which knows the message around it.
"""

import re
from itertools import pairwise
from typing import Final

from fanout.protocol.book import twin
from fanout.protocol.book_records import pack_levels
from fanout.protocol.constants import MAX_BOOK_LEVELS, Side
from fanout.protocol.errors import NotRepresentableError
from fanout.protocol.fixedpoint import from_text

MAX_DIGITS: Final = 18
"""Longest number that the ordinary form has, also after it is brought to its exponent: what always
fits an i64."""

_DECIMAL: Final = rb'"(\d+(?:\.\d+)?)"'
_LEVEL: Final = re.compile(rb"\[%b,%b\]" % (_DECIMAL, _DECIMAL), re.ASCII)
_LEVELS: Final = re.compile(rb"\[(?:%b(?:,%b)*+)?+\]" % (_LEVEL.pattern, _LEVEL.pattern), re.ASCII)


@twin
def packed_levels(
    text: bytes, start: int, price_exponent: int, quantity_exponent: int, side: Side
) -> tuple[bytes, int] | None:
    """The levels in the array that begins at `text[start]`, and where the array ends.

    They are packed as in `BookUpdate`, from the best outwards. The array may begin with the best or
    with the worst. None if it is not ordinary: with white space, signs or exponents, with numbers
    of more than 18 digits or with digits below the exponent, in no order, or with more than
    MAX_BOOK_LEVELS levels.
    """
    if not isinstance(text, bytes) or not 0 <= start < len(text):
        return None
    found = _LEVELS.match(text, start)
    if found is None:
        return None
    pairs = _LEVEL.findall(found[0])
    if len(pairs) > MAX_BOOK_LEVELS:
        return None
    try:
        levels = [
            (_ordinary(price, price_exponent), _ordinary(quantity, quantity_exponent))
            for price, quantity in pairs
        ]
    except NotRepresentableError:
        return None
    if all(one > other for (one, _), (other, _) in pairwise(levels)):
        is_falling = True
    elif all(one < other for (one, _), (other, _) in pairwise(levels)):
        is_falling = False
    else:
        return None
    if is_falling != (side == Side.BID):
        levels.reverse()
    return pack_levels(levels), found.end()


def _ordinary(digits: bytes, exponent: int) -> int:
    text = digits.decode()
    whole, _, fraction = text.partition(".")
    surplus = len(fraction) + exponent
    if len(whole) + len(fraction) - min(surplus, 0) > MAX_DIGITS or surplus > MAX_DIGITS:
        raise NotRepresentableError(f"{text!r} is too long")
    return from_text(text, exponent)
