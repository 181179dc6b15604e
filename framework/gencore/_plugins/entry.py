"""One installed plug-in, before it is loaded: what it is, and what may prevent its use."""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from gencore._runtime.own_entry_points import DISTRIBUTION

__all__ = ["BUILT_IN", "GROUPS", "CatalogueEntry", "Family", "Obstacle"]

Family = Literal["backend", "collector", "destination", "filter", "listener"]

GROUPS: Final[Mapping[Family, str]] = {
    "backend": "gencore.backends",
    "collector": "gencore.collectors",
    "destination": "gencore.destinations",
    "filter": "gencore.filters",
    "listener": "gencore.listeners",
}
BUILT_IN: Final = DISTRIBUTION
"""The distribution whose plug-ins no policy turns off, and whose names no other one takes."""


class Obstacle(NamedTuple):
    """Why a plug-in is not loaded under its plain name."""

    status: Literal["disabled", "shadowed", "conflict"]
    reason: str
    remedy: str


class CatalogueEntry(NamedTuple):
    """One installed plug-in, not loaded."""

    family: Family
    name: str
    distribution: str
    version: str
    value: str
    """Where it is: ``module:attribute``."""
    obstacle: Obstacle | None = None
    is_default: bool = False
    """Whether it may be chosen without being named: it is built in, or GENCORE_PLUGINS names it,
    and its plain name is its own."""

    @property
    def built_in(self) -> bool:
        """Whether it comes with gencore."""
        return self.distribution == BUILT_IN

    @property
    def full_name(self) -> str:
        """The name that no other distribution can claim."""
        return f"{self.distribution}:{self.name}"

    @property
    def distinct_name(self) -> str:
        """The plain name if it means this plug-in, else the full one."""
        return self.name if self.obstacle is None else self.full_name

    @property
    def origin(self) -> str:
        """The distribution with its version."""
        return f"{self.distribution} {self.version}"
