"""The overview itself: findings, and under them the facts that they were found in."""

from collections.abc import Mapping
from typing import Any, Final

import attrs

from gencore._overview.findings import Facts, Finding, find
from gencore._overview.limits import Limit, limits_in
from gencore._overview.places import (
    Group,
    Place,
    Source,
    integer,
    names_of,
    recorded_threads,
)
from gencore.bundle.manifest import ManifestValue

__all__ = ["WITHOUT_HEAP", "Overview", "about_malloc", "make_overview"]

WITHOUT_HEAP: Final = ("stacks", "triage")
"""Contents of a core that has little more than what stacks are read from."""


_PARTS: Final = ("waits", "deadlocks", "tasks", "greenlets", "requests", "packages")
"""Of an answer: each is empty if nothing was found."""
_REDACTED: Final = "[redacted]"
"""What a manifest has in place of arguments that may be secret."""


@attrs.frozen(kw_only=True)
class Subject:
    """Which process was dumped, and when; what is unknown is None."""

    service: str | None
    program: str | None
    """The name of the script or module, else of the executable."""
    host: str | None
    pid: int | None
    python: str | None
    created_at: str | None


@attrs.frozen(kw_only=True)
class Gil:
    """Who had the GIL at the instant."""

    holders: tuple[str, ...]
    """What holds it and where; several with several interpreters."""
    waiting: int
    """Threads that wait for it."""


@attrs.frozen(kw_only=True)
class RequestRow:
    """A request that was not answered yet, or a task of a queue."""

    protocol: str
    """``WSGI``, ``ASGI`` or ``Celery``."""
    method: str | None
    target: str
    """The path, or the task's name."""
    worker: str
    """The thread or the task that works on it."""
    place: Place | None
    """Where it is in the application's code."""


@attrs.frozen(kw_only=True)
class TypeRow:
    """The objects of one type, or all of them."""

    type: str
    count: int
    size: int
    """Bytes, as ``sys.getsizeof`` has it of each alone."""


@attrs.frozen(kw_only=True)
class Holder:
    """An object that keeps others alive."""

    way: str
    """How it is reached from a module or a thread."""
    type: str
    address: str
    retained: int
    """Bytes that would be free without it."""


@attrs.frozen(kw_only=True)
class Heap:
    """The Python objects, and what the writable memory is for."""

    types: tuple[TypeRow, ...]
    """The largest first; not all."""
    count: int
    size: int
    memory: Mapping[str, int]
    other_malloc: str | None
    """Which malloc large objects are from, if its layout is unknown."""
    holders: tuple[Holder, ...]
    """What keeps most alive, the largest first; not all."""


@attrs.frozen(kw_only=True)
class Overview:
    """One screen."""

    subject: Subject
    findings: tuple[Finding, ...]
    """Problems first."""
    groups: tuple[Group, ...]
    """Of threads, the largest first."""
    gil: Gil | None
    """None if it is unknown."""
    tasks: tuple[Group, ...]
    """Of asyncio, the largest first."""
    greenlets: tuple[Group, ...]
    """Those that do not run, the largest group first."""
    requests: tuple[RequestRow, ...]
    heap: Heap | None
    packages: Mapping[str, str]
    """The version of each."""
    limits: tuple[Limit, ...]
    missing: Mapping[str, str]
    """Parts that could not be read, and why."""
    incomplete: str | None
    """Why what was not found may be there; None if the core has all that it should have."""


def about_malloc(name: str) -> str:
    """Return what is to be known of the objects of a malloc whose layout is unknown."""
    return f"the malloc is not glibc's: {name}: the objects from it were found by their types"


