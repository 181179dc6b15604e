"""What a shell offers for the word that is being typed: plug-ins, cores, armed processes."""

import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import click

from gencore.errors import GencoreError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from gencore._plugins.entry import Family

__all__ = ["BundlePath", "armed", "plugins"]

_CORE: Final = re.compile(r".*\.tar\.(gz|zst)|core\b.*|.*\.core(\.\w+)?", re.DOTALL)
"""Names that bundles and cores have."""
Completion = Callable[[click.Context, click.Parameter, str], list["CompletionItem"]]


def plugins(*families: "Family") -> Completion:
    """Return what offers the installed plug-ins of these families, of all if none is given."""

    def offer(_: click.Context, __: click.Parameter, incomplete: str) -> list["CompletionItem"]:
        from click.shell_completion import CompletionItem

        from gencore._plugins.catalogue import read_catalogue

        return [
            CompletionItem(entry.name, help=f"{entry.family} of {entry.distribution}")
            for entry in read_catalogue()
            if entry.name.startswith(incomplete) and (not families or entry.family in families)
        ]

    return offer


class BundlePath(click.Path):
    """The path of a bundle or core: these are offered where there are any, or else all files."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list["CompletionItem"]:
        """Offer what begins so in its folder."""
        from click.shell_completion import CompletionItem

        folder, begin = os.path.split(incomplete)
        try:
            names = sorted(os.listdir(folder or "."))
        except OSError:
            names = []
        found = [n for n in names if n.startswith(begin) and _CORE.fullmatch(n)]
        offered = [CompletionItem(os.path.join(folder, name)) for name in found]  # noqa: PTH118 - pathlib drops what was typed
        return offered or super().shell_complete(ctx, param, incomplete)


def armed(_: click.Context, __: click.Parameter, incomplete: str) -> list["CompletionItem"]:
    """Offer the IDs of armed processes, with their command lines."""
    from click.shell_completion import CompletionItem

    from gencore.arming import armed_processes

    try:
        found = list(armed_processes())
    except GencoreError:
        return []
    return [
        CompletionItem(str(process.pid), help=" ".join(process.argv) or process.name)
        for process in found
        if str(process.pid).startswith(incomplete) and not process.hidden
    ]
