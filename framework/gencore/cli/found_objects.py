"""Says what is to be known of the objects that were found in a core: whether some are missing."""

import click

from gencore._escaping import escape_unprintable
from gencore._overview import WITHOUT_HEAP, about_malloc
from gencore.bundle.manifest import ManifestValue
from gencore.bundle.opened_core import OpenedCore

__all__ = ["heap_missing_in", "other_malloc_in", "print_malloc"]


def heap_missing_in(opened: OpenedCore) -> str | None:
    """Return that a core has little more than stacks, if so."""
    content = ManifestValue(opened.facts())["core"]["content"].text
    if content in WITHOUT_HEAP:
        return f"the core has the content {content}: the heap is missing"
    return None


def other_malloc_in(found: ManifestValue, incomplete: str | None) -> str | None:
    """Return which malloc an answer names whose layout is unknown; None if the core is incomplete.

    There may then be objects of glibc's malloc that are missing.
    """
    return None if incomplete else found["other_malloc"].text


def print_malloc(other_malloc: str | None, consequence: str = "") -> None:
    """Print how the objects of a malloc were found whose layout is unknown, if there was one."""
    if other_malloc is not None:
        note = f"{about_malloc(other_malloc)}{consequence}"
        click.echo(f"gencore: {escape_unprintable(note)}", err=True)
