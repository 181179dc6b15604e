"""Has the native part clone this process: for a core in a descriptor, or for a recorder.

Apart from what reads cores, which a process that has a recorder does not load.
"""

from typing import TYPE_CHECKING, Final

from gencore import DumpRequest
from gencore_backends.linux import _native
from gencore_backends.linux.snapshot import STOP_TIMEOUT_MS

if TYPE_CHECKING:
    from gencore.arming import Program

__all__ = [
    "CONTENTS",
    "UNKNOWN_PYTHON",
    "WITH_HEAP",
    "can_include",
    "clone_this_process",
    "hand_over_this_process",
]

WITH_HEAP: Final = {"full", "private"}
"""Contents that include the heap; the others have stacks, and what readers of stacks need."""
CONTENTS: Final = {*WITH_HEAP, "stacks", "triage"}
UNKNOWN_PYTHON: Final = "this Python keeps its stacks differently from those that gencore knows"


def can_include(content: str) -> bool:
    """Return whether all that a content stands for can be found in this process."""
    return content in WITH_HEAP or bool(_native.find_python())


def clone_this_process(
    request: DumpRequest, core_fd: int, taken: "list[_native.Snapshot]"
) -> None:
    """Make it. Raises OSError, whose filename is the step that failed."""
    _native.snapshot_to_elf(core_fd, *_order(request), taken)


def hand_over_this_process(
    request: DumpRequest,
    channel: int,
    recorder: "int | Program",
    facts: bytes,
    taken: "list[_native.Snapshot]",
) -> None:
    """Make one for a recorder, which gets all but its pidfd. Raises what the other does."""
    _native.hand_over(channel, recorder, facts, *_order(request), taken)


def _order(request: DumpRequest) -> "tuple[str, _native.Ranges, bool, bool, str, int]":
    """Return the arguments that both have."""
    return (
        request.content,
        request.excluded,
        request.with_dontdump,
        request.allow_undumpable,
        request.threads,
        STOP_TIMEOUT_MS,
    )
