"""The backend ``linux-elf``: clone, let the clone write its own memory as an ELF core.

It needs nothing from the system: no core_pattern, no RLIMIT_CORE, no ptrace, no capability. The
core goes through a pipe to whoever wants its bytes, or into a file where a collector keeps one.
"""

import platform
import sys

from gencore import Backend, DumpRequest, Reason, Snapshot, Verdict
from gencore.output import Output

__all__ = ["LinuxElf"]


class LinuxElf(Backend):
    """See the module."""

    name = "linux-elf"
    priority = 60
    api_version = (1, 0)
    method = "fork-elf"

    def probe(self, request: DumpRequest) -> Verdict:
        """Look at the platform, the dumpable attribute and the limit on file sizes."""
        if sys.platform != "linux":
            return Verdict.no(Reason(f"this is {platform.system()}, not Linux"))
        from gencore_backends.linux import elf_snapshot, requirements

        try:
            return requirements.probe_elf(request, elf_snapshot.CONTENTS)
        except OSError as error:
            return Verdict.no(Reason(f"/proc cannot be read: {error}", "mount /proc"))

    def snapshot(self, request: DumpRequest, output: Output, *, to_file: bool) -> Snapshot:
        """Clone. The child writes into a file or a pipe."""
        from gencore_backends.linux import elf_snapshot  # imported already, by probe

        if to_file:
            return elf_snapshot.take_to_file(request, output)
        return elf_snapshot.take_to_pipe(request)
