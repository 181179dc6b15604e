"""The backend ``linux-agent``: another process, armed, clones itself when it is asked."""

from gencore import DumpRequest, Snapshot, Verdict
from gencore.output import Output
from gencore_backends.linux.backend import LinuxBackend

__all__ = ["LinuxAgent"]


class LinuxAgent(LinuxBackend):
    """Asks the agent of the target for a clone, which writes its own memory as an ELF core.

    The target pays for the clone. No right over it is needed but that of its user, or root's.
    """

    name = "linux-agent"
    priority = 60
    api_version = (1, 1)
    method = "agent-elf"
    streams = True
    dumps_others = True

    def _probe(self, request: DumpRequest) -> Verdict:
        """Ask the agent who it is. Raises `TargetUnavailable`."""
        from gencore_backends.linux import agent_client, preflight

        agent_client.ask(request.target).close()
        return Verdict.yes(core_size=preflight.core_size_of(request))

    def snapshot(self, request: DumpRequest, output: Output, *, to_file: bool) -> Snapshot:
        """Let the target clone itself."""
        from gencore_backends.linux.agent_snapshot import take_by_agent

        return take_by_agent(request, output, to_file=to_file)
