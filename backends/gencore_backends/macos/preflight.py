"""Checks what macOS must permit for a core, and names the remedy if it does not.

``coredump`` in XNU's ``bsd/kern/kern_core.c`` writes cores; it checks the signature through a
policy of AppleMobileFileIntegrity, whose source is not published. See docs/explanation/macos.md.
"""

import os
import resource
import shlex
import signal
from pathlib import Path
from typing import Final

from gencore import DumpRequest, Reason, Verdict
from gencore_backends.macos.core_pattern import CorePattern

__all__ = ["probe", "signing_remedy"]

_GET_TASK_ALLOW: Final = 0x00000004
_RUNTIME: Final = 0x00010000
_PLATFORM_BINARY: Final = 0x04000000
"""CS_GET_TASK_ALLOW, CS_RUNTIME and CS_PLATFORM_BINARY of XNU's ``osfmk/kern/cs_blobs.h``."""
_PATTERN_REMEDY: Final = "sudo sysctl kern.corefile={} (for the whole machine)"
_DEFAULT: Final = "/cores/core.%P"


def probe(request: DumpRequest) -> Verdict:
    """Check whether macOS would write a core. Raises OSError if that cannot be determined."""
    from gencore_backends.macos import _native

    pattern = CorePattern.read()
    need, address_space = _native.memory()
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    flags = _native.code_signing_flags()
    facts = {
        "kern.corefile": pattern.text,
        "RLIMIT_CORE hard": _bytes_of(hard),
        "code signing flags": f"{flags:#010x}",
        "get-task-allow": "yes" if flags & _GET_TASK_ALLOW else "no",
    }
    reasons = [
        *_request_reasons(request),
        *_kernel_reasons(),
        *_pattern_reasons(pattern, need),
        *_limit_reasons(hard, address_space),
        *_signature_reasons(flags),
        *_child_reasons(),
    ]
    if reasons:
        return Verdict.no(*reasons, facts=facts)
    return Verdict.yes(core_size=need, facts=facts)


def signing_remedy() -> str:
    """Return the commands that sign this process's executable so that macOS dumps it."""
    from gencore_backends.macos import _native

    entitlement = "Add :com.apple.security.get-task-allow bool true"
    return (
        f"/usr/libexec/PlistBuddy -c '{entitlement}' dump.plist && "
        f"codesign -s - -f --entitlements dump.plist {shlex.quote(_native.images()[0])}"
    )


def _bytes_of(limit: int) -> str:
    return "unlimited" if limit == resource.RLIM_INFINITY else f"{limit:,} bytes"


def _request_reasons(request: DumpRequest) -> list[Reason]:
    if request.content == "full":
        return []
    return [Reason("macOS writes only full cores", "pass content='full'")]


def _kernel_reasons() -> list[Reason]:
    from gencore_backends.macos import _native

    reasons = []
    if not _native.sysctl_number("kern.coredump"):
        text = "kern.coredump is 0: macOS writes no cores"
        reasons.append(Reason(text, "sudo sysctl kern.coredump=1"))
    if _native.identity()[1] and not _native.sysctl_number("kern.sugid_coredump"):
        text = "the process changed its user or group, and kern.sugid_coredump is 0"
        reasons.append(Reason(text, "start it as the user that it runs as"))
    return reasons


def _pattern_reasons(pattern: CorePattern, need: int) -> list[Reason]:
    if pattern.absolute:
        return _absolute_reasons(pattern, need)
    named = pattern.path(1) != Path()
    if named and pattern.directory == Path():
        return []  # the private directory, of which the framework takes care
    text = "names a subdirectory, which does not exist" if named else "yields no name"
    remedy = _PATTERN_REMEDY.format("core.%P")
    return [Reason(f"kern.corefile {pattern.text!r} {text}", remedy)]


def _absolute_reasons(pattern: CorePattern, need: int) -> list[Reason]:
    named = f"kern.corefile {pattern.text!r}"
    remedy = _PATTERN_REMEDY.format(_DEFAULT)
    if pattern.text == os.devnull:
        return [Reason(f"{named} turns cores off", remedy)]
    if not pattern.unique:
        return [Reason(f"{named} has no %P: all cores would have the same name", remedy)]
    directory = pattern.directory
    if directory is None:
        return [Reason(f"{named} names a directory that does not exist", remedy)]
    if not os.access(directory, os.W_OK | os.X_OK):
        how = f"chmod 1777 {directory}" if directory.is_dir() else f"mkdir -m 1777 {directory}"
        text = f"{directory}, where macOS writes cores, is not writable by this user"
        return [Reason(text, f"sudo {how}")]
    space = os.statvfs(directory)
    free = space.f_bavail * space.f_frsize
    if free < need:
        text = f"the core may need {need:,} bytes, but only {free:,} are free in {directory}"
        return [Reason(text, f"free some space there, or {_PATTERN_REMEDY.format('core.%P')}")]
    return []


def _limit_reasons(hard: int, address_space: int) -> list[Reason]:
    """The kernel compares the limit with the address space, not with what it will write."""
    if hard == resource.RLIM_INFINITY or hard > address_space:
        return []
    text = (
        f"RLIMIT_CORE has a hard limit of {hard:,} bytes; the address space has {address_space:,}"
    )
    remedy = "start the process with a higher limit: ulimit -Hc unlimited"
    return [Reason(text, f"{remedy}, or sudo launchctl limit core unlimited unlimited")]


def _signature_reasons(flags: int) -> list[Reason]:
    if flags & _GET_TASK_ALLOW:
        return []
    if flags & _PLATFORM_BINARY:
        text = "the interpreter is part of macOS, which writes no core of its own programs"
        return [Reason(text, "run the program with an interpreter that is not part of macOS")]
    if flags & _RUNTIME:
        text = (
            "the interpreter has the hardened runtime (notarised ones do) without the "
            "entitlement com.apple.security.get-task-allow: macOS writes no core of it"
        )
        return [Reason(text, signing_remedy())]
    return []


def _child_reasons() -> list[Reason]:
    if signal.getsignal(signal.SIGCHLD) != signal.SIG_IGN:
        return []
    text = "SIGCHLD is ignored: macOS reaps every child, and its exit status is lost"
    return [Reason(text, "signal.signal(signal.SIGCHLD, signal.SIG_DFL)")]
