"""The collector ``manifest``: what the dump is, where it came from, and what its process did.

`collector` puts the sections together, one module fills each of them, and `encoding` writes the
JSON. `schema.json` is the published schema.
"""

from gencore_collectors.manifest.collector import ManifestCollector

__all__ = ["ManifestCollector"]
