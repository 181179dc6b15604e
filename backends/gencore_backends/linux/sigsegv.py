"""The backend ``linux-sigsegv``: clone, let the clone die of SIGSEGV, take the kernel's core.

The kernel writes the core, so everything that core(5) says applies: ``core_pattern``,
RLIMIT_CORE, the coredump filter. The notes in it are ours, with the registers of every thread.
"""

import platform
import sys

from gencore import Backend, DumpRequest, Reason, Snapshot, Verdict
from gencore.output import Output

__all__ = ["LinuxSigsegv"]


class LinuxSigsegv(Backend):
    """See the module."""

    name = "linux-sigsegv"
    priority = 50
    api_version = (1, 0)
    method = "kernel-core"

    def probe(self, request: DumpRequest) -> Verdict:
        """Look at the platform, core_pattern, the limits and the dumpable attribute."""
        if sys.platform != "linux":
            return Verdict.no(Reason(f"this is {platform.system()}, not Linux"))
        from gencore_backends.linux import requirements, sigsegv_snapshot

        try:
            return requirements.probe_kernel_core(request, sigsegv_snapshot.CONTENTS)
        except OSError as error:
            return Verdict.no(Reason(f"/proc cannot be read: {error}", "mount /proc"))

    def snapshot(self, request: DumpRequest, output: Output, *, to_file: bool) -> Snapshot:  # noqa: ARG002 - the kernel always writes a file
        """Clone. The child enters *output* and dies there."""
        from gencore_backends.linux import sigsegv_snapshot  # imported already, by probe

        return sigsegv_snapshot.take(request, output)
