"""The exceptions of gencore: one tree, divided by what a caller can do about them.

Decide by type, never by message text. Every error may carry a *remedy*: what to do about it, and
has an exit code, which commands end with. The documentation and ``gencore --help`` print what
stands here.
"""

import errno as errno_names
import os
from collections.abc import Iterable
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    from gencore.verdict import Reason, Verdict  # attrs takes as long to load as click

__all__ = [
    "CoreFailed",
    "ExitCode",
    "GencoreError",
    "IntegrityError",
    "OutputError",
    "PluginError",
    "Refused",
    "TargetUnavailable",
    "TimedOut",
    "Unsupported",
    "UsageError",
]


class ExitCode(IntEnum):
    """What a command of gencore ends with; `Report.exit_code` has the same codes."""

    meaning: str

    COMPLETE = 0, "complete"
    FAILED = 1, "the core failed, or an error without a code of its own"
    USAGE = 2, "wrong usage"
    PARTIAL = 3, "partial: something was saved, something is missing, and the report lists it"
    REFUSED = 4, "refused: the environment or the output directory does not permit it"
    UNSUPPORTED = 5, "unsupported: no backend works here"
    TARGET = 6, "the process to dump is gone, not armed, or not permitted"
    TIMED_OUT = 7, "a time limit was exceeded"
    INTEGRITY = 8, "a core or bundle is not what it claims to be"
    PLUGIN = 9, "a plug-in cannot be used"
    INTERRUPTED = 130, "interrupted by Ctrl-C"

    def __new__(cls, code: int, meaning: str) -> Self:
        """Make an int with a meaning."""
        made = int.__new__(cls, code)
        made._value_ = code
        made.meaning = meaning
        return made


class GencoreError(Exception):
    """The root of all errors of gencore. It has a ``message`` and a ``remedy``, or None."""

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return self.message if self.remedy is None else f"{self.message}. Remedy: {self.remedy}"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what it says, and not how it was made: a recorder sends it to its target."""
        return _error_of, (type(self), self.args, vars(self))


class UsageError(GencoreError, ValueError):
    """An argument is wrong."""

    exit_code = ExitCode.USAGE


class Refused(GencoreError):
    """The environment does not permit the dump; nothing was done."""

    exit_code = ExitCode.REFUSED


class OutputError(Refused, OSError):
    """The output directory, or a file in it, cannot be used.

    ``path`` and ``errno`` say which and why, as in OSError.
    """

    def __init__(self, path: str, errno: int, what: str, *, remedy: str | None = None) -> None:
        Refused.__init__(self, f"{path}: {what} ({_errno_name(errno)})", remedy=remedy)
        self.path = path
        self.errno = errno
        self.filename = path
        self.strerror = os.strerror(errno)


_LOOK_AT_THE_OTHERS = "run 'gencore doctor'; if no backend is named, the best that works is used"


class Unsupported(GencoreError):
    """None of the requested backends works here; ``verdicts`` holds each one's reasons."""

    exit_code = ExitCode.UNSUPPORTED

    def __init__(self, verdicts: "dict[str, Verdict]") -> None:
        reasons = [(name, reason) for name, no in verdicts.items() for reason in no.reasons]
        text = "; ".join(f"{name}: {reason.text}" for name, reason in reasons)
        super().__init__(
            f"no backend works here: {text or 'none is installed'}",
            remedy=_join_remedies(reason for _, reason in reasons) or _LOOK_AT_THE_OTHERS,
        )
        self.verdicts = verdicts


class TargetUnavailable(GencoreError):
    """The process to dump has ended, is not armed, or does not permit it."""

    exit_code = ExitCode.TARGET


class TimedOut(GencoreError, TimeoutError):
    """The time limit of the dump, of one plug-in, or of reading a file was exceeded.

    ``seconds`` is the limit, ``part`` is who exceeded it: None for the dump.
    """

    exit_code = ExitCode.TIMED_OUT

    def __init__(
        self,
        seconds: float,
        part: str | None = None,
        *,
        what: str | None = None,
        remedy: str | None = None,
    ) -> None:
        if what is not None:
            pass
        elif part is None:
            what = f"the dump did not complete within its time limit of {seconds:g} s"
            remedy = "raise the timeout, use a faster disk, or pass content='private'"
        else:
            what = f"{part} did not return within {seconds:g} s, and was abandoned"
            remedy = "see where its thread hangs (gencore stacks BUNDLE), or raise the timeout"
        super().__init__(what, remedy=remedy)
        self.seconds = seconds
        self.part = part


class IntegrityError(GencoreError):
    """A core or a bundle is not what it claims to be."""

    exit_code = ExitCode.INTEGRITY


class PluginError(GencoreError):
    """A plug-in of whatever family cannot be used, or has failed.

    ``family``, ``name`` and ``status`` say which and why; ``status`` is one of the statuses that
    ``gencore plugins`` prints, or ``unknown``.
    """

    exit_code = ExitCode.PLUGIN

    def __init__(
        self, *, family: str, name: str, status: str, reason: str, remedy: str | None = None
    ) -> None:
        super().__init__(f"{family} {name!r}: {reason}", remedy=remedy)
        self.family = family
        self.name = name
        self.status = status
        self.reason = reason


class CoreFailed(GencoreError):
    """Creating the core failed at a named step.

    ``errno`` is the system's reason, 0 if it gave none. ``step`` is a name of the backend's;
    ``snapshot`` and ``core`` mean that the backend broke its contract.
    """

    def __init__(
        self, step: str, errno: int = 0, detail: str = "", *, remedy: str | None = None
    ) -> None:
        cause = f"{os.strerror(errno)} ({_errno_name(errno)})" if errno else ""
        text = ": ".join(
            part for part in (f"no core: step {step!r} failed", cause, detail) if part
        )
        super().__init__(text, remedy=remedy)
        self.step = step
        self.errno = errno


def _error_of(kind: type[GencoreError], args: tuple[Any, ...], facts: dict[str, Any]) -> Any:
    error = kind.__new__(kind)
    error.args = args
    for name, value in facts.items():
        setattr(error, name, value)
    return error


def _errno_name(errno: int) -> str:
    return errno_names.errorcode.get(errno, f"errno {errno}")


def _join_remedies(reasons: "Iterable[Reason]") -> str | None:
    remedies = dict.fromkeys(reason.remedy for reason in reasons if reason.remedy)
    return "; or ".join(remedies) or None
