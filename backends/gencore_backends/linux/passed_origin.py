"""A process that has passed what leads to it, and to a clone of it, to this one."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gencore.target import ProcessFacts, Target
from gencore_backends.linux.child import Child
from gencore_backends.linux.link_map import loaded_files
from gencore_backends.linux.process_access import AgentAccess, root_of
from gencore_backends.linux.snapshot import Origin

if TYPE_CHECKING:
    from gencore_backends.linux import _native

__all__ = ["PassedOrigin", "facts_of"]

_PHASES: Final = ("stop", "clone", "release")


class PassedOrigin(Origin):
    """It has measured the pause itself, and lets the clone begin itself."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._root = root_of(target)  # before it may have ended: then its files are not read

    def take_over(
        self, values: Mapping[str, Any], descriptors: dict[str, int]
    ) -> "_native.Snapshot":
        """Note what was passed; return the clone. The descriptors are closed with this object."""
        pidfd, status = descriptors.pop("clone"), descriptors.pop("status")
        phases = {phase: values[f"{phase}_ns"] / 1e9 for phase in _PHASES}
        clone = _pid_of(pidfd)
        self.access = self._access(descriptors, clone)
        self.access.loaded_files = loaded_files(self.access)  # before the process may be killed
        self.excluded = tuple((start, end) for start, end in values["excluded"])
        threads = [tuple(row) for row in values["threads"]]
        return clone, pidfd, status, phases, threads, values["unlisted"]

    def _access(self, descriptors: dict[str, int], clone: int) -> AgentAccess:
        return AgentAccess(self._target, self._root, descriptors, clone)

    def let_begin(self, child: Child) -> None:
        """Do nothing: the process has done it."""

    def close(self) -> None:
        """Close what was passed."""
        if isinstance(self.access, AgentAccess):
            self.access.close()


def _pid_of(pidfd: int) -> int:
    """Return the pid as this process sees it: the other knows that of its own namespace."""
    text = Path(f"/proc/self/fdinfo/{pidfd}").read_text()
    return int(dict(line.partition(":")[::2] for line in text.splitlines())["Pid"])


def facts_of(said: Any) -> ProcessFacts | None:
    """Return what a process says of itself, as far as it is of the right types."""
    if not isinstance(said, dict):
        return None
    argv, runtime, notes = (said.get(key) for key in ("argv", "runtime", "annotations"))
    return ProcessFacts(
        argv=tuple(map(str, argv)) if isinstance(argv, list) else (),
        runtime=runtime if isinstance(runtime, dict) else {},
        annotations=notes if isinstance(notes, dict) else {},
    )
