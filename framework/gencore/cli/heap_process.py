"""A process of its own that counts the objects in a core, and prints the census as JSON.

A hostile core may make it compute for long or need much memory, within the limits of a process.
"""

import json
import sys
from pathlib import Path

import attrs

from gencore.analysis import Memory, find_python
from gencore.analysis.census import take_census
from gencore.corefile import CoreFile
from gencore.errors import IntegrityError


def main(path: str, libraries: str, top: str) -> None:
    """Print the census of the core at *path*; *libraries* is a sysroot."""
    with CoreFile(path) as core:
        python = find_python(Memory.of_core(core, Path(path), Path(libraries)), core)
        census = take_census(python, top=int(top))
    json.dump({"version": python.version, **attrs.asdict(census)}, sys.stdout)


if __name__ == "__main__":
    try:
        main(*sys.argv[2:])
    except IntegrityError as error:
        sys.exit(error.message)
