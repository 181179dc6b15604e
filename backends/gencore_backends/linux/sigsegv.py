"""The backend ``linux-sigsegv``: a clone dies of SIGSEGV, and the kernel writes its core."""

from gencore import DumpRequest, Snapshot, Verdict
from gencore.output import Output
from gencore_backends.linux.backend import LinuxBackend

__all__ = ["LinuxSigsegv"]


class LinuxSigsegv(LinuxBackend):
    """Clones, lets the clone die of SIGSEGV, and takes the core that the kernel writes.

    Everything in core(5) applies: ``core_pattern``, RLIMIT_CORE, the coredump filter. The notes in
    the core are replaced by ours, with the registers of every thread.
    """

    name = "linux-sigsegv"
    priority = 50
    api_version = (1, 0)
    method = "kernel-core"

    def _probe(self, request: DumpRequest) -> Verdict:
        """Check core_pattern, the limits and the dumpable attribute."""
        from gencore_backends.linux import preflight, sigsegv_snapshot

        return preflight.probe_kernel_core(request, sigsegv_snapshot.CONTENTS)

    def snapshot(self, request: DumpRequest, output: Output, *, to_file: bool) -> Snapshot:  # noqa: ARG002 - the kernel always writes a file
        """Clone. The child enters *output* and dies there."""
        from gencore_backends.linux import sigsegv_snapshot  # imported already, by probe

        return sigsegv_snapshot.KernelSnapshot(request, output)
