"""What the kernel says of a process, see proc_pid_status(5)."""

from collections.abc import Mapping
from pathlib import Path

from gencore.target import Target

__all__ = ["read_status"]


def read_status(target: Target) -> Mapping[str, str]:
    """Return the rows by their keys; none where there is no such file, or not any longer."""
    try:
        text = Path(target.process_file("status")).read_text(errors="replace")
    except OSError:
        return {}
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
