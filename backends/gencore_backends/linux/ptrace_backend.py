"""The backend ``linux-ptrace``: an unarmed process is cloned with ptrace(2), if asked for."""

from gencore import DumpRequest, Reason, Snapshot, Verdict
from gencore.output import Output
from gencore_backends.linux.backend import LinuxBackend

__all__ = ["LinuxPtrace"]

_CONTENTS = {"full", "private"}
_NO_PYTHON = "without Python nobody can say which memory readers of Python stacks need"


class LinuxPtrace(LinuxBackend):
    """Lets one thread of the target make a clone, and writes that clone's memory as an ELF core.

    The target may be any 64-bit program. It stands still for the clone, and not for the core. It
    takes the rights of a debugger, and the change of another process's registers: so it is used
    only where it is named.
    """

    name = "linux-ptrace"
    priority = 10
    api_version = (1, 1)
    method = "ptrace-elf"
    streams = True
    dumps_others = True
    only_by_name = True

    def _probe(self, request: DumpRequest) -> Verdict:
        """Check the rights over the target. Raises `TargetUnavailable`."""
        from gencore_backends.linux import preflight, ptrace_rights, ptrace_snapshot  # noqa: F401

        if request.target.other is None:
            return Verdict.no(Reason("it dumps other processes only", "gencore dump --ptrace PID"))
        ptrace_rights.check_rights(request.target)
        allow = request.allow_undumpable
        reasons = list(ptrace_rights.obstacles(request.target, allow_undumpable=allow))
        if request.content not in _CONTENTS:
            text = f"content={request.content!r} is unsupported: {_NO_PYTHON}"
            reasons.append(Reason(text, "pass content='private'"))
        if request.threads == "caller":
            text = "threads='caller' is unsupported: no thread of the target is the calling one"
            reasons.append(Reason(text, "pass threads='auto'"))
        if request.huge_pages:
            text = "huge_pages=True is unsupported: it takes the agent of an armed process"
            reasons.append(Reason(text, "start it with: gencore exec -- COMMAND"))
        if reasons:
            return Verdict.no(*reasons)
        return Verdict.yes(core_size=preflight.core_size_of(request))

    def snapshot(
        self,
        request: DumpRequest,
        output: Output,  # noqa: ARG002 - the core is always streamed
        *,
        to_file: bool,  # noqa: ARG002
    ) -> Snapshot:
        """Let the target clone itself."""
        from gencore_backends.linux.ptrace_snapshot import PtraceSnapshot

        return PtraceSnapshot(request)
