"""Capabilities: a confined root reads what Landlock lets it read, and is an ordinary user else."""

import struct
from typing import Final

from gencore._confinement.system_calls import call

__all__ = ["drop_capabilities"]

_VERSION_3: Final = 0x20080522
_READ_SEARCH: Final = 1 << 2
"""CAP_DAC_READ_SEARCH: the interpreter of a user whom root reads for may lie in a closed home."""


def drop_capabilities() -> None:
    """Give up all capabilities but that of reading; no program gets them back. Raises OSError."""
    try:
        _keep(_READ_SEARCH)
    except PermissionError:  # it is not held, as usual
        _keep(0)


def _keep(capabilities: int) -> None:
    header = struct.pack("=Ii", _VERSION_3, 0)
    call("capset", header, struct.pack("=6I", capabilities, capabilities, 0, 0, 0, 0))
