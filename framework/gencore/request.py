"""The request for one dump: what it should contain."""

from collections.abc import Mapping
from copy import copy
from threading import TIMEOUT_MAX
from typing import Any, Literal, Self

import attrs

from gencore.annotations import MAX_VALUE_SIZE, check_annotations
from gencore.errors import UsageError
from gencore.target import Target
from gencore.triggers import Fired

__all__ = ["Content", "DumpRequest", "Threads"]

Threads = Literal["auto", "signal", "caller"]
Content = Literal["full", "private", "stacks", "triage"]


def _own_copy(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


def _to_target(value: Any) -> Target:
    return value if isinstance(value, Target) else Target(value)


def _check_annotations(_: object, __: object, value: Any) -> None:
    if not isinstance(value, Mapping):
        raise UsageError(f"annotations={value!r} is not a mapping")
    check_annotations(value)


def check_flag(name: str, value: object) -> None:
    """Raise `UsageError` if the value of an option is neither True nor False."""
    if not isinstance(value, bool):
        raise UsageError(f"{name}={value!r} is neither True nor False")


def _check_flag(_: object, attribute: "attrs.Attribute[bool]", value: object) -> None:
    check_flag(attribute.name, value)


def _check_choice(_: object, attribute: "attrs.Attribute[str]", value: str) -> None:
    choices = {"threads": Threads, "content": Content}[attribute.name].__args__  # type: ignore[attr-defined]  # typeshed hides what get_args() would return here
    if value not in choices:
        raise UsageError(f"{attribute.name}={value!r} is not one of {', '.join(choices)}")


def is_time_limit(value: Any) -> bool:
    """Whether it is None (no limit), or a number of seconds that the system can wait."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value is None or (is_number and 0 < value <= TIMEOUT_MAX)


def _check_timeout(_: object, __: object, value: Any) -> None:
    if not is_time_limit(value):
        raise UsageError(
            f"timeout={value!r} is not a positive number of seconds",
            remedy="omit it to wait indefinitely",
        )


def _check_reason(_: object, __: object, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, str):
        raise UsageError(f"reason={value!r} is not text")
    if len(value.encode(errors="replace")) > MAX_VALUE_SIZE:
        raise UsageError(f"reason={value[:80]!r}... is longer than {MAX_VALUE_SIZE:,} bytes")


@attrs.frozen(kw_only=True)
class DumpRequest:
    """What one dump was asked to contain. Raises `UsageError`."""

    threads: Threads = attrs.field(default="auto", validator=_check_choice)
    """Whose registers: ``auto``, every thread's, without any of them noticing; ``signal``, also
    those of threads that can only be stopped by lengthening a timeout; ``caller``, only the
    calling thread's."""
    content: Content = attrs.field(default="full", validator=_check_choice)
    """Which memory: ``full``; ``private``, without clean pages of files; ``stacks``, without heap,
    arguments and environment; or ``triage``, for sharing: ``stacks`` without what lies beside the
    kept objects, and without arguments and environment in the manifest."""
    timeout: float | None = attrs.field(default=None, validator=_check_timeout)
    """Seconds until an unfinished dump is given up; None waits for ever."""
    annotations: Mapping[str, str] = attrs.field(
        factory=dict, converter=_own_copy, validator=_check_annotations
    )
    """Free text for the manifest: 64 keys at most, 1,024 bytes each."""
    with_dontdump: bool = attrs.field(default=False, validator=_check_flag)
    """Whether to take in memory that was marked with MADV_DONTDUMP, see madvise(2)."""
    allow_undumpable: bool = attrs.field(default=False, validator=_check_flag)
    """Whether to dump a process that the kernel made "not dumpable" (prctl(2)), most often because
    it changed its user. While its core is written, other processes of the user can read the
    memory of the process's clone; the process itself stays as it is."""
    sources: bool = attrs.field(default=False, validator=_check_flag)
    """Whether a bundle takes in the Python files on the stacks, up to 16 MiB."""
    force: bool = attrs.field(default=False, validator=_check_flag)
    """Whether to go on where the estimate says that the artefacts will not fit on the disk."""
    huge_pages: bool = attrs.field(default=False, validator=_check_flag)
    """Whether the process first collapses its memory into huge pages, as `Pipeline.prepare` can:
    the pause is shorter, for time before it. Of another process, its agent does that."""
    target: Target = attrs.field(factory=Target, converter=_to_target)
    """The process to dump."""
    reason: str | None = attrs.field(default=None, validator=_check_reason)
    """Why it is dumped, in the words of who asked: for the manifest, 1,024 bytes at most."""
    fired: Fired | None = attrs.field(
        default=None, validator=attrs.validators.optional(attrs.validators.instance_of(Fired))
    )
    """The trigger that has asked for it; None: a program or a person has."""
    excluded: tuple[tuple[int, int], ...] = ()
    """Memory to wipe in the image, as (start, end) in order; see `gencore.exclude`."""

    def without(self, ranges: tuple[tuple[int, int], ...]) -> Self:
        """Return the same request with *ranges* excluded, unchecked: this runs in the pause."""
        if ranges == self.excluded:
            return self
        changed = copy(self)
        object.__setattr__(changed, "excluded", ranges)
        return changed
