"""The collector ``manifest``: what the dump is, where it came from, and what its process did.

`collector` writes it; `process`, `host` and `runtime` each fill their sections; `schema.json` is
the published schema.
"""

from gencore_collectors.manifest.collector import ManifestCollector

__all__ = ["ManifestCollector"]
