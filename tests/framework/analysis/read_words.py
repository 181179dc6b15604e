"""Read words of a memory at once, and print what was read as JSON.

read_words.py SKEW PAGES ADDRESS...

The memory is a page of numbered words, SKEW bytes into the core, and PAGES of zeros in a library,
in two pieces.
In a process of its own, because it loads numpy.
"""

import json
import struct
import sys

import numpy as np

from gencore.analysis import Memory, Piece
from gencore.analysis.interpreter.words import Words

PAGE = 4096
BASE = 0x400000
LIBRARY = 0x800000

skew, pages, *asked = (int(word, 0) for word in sys.argv[1:])
core = memoryview(bytes(PAGE + skew) + struct.pack("<512Q", *range(512)))
library = memoryview(bytes(pages * PAGE))
end = LIBRARY + len(library)
words = Words(
    Memory(
        [
            Piece(BASE, BASE + PAGE, core, PAGE + skew, writable=True, path=None),
            Piece(LIBRARY, LIBRARY + 64, library, 0, writable=False, path="/lib/x.so"),
            Piece(LIBRARY + 64, end, library, 64, writable=False, path="/lib/x.so"),
        ]
    )
)
addresses = np.array(asked, np.uint64)
values, there = words.at(addresses)
things, ours = words.things(addresses)
print(
    json.dumps(
        {
            "values": values.tolist(),
            "there": there.tolist(),
            "things": things.word().tolist(),
            "ours": ours.tolist(),
            "room": words.room(addresses).tolist(),
            "writable": [run.words.tolist() for run in words.writable()],
        }
    )
)
