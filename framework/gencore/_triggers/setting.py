"""Gives the agent of this process its triggers, and the command that dumps it."""

import errno
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from gencore._recorder.program import command_of, why_no_program
from gencore._triggers import exceptions, heartbeat
from gencore._triggers.choices import triggers_chosen
from gencore.errors import Refused
from gencore.triggers import TriggerChoice

if TYPE_CHECKING:
    from gencore.arming import Agent

__all__ = ["set_triggers"]

_LEFT_OUT: Final = [b"GENCORE_ARM", b"GENCORE_TRIGGERS", b"GENCORE_BACKEND"]
"""What is not meant for a process that dumps another one."""


def set_triggers(
    agent: "Agent", choices: Iterable[TriggerChoice], directory: str | os.PathLike[str] | None
) -> None:
    """Let an agent that runs have them in the place of those before.

    Raises `UsageError`, and `Refused` if a signal is taken or the command cannot be started.
    """
    triggers = triggers_chosen(choices)
    if triggers and (reason := why_no_program()) is not None:
        raise Refused(f"triggers cannot start a dump: {reason}")
    command = ["dump", "--fit", "--quiet"]
    if directory is not None:
        command += ["-o", os.path.abspath(directory)]  # noqa: PTH100 - no objects
    arguments = command_of("from gencore.cli import main; main()", [*command, "--fired"])
    try:
        agent.set_triggers([one.row for one in triggers], arguments, _LEFT_OUT)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        raise Refused(
            "a signal of a trigger has a handler already", remedy="choose another SIGRTMIN+N"
        ) from error
    kinds = {trigger.on for trigger in triggers}
    heartbeat.keep(agent, wanted="gil" in kinds)
    exceptions.keep(agent, wanted="exception" in kinds)
