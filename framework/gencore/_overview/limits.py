"""What a manifest says of limits: how much of each was used, and which are near."""

from collections.abc import Iterator
from functools import reduce
from typing import Final

import attrs

from gencore.bundle.manifest import ManifestValue

__all__ = ["Limit", "limits_in"]

_NEAR: Final = 0.8
"""Share of a limit from which on it is near."""


@attrs.frozen(kw_only=True)
class Limit:
    """A limit, and how much of it was used."""

    name: str
    unit: str
    """``bytes``, or empty for a number."""
    used: float
    limit: float
    fatal: bool
    """Whether the process fails at the limit; else the kernel makes room before."""

    @property
    def share(self) -> float:
        """How much of it was used, as a share of 1."""
        return self.used / self.limit

    @property
    def near(self) -> bool:
        """Whether little is left."""
        return self.share >= _NEAR


_LIMITS: Final = (
    ("open files", "", "process.open_fds", "process.limits.nofile.soft", True),
    ("threads of the cgroup", "", "process.threads", "container.pids.max", True),
    ("address space", "bytes", "process.vms_bytes", "process.limits.as.soft", True),
    (
        "memory of the cgroup, its page cache included",
        "bytes",
        "container.memory.current_bytes",
        "container.memory.max_bytes",
        False,
    ),
    ("memory of the machine", "bytes", "process.rss_bytes", "host.memory_total_bytes", True),
)
"""What it is, its unit, where a manifest has what was used and the limit, and `Limit.fatal`."""


def limits_in(manifest: ManifestValue) -> Iterator[Limit]:
    """Yield the limits that are known, the next one first."""
    found = (
        Limit(name=name, unit=unit, used=amount, limit=limit, fatal=fatal)
        for name, unit, used, most, fatal in _LIMITS
        if (amount := _at(manifest, used)) is not None and (limit := _at(manifest, most))
    )
    yield from sorted(found, key=lambda limit: -limit.share)


def _at(manifest: ManifestValue, path: str) -> float | None:
    return reduce(ManifestValue.__getitem__, path.split("."), manifest).amount
