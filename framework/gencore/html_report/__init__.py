"""Renders what was read of a bundle as one self-contained HTML page.

Everything in a manifest is treated as hostile, and any field may be missing:
``bundle/manifest.py`` reads it, ``wording`` makes it safe to display, one module prepares each
drawing or list, and ``page`` fills the template. The page's Content-Security-Policy permits its
own style and script, by their hashes, and nothing else.
"""

from gencore.html_report.page import render

__all__ = ["render"]
