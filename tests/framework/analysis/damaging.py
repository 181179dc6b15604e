"""Damages the memory of a core, for programs that then read it."""

import struct

from gencore.analysis import Memory, Piece

MOST_WORDS = 20_000


def damaged(memory, chance):
    """Return the memory with words that are random, or point to something, or without pieces."""
    pieces = []
    addresses = [address for piece in memory.pieces for address in (piece.start, piece.end)]
    for piece in memory.pieces:
        if not piece.writable:
            pieces.append(piece)
            continue
        data = bytearray(piece.source[piece.offset : piece.offset + piece.end - piece.start])
        for _ in range(min(MOST_WORDS, len(data) // 64) if chance.random() < 0.8 else 0):
            word = chance.choice(
                (
                    chance.getrandbits(64),
                    chance.choice(addresses) + chance.randrange(1 << 20),
                    chance.randrange(1 << 12),
                    piece.start + chance.randrange(len(data)) & ~7,
                    (1 << 64) - 1 - chance.randrange(64),
                )
            )
            at = chance.randrange(len(data) // 8) * 8
            struct.pack_into("<Q", data, at, word % (1 << 64))
        if chance.random() < 0.95:
            view = memoryview(data)
            pieces.append(Piece(piece.start, piece.end, view, 0, writable=True, path=piece.path))
    return Memory(pieces)
