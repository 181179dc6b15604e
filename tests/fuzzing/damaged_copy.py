"""A copy of a file that is damaged again and again: only what was damaged is written anew."""

import os
import shutil

PIECE = 1 << 20


class DamagedCopy:
    """The file at `path`, a copy of the one at `original`."""

    def __init__(self, original, path):
        shutil.copyfile(original, path)
        self.original, self.path = original, path
        self.size = path.stat().st_size
        self._from, self._to = os.open(original, os.O_RDONLY), os.open(path, os.O_RDWR)
        self._places = set()

    def word(self, place):
        """Return the eight bytes that the original has at an offset."""
        return os.pread(self._from, 8, place)

    def write(self, place, data):
        """Write at most eight bytes at an offset."""
        os.pwrite(self._to, data, place)
        self._places.add(place)

    def truncate(self, size):
        """Leave out the end."""
        os.truncate(self._to, size)

    def restore(self):
        """Make the file what it was."""
        os.truncate(self._to, min(self.size, os.fstat(self._to).st_size))
        while (end := os.fstat(self._to).st_size) < self.size:
            os.pwrite(self._to, os.pread(self._from, PIECE, end), end)
        for place in self._places:
            os.pwrite(self._to, self.word(place), place)
        self._places.clear()
