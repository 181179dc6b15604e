"""A manifest as one HTML page that needs no other file and no network.

Everything in a manifest is taken for hostile text, and nothing in it is expected to be there:
``bundle/manifest.py`` reads it, ``wording`` makes it safe to look at, one module prepares each
drawing or list, and ``page`` fills the template. The page's Content-Security-Policy permits its
own style and script, by their hashes, and nothing else.
"""

from gencore.html_report.page import render

__all__ = ["render"]