def make_overview(
    manifest: Mapping[str, Any], answer: Mapping[str, Any] | None, source: Source, bundle: str
) -> Overview:
    """Return the overview.

    *answer* is that of `gencore.analysis.answers.why`; without it the manifest's stacks are shown.
    *bundle* is how commands name what was read.
    """
    fields = ManifestValue(manifest)
    read = dict(answer or {})
    missing = {key: str(reason) for key, reason in ManifestValue(read.get("missing")).entries}
    incomplete = ManifestValue(read.get("incomplete")).text
    if incomplete is not None:
        unknown = [name for name, part in read.items() if _rests_on_more(name, part)]
        read = {name: part for name, part in read.items() if name not in unknown}
        missing |= dict.fromkeys(unknown, incomplete)
    if "threads" not in read:
        read["threads"] = recorded_threads(fields["threads"])
    content = fields["core"]["content"].text
    if content in WITHOUT_HEAP:
        read = {name: part for name, part in read.items() if name not in {"heap", "holders"}}
        missing.pop("holders", None)
        missing["heap"] = f"the core has the content {content}"
    facts = Facts(
        manifest=fields,
        answer=ManifestValue(read),
        names=names_of(fields["threads"], ManifestValue(read)["names"]),
        source=source,
        bundle=bundle,
    )
    return Overview(
        subject=_subject(facts),
        findings=find(facts),
        groups=tuple(
            Group.of(row, facts.names, source) for row in facts.answer["threads"]["groups"]
        ),
        tasks=tuple(Group.of(row, facts.names, source) for row in facts.answer["tasks"]["groups"]),
        greenlets=tuple(
            Group.of(row, facts.names, source) for row in facts.answer["greenlets"]["groups"]
        ),
        gil=_gil(facts),
        requests=tuple(_request(facts, row) for row in facts.answer["requests"]),
        packages={name: str(version) for name, version in facts.answer["packages"].entries},
        heap=_heap(facts.answer),
        limits=tuple(limits_in(fields)),
        missing=missing,
        incomplete=incomplete,
    )


def _rests_on_more(name: str, part: Any) -> bool:
    """Whether a part of an answer means nothing if the core is incomplete."""
    if name == "heap":
        return not ManifestValue(part)["types"].rows
    if name == "threads":
        return not any(group["place"].known for group in ManifestValue(part)["groups"])
    return name == "holders" or (name in _PARTS and _says_nothing(part))


def _says_nothing(part: Any) -> bool:
    return not any(part.values()) if isinstance(part, Mapping) else not part


def _subject(facts: Facts) -> Subject:
    manifest = facts.manifest
    version = ".".join(str(number) for number in facts.answer["version"])
    return Subject(
        service=manifest["annotations"]["service"].text or manifest["service"]["name"].text,
        program=_script(manifest) or manifest["process"]["executable"]["name"].text,
        host=manifest["host"]["name"].text,
        pid=integer(manifest["process"]["pid"]),
        python=version or manifest["runtime"]["version"].text,
        created_at=manifest["created_at"].text,
    )


def _script(manifest: ManifestValue) -> str | None:
    """Return the name of what the interpreter runs: of its arguments the one that is kept."""
    arguments = (row.text or "-" for row in manifest["process"]["argv"].rows[1:])
    shown = (text for text in arguments if not text.startswith(("-", _REDACTED)))
    return next((text.rpartition("/")[2] or text for text in shown), None)


def _gil(facts: Facts) -> Gil | None:
    threads = facts.answer["threads"]
    if not threads["gil"].known or (facts.answer["incomplete"].known and not threads["gil"].rows):
        return None
    return Gil(
        holders=tuple(facts.at(thread) for thread in threads["gil"]),
        waiting=integer(threads["waiting_for_gil"]) or 0,
    )


def _request(facts: Facts, row: ManifestValue) -> RequestRow:
    return RequestRow(
        protocol=str(row["protocol"]),
        method=row["method"].text,
        target=str(row["target"]),
        worker=row["name"].text or facts.names(row["tid"]),
        place=Place.of(row["place"], facts.source),
    )


def _heap(answer: ManifestValue) -> Heap | None:
    heap, holders = answer["heap"], answer["holders"]["holders"]
    if not heap.known:
        return None
    return Heap(
        types=tuple(
            TypeRow(
                type=str(row["name"]),
                count=integer(row["count"]) or 0,
                size=integer(row["size"]) or 0,
            )
            for row in heap["types"]
        ),
        count=integer(heap["all"]["count"]) or 0,
        size=integer(heap["all"]["size"]) or 0,
        memory={key: integer(value) or 0 for key, value in heap["memory"].entries},
        other_malloc=None if answer["incomplete"].known else heap["other_malloc"].text,
        holders=tuple(
            Holder(
                way=str(row["way"]),
                type=str(row["type"]),
                address=row["address"].address or "",
                retained=integer(row["retained"]) or 0,
            )
            for row in holders
        ),
    )
