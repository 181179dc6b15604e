"""Builds the documentation with Sphinx: the pages as they are, and the reference from the code."""

import builtins
import re
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.ext.napoleon import GoogleDocstring

import gencore

project = "gencore"
author = "the gencore contributors"
project_copyright = author
release = version = gencore.__version__

sys.path.insert(0, str(Path(__file__).parent))  # tables.py
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx_click",
    "stevedore.sphinxext",
    "tables",
]
exclude_patterns = ["README.md", "changes"]  # index.md includes the former

html_theme = "furo"
html_title = f"gencore {release}"
html_static_path = ["_static"]
html_css_files = ["narrow.css"]

myst_heading_anchors = 3  # links to sections, as on the pages of a repository
default_role = "any"  # `name` in a docstring is an object
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "undoc-members": True}
autodoc_typehints_format = "short"

nitpicky = True  # every name in a docstring or annotation leads to where it is documented
_OTHERS = (*sys.stdlib_module_names, *dir(builtins), "isal", "_pytest", "ReadableBuffer")
nitpick_ignore = [
    ("py:class", "gencore._settings.options.Options"),  # the docstring of Pipeline has them
    ("py:class", "gencore._overview.overview.Overview"),  # what a caller has no need to look into
]
nitpick_ignore_regex = [("any|py:.*", rf"({'|'.join(map(re.escape, _OTHERS))})(\..*)?(\(\))?")]


def read_sections(_app: Sphinx, what: str, *about: Any) -> None:
    """Read "Args:" where it can be; Napoleon takes the "A: b" of other docstrings for a type."""
    *_, lines = about
    if what in {"class", "function", "method"}:
        lines[:] = GoogleDocstring(lines).lines()


def setup(app: Sphinx) -> None:
    """Connect the function above."""
    app.connect("autodoc-process-docstring", read_sections)
