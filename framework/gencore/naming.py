"""Names dumps: fills in a template such as ``{exe}-{pod}-{id}`` and sanitizes the result."""

import hashlib
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from itertools import count
from pathlib import Path
from string import Formatter
from typing import Final

from gencore.errors import UsageError

__all__ = ["DEFAULT_NAME", "FIELDS"]

DEFAULT_NAME: Final = "core_{time}.{pid}.{seq}"
"""The template that is used if none is given."""
FIELDS: Final[Mapping[str, str]] = {
    "pid": "process ID",
    "exe": "file name of the interpreter",
    "host": "host name",
    "time": "date and time of the instant, UTC: YYYYMMDD.HHMMSS",
    "id": "ID of the dump, a UUIDv7; bundle_id in the manifest",
    "pod": "POD_NAME if set, otherwise the host name, which in a pod is the pod's name",
    "seq": "number of the dump in this process, from 001; of another process, the microsecond",
}
"""The fields of a template, and what they stand for."""
_FORMS: Final[Mapping[str, str]] = {
    "pid": r"\d+",
    "time": r"\d{8}\.\d{6}",
    "id": r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}",
    "seq": r"\d{3,}",
}
"""What the fields look like whose values are gencore's own. Those of others may be anything."""
_UNMISTAKABLE: Final = frozenset({"time", "id"})
"""The fields that no name has by chance."""
_LONGEST: Final = 200
"""Bytes; file systems allow 255 with what follows the name."""
_LONGEST_FIELD: Final = 64
"""Bytes of a field set by others, so that what makes a name unique always fits."""
_DIGITS: Final = 8
"""Hexadecimal digits of the hash that replaces what is left out of a field or name."""
_HARMFUL: Final = re.compile(r"[^A-Za-z0-9._+=@-]")
_sequence = count(1)
_ids = count()
_SECRET: Final = os.urandom(16)


def check_template(template: object) -> None:
    """Raise `UsageError` unless the template is valid."""
    remedy = f"use these fields: {', '.join(f'{{{field}}}' for field in FIELDS)}"
    if not isinstance(template, str):
        raise UsageError(f"name={template!r} is not a string", remedy=remedy)
    try:
        fields = [(field, spec, how) for _, field, spec, how in Formatter().parse(template)]
    except ValueError as error:
        raise UsageError(f"name={template!r}: {error}", remedy=remedy) from error
    for field, spec, how in fields:
        if field is not None and (field not in FIELDS or spec or how):
            raise UsageError(f"name={template!r} has an unsupported field", remedy=remedy)
    if not _harmless(template):
        raise UsageError(
            f"name={template!r} is empty without leading dots and hyphens", remedy=remedy
        )


def dump_name(template: str, created_at: datetime, own_id: str, pid: int | None = None) -> str:
    """Return the name of the next dump, of the process *pid* or else this one.

    Whoever dumps another process cannot count its dumps: others may be dumping it in the same
    second. Their microseconds differ.
    """
    values = _Fields(
        pid=str(pid or os.getpid()),
        time=f"{created_at:%Y%m%d.%H%M%S}",
        id=own_id,
        seq=f"{next(_sequence):03}" if pid is None else f"{created_at:%f}",
    )
    return _harmless(template.format_map(values)) or own_id


class _Fields(dict[str, str]):
    """The values of the fields. What is the system's, few templates ask for."""

    def __missing__(self, field: str) -> str:
        return _shortened(_OF_THE_SYSTEM[field](), _LONGEST_FIELD)


def _host() -> str:
    return platform.node() or "localhost"


_OF_THE_SYSTEM: Final[Mapping[str, Callable[[], str]]] = {
    "exe": lambda: Path(sys.executable).name or "python",
    "host": _host,
    "pod": lambda: os.environ.get("POD_NAME") or _host(),
}


def pattern_of(template: str) -> re.Pattern[str] | None:
    """Return what matches the names of a template's dumps; None if it could match anything else.

    A name that was too long, and therefore shortened, is not matched.
    """
    parts = list(Formatter().parse(template))
    if _UNMISTAKABLE.isdisjoint(field for _, field, _, _ in parts):
        return None
    text = "".join(
        re.escape(_HARMFUL.sub("_", literal)) + (_FORMS.get(field, ".+?") if field else "")
        for literal, field, _, _ in parts
    )
    return re.compile(text)


def dump_id(created_at: datetime) -> str:
    """Return a UUID of version 7 (RFC 9562, 5.7): milliseconds, then random bits.

    They are the hash of a secret and of what no two dumps share: to ask the system for others is
    to give up the GIL, in a process in which it may be long until it is had again.
    """
    milliseconds = int(created_at.timestamp() * 1000)
    unique = f"{os.getpid()} {time.monotonic_ns()} {next(_ids)}".encode()
    random = int.from_bytes(hashlib.blake2b(unique, key=_SECRET, digest_size=10).digest())
    value = milliseconds << 80 | 7 << 76 | (random >> 62 & 0xFFF) << 64 | 2 << 62
    text = f"{value | random & (1 << 62) - 1:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _shortened(text: str, longest: int) -> str:
    """Replace the middle of a long *text* by a hash of the whole.

    Beginning and end stay: the names of replicas differ at their end (``-0``, ``-1``, or random
    letters). The hash keeps texts apart that differ only in the middle.
    """
    if len(text) <= longest:
        return text
    digest = hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()[:_DIGITS]
    head = (longest - _DIGITS) // 2 - 1
    tail = longest - _DIGITS - 2 - head
    return f"{text[:head]}+{digest}+{text[-tail:]}"


def _harmless(name: str) -> str:
    """Make it one component of a path, not hidden and not mistakable for an option."""
    return _shortened(_HARMFUL.sub("_", name).lstrip(".-"), _LONGEST)
