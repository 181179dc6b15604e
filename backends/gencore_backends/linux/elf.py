"""The backend ``linux-elf``: a clone of the process writes its own memory as an ELF core."""

from functools import partial

from gencore import DumpRequest, Snapshot, Verdict
from gencore.output import Output
from gencore_backends.linux.backend import LinuxBackend

__all__ = ["LinuxElf"]


class LinuxElf(LinuxBackend):
    """Clones the process; the clone writes its own memory as an ELF core.

    It needs nothing from the system: no core_pattern, no RLIMIT_CORE, no ptrace, no capability.
    The core goes through a pipe to the collectors, or into a file if a collector keeps it as one.
    """

    name = "linux-elf"
    priority = 60
    api_version = (1, 1)
    method = "fork-elf"
    streams = True
    takes_handover = True

    def _probe(self, request: DumpRequest) -> Verdict:
        """Check the dumpable attribute and the limit on file sizes."""
        from gencore_backends.linux import (
            elf_snapshot,  # noqa: F401 - loaded here, before the pause
            own_clone,
            preflight,
        )

        if request.target.handover is not None:
            from gencore_backends.linux import handed_over  # noqa: F401 - the same

        return preflight.probe_elf(request, own_clone.CONTENTS)

    def snapshot(self, request: DumpRequest, output: Output, *, to_file: bool) -> Snapshot:
        """Clone. The child writes into a file or a pipe."""
        if request.target.handover is not None:
            from gencore_backends.linux.handed_over import HandedSnapshot

            return HandedSnapshot(request, request.target.handover, self.name)
        from gencore_backends.linux import elf_snapshot, own_clone  # imported already, by probe

        take = partial(own_clone.clone_this_process, request)
        if to_file:
            return elf_snapshot.FileSnapshot(take, output)
        return elf_snapshot.PipeSnapshot(take)
