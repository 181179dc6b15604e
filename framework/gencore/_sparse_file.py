"""A file that has holes where zeros are written to it."""

import io
import os
from itertools import groupby
from typing import Any, Final

__all__ = ["SparseFile"]

_PIECE: Final = 64 << 10
_ZEROS: Final = bytes(_PIECE)


class SparseFile(io.FileIO):
    """Takes no space on the disk for 64 KiB of zeros, if it is to look for them."""

    leaves_holes = False

    def write(self, data: Any, /) -> int:
        """Write *data*, or a part of it; return its length in bytes. Raises OSError."""
        return self._write_runs(data) if self.leaves_holes else super().write(data)

    def _write_runs(self, data: Any) -> int:
        view, done = memoryview(data).cast("B"), 0
        pieces = range(0, view.nbytes, _PIECE)
        for zeros, run in groupby(pieces, lambda at: _ZEROS.startswith(view[at : at + _PIECE])):
            end = min(view.nbytes, list(run)[-1] + _PIECE)
            if zeros:
                self.seek(end - done, os.SEEK_CUR)
                done = end
            else:
                done += super().write(view[done:end])
            if done < end:
                break
        return done

    def close(self) -> None:
        """Close it, with the hole at its end. Raises OSError."""
        try:
            if not self.closed and self.tell() > os.fstat(self.fileno()).st_size:
                self.truncate()
        finally:
            super().close()
