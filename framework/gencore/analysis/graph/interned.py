"""Recognizes the table of interned strings: a dictionary of strings onto themselves.

It keeps none of them alive, because the references that it has are not counted.
"""

from typing import Final

import numpy as np

from gencore.analysis.heap.parts import TypeLayouts
from gencore.analysis.heap.references import words_of
from gencore.analysis.interpreter.words import Mask, Things

__all__ = ["are_interned"]

_LEAST: Final = 256
"""Entries: no Python starts with fewer strings."""
_LOOKED_AT: Final = 64


def are_interned(layouts: TypeLayouts, things: Things) -> Mask:
    """Return which objects are such tables."""
    rows = layouts.types.find(things.word(8))
    found = np.zeros(len(things), np.bool_)
    for index in np.flatnonzero(rows == layouts.row_of("dict")):
        for part in layouts.of(int(rows[index])).parts(things.chosen(np.array([index]))):
            if part.way == "entry" and int(part.counts.max(initial=0)) >= 2 * _LEAST:
                _, places = next(words_of(part, 2 * _LOOKED_AT))
                pairs = layouts.words.at(places)[0].reshape(-1, 2)
                found[index] = (pairs[:, 0] == pairs[:, 1]).all()
    return found
