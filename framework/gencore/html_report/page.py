"""Fills the template: the one place that knows jinja2."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from gencore._overview import Overview, about_malloc, make_overview
from gencore._overview.places import Source
from gencore.bundle.huge_pages import huge_pages_line
from gencore.bundle.manifest import ManifestValue
from gencore.errors import UsageError
from gencore.html_report import wording
from gencore.html_report.growth import read_growth
from gencore.html_report.limits import read_limits
from gencore.html_report.memory_map import Drawing, MemoryMap, draw, read_memory
from gencore.html_report.objects import map_of, uses_of
from gencore.html_report.phases import after_pause, read_pause
from gencore.html_report.shortening import MOST_VALUES, shorten
from gencore.html_report.threads import read_threads, registers_summary

if TYPE_CHECKING:
    import jinja2

__all__ = ["render"]

_TEMPLATES: Final = Path(__file__).with_name("templates")
_WIDE, _NARROW = (800, 420), (328, 560)
"""The treemap is drawn twice: labels that shrink with a drawing cannot be read on a phone."""


def render(
    manifest: Mapping[str, Any],
    lines: Mapping[tuple[str, int], str] = MappingProxyType({}),
    overview: Overview | None = None,
    growth: Mapping[str, Any] | None = None,
    task_tree: Sequence[str] = (),
) -> str:
    """Return the page. Fields that are missing or invalid are shown as unknown.

    *lines* are source lines by file and number, for the frames of the stacks. *overview* is what
    the page begins with; without it, what the manifest alone tells. *growth* is what
    ``gencore diff`` prints as JSON, *task_tree* the lines of ``gencore tasks``. Raises
    `UsageError` if jinja2 is not installed.
    """
    shown, is_cut = shorten(manifest)
    fields = ManifestValue(shown)
    overview = overview or make_overview(shown, None, _finder(lines), "BUNDLE")
    objects = map_of(overview.heap) if overview.heap else None
    threads = read_threads(fields["threads"], lines)
    memory = read_memory(fields["memory"].rows)
    style, script = _read("style.css"), _read("script.js")
    return (
        _environment()
        .get_template("page.html")
        .render(
            m=fields,
            overview=overview,
            growth=read_growth(growth),
            growth_incomplete=ManifestValue(growth)["incomplete"].text,
            malloc=_malloc(overview),
            task_tree=task_tree,
            objects=objects,
            object_drawings=_drawings(objects) if objects else {},
            uses=uses_of(overview.heap) if overview.heap else [],
            most=MOST_VALUES if is_cut else None,
            threads=threads,
            has_sources=any(frame.source for thread in threads for frame in thread.frames),
            registers=registers_summary(threads),
            memory=memory,
            drawings=_drawings(memory),
            limits=read_limits(fields["process"]["limits"]),
            huge_pages=huge_pages_line(shown),
            pause=read_pause(fields["status"]),
            after_pause=after_pause(fields["status"]),
            style=style,
            script=script,
            policy=_policy(style, script),
        )
    )


def _malloc(overview: Overview) -> str | None:
    """Return what is to be known of the objects of another malloc than glibc's."""
    other = overview.heap.other_malloc if overview.heap else None
    return about_malloc(other) if other else None


def _drawings(memory: MemoryMap) -> dict[str, Drawing]:
    return {"wide": draw(memory, *_WIDE), "narrow": draw(memory, *_NARROW)}


def _finder(lines: Mapping[tuple[str, int], str]) -> Source:
    return lambda file, number: lines.get((file, int(number or 0)))


@cache
def _environment() -> "jinja2.Environment":
    try:
        import jinja2
    except ImportError as error:
        raise UsageError(
            "the HTML report needs jinja2, which is not installed",
            remedy="pip install 'gencore[report]'",
        ) from error
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        finalize=wording.shown,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    for word in (wording.count, wording.instant, wording.milliseconds, wording.size):
        environment.filters[word.__name__] = word
    environment.filters["percent"] = wording.percent
    return environment


def _policy(style: str, script: str) -> str:
    """Permit this style and this script, by their hashes, and nothing else."""
    return (
        f"default-src 'none'; style-src {_source(style)}; script-src {_source(script)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _source(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _read(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")
