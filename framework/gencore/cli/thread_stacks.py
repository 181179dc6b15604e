"""The stack of each thread, as rows that do not depend on who read them, and as text."""

from collections.abc import Iterator
from itertools import groupby

import attrs

from gencore.bundle.manifest import ManifestValue
from gencore.bundle.source_lines import SourceLines

__all__ = [
    "Frame",
    "ThreadStack",
    "Variable",
    "integer_of",
    "names_of_threads",
    "stack_lines",
    "stacks_from_core",
    "stacks_from_manifest",
    "with_native_frames",
]


@attrs.frozen(kw_only=True)
class Variable:
    """An argument or a local variable; what is unknown is None."""

    name: str | None
    kind: str | None
    """As in `gencore.analysis.threads.variables`."""
    value: str | None
    """As its ``repr`` shows it, at most 200 characters."""
    address: str | None


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
    locals: tuple[Variable, ...] | None
    """None unless they were asked for."""


@attrs.frozen(kw_only=True)
class ThreadStack:
    """One thread and its stack."""

    tid: int | None
    name: str | None
    """What the application calls it, or else the kernel."""
    status: str | None
    """``Has the GIL``, for example."""
    system_call: str | None
    """The one that it is in."""
    interpreter: int | None
    """0 is the main one."""
    has_native: bool
    """Whether the native frames are among the others."""
    frames: tuple[Frame, ...]
    """The outermost first."""
    incomplete: str | None
    """Why outer frames may be missing."""


def stacks_from_manifest(threads: ManifestValue, sources: SourceLines) -> list[ThreadStack]:
    """Return the stacks that a manifest recorded at the instant."""
    return [
        ThreadStack(
            tid=integer_of(row["tid"]),
            name=row["python"]["name"].text or row["name"].text,
            status=None,
            system_call=None,
            interpreter=None,
            has_native=False,
            frames=tuple(
                _frame(frame, sources) for frame in reversed(row["python"]["frames"].rows)
            ),
            incomplete=None,
        )
        for row in threads
    ]


def stacks_from_core(
    rows: ManifestValue, threads: ManifestValue, sources: SourceLines
) -> list[ThreadStack]:
    """Return the stacks that `gencore.analysis` read, with names from a manifest's *threads*.

    The names that the application gave come first, whoever recorded them.
    """
    names = names_of_threads(threads)
    return [
        ThreadStack(
            tid=(tid := integer_of(row["tid"])),
            name=names.get(tid) or row["name"].text,
            status=row["status"].text,
            system_call=row["system_call"].text,
            interpreter=integer_of(row["interpreter"]),
            has_native=False,
            frames=tuple(_frame(frame, sources) for frame in row["frames"]),
            incomplete=row["incomplete"].text,
        )
        for row in rows
    ]


def with_native_frames(stacks: list[ThreadStack], rows: ManifestValue) -> list[ThreadStack]:
    """Return the stacks with the native frames that `pystack_process` read, where it could."""
    merged = {
        (integer_of(row["tid"]), integer_of(row["interpreter"])): row["frames"]
        for row in rows
        if row["has_native"].text == "yes"
    }
    found = ((stack, merged.get((stack.tid, stack.interpreter))) for stack in stacks)
    return [stack if rows is None else _with_native(stack, rows) for stack, rows in found]


def _with_native(stack: ThreadStack, rows: ManifestValue) -> ThreadStack:
    """Put the frames that are known of Python where those of the merged stack are."""
    frames = tuple(_frame(frame, None) for frame in rows)
    if sum(frame.kind == "python" for frame in frames) != len(stack.frames):
        return stack
    known = iter(stack.frames)
    merged = tuple(next(known) if frame.kind == "python" else frame for frame in frames)
    return attrs.evolve(stack, frames=merged, has_native=True)


def names_of_threads(threads: ManifestValue) -> dict[int | None, str | None]:
    """Return the names that the application gave, as a manifest's *threads* have them, by tid."""
    return {integer_of(row["tid"]): row["python"]["name"].text for row in threads}


def _frame(frame: ManifestValue, sources: SourceLines | None) -> Frame:
    file, library = frame["file"].text, frame["library"].text
    line = integer_of(frame["line"])
    return Frame(
        kind="python" if library is None else "native",
        function=frame["function"].text,
        file=file,
        line=line,
        source_line=sources.find(file or "", line) if sources and library is None else None,
        library=library,
        locals=tuple(map(_variable, frame["locals"])) if frame["locals"].known else None,
    )


def _variable(row: ManifestValue) -> Variable:
    return Variable(**{name: row[name].text for name in ("name", "kind", "value", "address")})


def integer_of(value: ManifestValue) -> int | None:
    """Return a number that is not negative, as one without decimals."""
    return None if value.amount is None else int(value.amount)


def stack_lines(stack: ThreadStack) -> Iterator[str]:
    """Yield the stack for people, as pystack does."""
    name = f" ({stack.name})" if stack.name else ""
    call = f": {stack.system_call}" if stack.system_call else ""
    status = f" [{stack.status}{call}]" if stack.status else ""
    if not stack.frames and stack.incomplete:
        yield f"The frame stack for thread {stack.tid}{name}{status} is unknown"
        return
    if not stack.frames:
        yield f"The frame stack for thread {stack.tid}{name}{status} is empty"
        return
    yield f"Traceback for thread {stack.tid}{name}{status} (most recent call last):"
    if stack.interpreter:
        yield f"  In interpreter {stack.interpreter}"
    if stack.incomplete:
        yield f"    (outer frames are missing: {stack.incomplete})"
    for frame, equal in groupby(stack.frames):
        yield from _lines(frame)
        if more := sum(1 for _ in equal) - 1:
            yield f"    [the previous frame is repeated {more:,} more time{'s' * (more > 1)}]"


def _lines(frame: Frame) -> Iterator[str]:
    place = f'File "{frame.file}", line {frame.line}, in {frame.function}'
    if frame.library is not None:
        yield f"    (C) {place} ({frame.library})"
        return
    yield f"    (Python) {place}"
    if frame.source_line is not None:
        yield f"        {frame.source_line}"
    for variable in frame.locals or ():
        yield f"      {variable.name} = {variable.value}"
