"""The stack of each thread, as rows that do not depend on who read them, and as text."""

from collections.abc import Iterator

import attrs

from gencore.bundle.manifest import ManifestValue
from gencore.bundle.source_lines import SourceLines

__all__ = [
    "Frame",
    "ThreadStack",
    "integer_of",
    "names_of_threads",
    "stack_lines",
    "stacks_from_core",
    "stacks_from_manifest",
]


@attrs.frozen(kw_only=True)
class Frame:
    """One call of a stack; what is unknown is None."""

    kind: str
    """``python`` or ``native``."""
    function: str | None
    file: str | None
    line: int | None
    """From 1."""
    source_line: str | None
    """The line itself, if the bundle has it."""
    library: str | None
    """Where a native function is."""


@attrs.frozen(kw_only=True)
class ThreadStack:
    """One thread and its stack."""

    tid: int | None
    name: str | None
    """What the application calls it, or else the kernel."""
    status: str | None
    """``Has the GIL``, for example."""
    interpreter: int | None
    """0 is the main one."""
    has_native: bool
    """Whether the native frames are among the others."""
    frames: tuple[Frame, ...]
    """The outermost first."""


def stacks_from_manifest(threads: ManifestValue, sources: SourceLines) -> list[ThreadStack]:
    """Return the stacks that a manifest recorded at the instant."""
    return [
        ThreadStack(
            tid=integer_of(row["tid"]),
            name=row["python"]["name"].text or row["name"].text,
            status=None,
            interpreter=None,
            has_native=False,
            frames=tuple(
                _frame(frame, sources) for frame in reversed(row["python"]["frames"].rows)
            ),
        )
        for row in threads
    ]


def stacks_from_core(
    rows: ManifestValue, threads: ManifestValue, sources: SourceLines
) -> list[ThreadStack]:
    """Return the stacks that `pystack_process` read, with names from a manifest's *threads*."""
    names = names_of_threads(threads)
    return [
        ThreadStack(
            tid=(tid := integer_of(row["tid"])),
            name=names.get(tid) or row["name"].text,
            status=row["status"].text,
            interpreter=integer_of(row["interpreter"]),
            has_native=row["has_native"].text == "yes",
            frames=tuple(_frame(frame, sources) for frame in row["frames"]),
        )
        for row in rows
    ]


def names_of_threads(threads: ManifestValue) -> dict[int | None, str | None]:
    """Return the names in a manifest's *threads* by tid."""
    return {
        integer_of(row["tid"]): row["python"]["name"].text or row["name"].text for row in threads
    }


def _frame(frame: ManifestValue, sources: SourceLines) -> Frame:
    file, library = frame["file"].text, frame["library"].text
    line = integer_of(frame["line"])
    return Frame(
        kind="python" if library is None else "native",
        function=frame["function"].text,
        file=file,
        line=line,
        source_line=sources.find(file or "", line) if library is None else None,
        library=library,
    )


def integer_of(value: ManifestValue) -> int | None:
    """Return a number that is not negative, as one without decimals."""
    return None if value.amount is None else int(value.amount)


def stack_lines(stack: ThreadStack) -> Iterator[str]:
    """Yield the stack for people, as pystack does."""
    name = f" ({stack.name})" if stack.name else ""
    status = f" [{stack.status}]" if stack.status else ""
    if not stack.frames:
        yield f"The frame stack for thread {stack.tid}{name} is empty"
        return
    yield f"Traceback for thread {stack.tid}{name}{status} (most recent call last):"
    if stack.interpreter:
        yield f"  In interpreter {stack.interpreter}"
    for frame in stack.frames:
        yield from _lines(frame)


def _lines(frame: Frame) -> Iterator[str]:
    place = f'File "{frame.file}", line {frame.line}, in {frame.function}'
    if frame.library is not None:
        yield f"    (C) {place} ({frame.library})"
        return
    yield f"    (Python) {place}"
    if frame.source_line is not None:
        yield f"        {frame.source_line}"
