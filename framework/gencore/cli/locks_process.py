"""A process of its own that looks for deadlocks in a core, and prints them as JSON.

A hostile core may make it compute for long or need much memory, within the limits of a process.
"""

import json
import sys
from pathlib import Path
from typing import Any

from gencore.analysis import Memory, Wait, find_deadlocks, find_python, read_waits
from gencore.corefile import CoreFile
from gencore.errors import IntegrityError


def main(path: str, libraries: str) -> None:
    """Print each deadlock of the core at *path* as a list of waits; *libraries* is a sysroot."""
    with CoreFile(path) as core:
        memory = Memory.of_core(core, Path(path), Path(libraries))
        found = find_deadlocks(read_waits(find_python(memory, core), core))
    json.dump([[_row(wait) for wait in circle] for circle in found], sys.stdout)


def _row(wait: Wait) -> dict[str, Any]:
    lock = wait.lock
    return {
        "tid": wait.tid,
        "lock": lock.kind,
        "address": f"{lock.address:#x}",
        "held_by": lock.owner,
        "known_by": lock.known_by,
    }


if __name__ == "__main__":
    try:
        main(*sys.argv[2:])
    except IntegrityError as error:
        sys.exit(error.message)
