"""Finds the processes of this machine whose agents listen."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from gencore import TargetUnavailable
from gencore.target import ArmedProcess, Target
from gencore_backends.linux.agent_client import Answer, Identity, ask
from gencore_backends.linux.agent_directories import directories_of
from gencore_backends.linux.proc import read_status

__all__ = ["armed_processes"]

_MARK: Final = "@gencore/"
"""With which the names of abstract sockets begin in /proc/net/unix."""


def armed_processes() -> Iterator[ArmedProcess]:
    """Yield those that this process may ask, by pid."""
    names = _listening()
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdecimal()):
        with suppress(TargetUnavailable, OSError, LookupError, ValueError):
            target = Target(pid)
            identity = Identity.read(target)
            if str(identity) in names or _has_socket(target, identity):
                with ask(target) as answer:
                    yield _describe(target, identity, answer)


def _listening() -> set[str]:
    """Return the identities of the processes of this network namespace that listen."""
    rows = Path("/proc/net/unix").read_text(errors="replace").split("\n")
    names = (row.rpartition(" ")[2] for row in rows)
    return {name.removeprefix(_MARK) for name in names if name.startswith(_MARK)}


def _has_socket(target: Target, identity: Identity) -> bool:
    """Whether there is a socket in a directory: that of a container with its own network."""
    root = target.proc("root")
    return any(
        os.path.lexists(f"{root}{directory}/{identity.file_name}")
        for directory in directories_of(identity.user)
    )


def _describe(target: Target, identity: Identity, answer: Answer) -> ArmedProcess:
    fields = read_status(target)
    facts = answer.values.get("facts") or {}
    last = answer.values["last"]
    return ArmedProcess(
        pid=target.pid,
        parent=int(fields["PPid"]),
        user=identity.user,
        name=fields["Name"],
        argv=tuple(map(str, facts.get("argv", ()))),
        started_at=_started_at(identity),
        memory=int(fields["VmRSS"].split()[0]) * 1024,
        threads=int(fields["Threads"]),
        dumps=int(answer.values["captures"]),
        last_dump=datetime.fromtimestamp(last, UTC) if last else None,
    )


def _started_at(identity: Identity) -> datetime:
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - identity.start / os.sysconf("SC_CLK_TCK")
    return datetime.fromtimestamp(time.time() - age, UTC)
