"""The bundle format: writes bundles, and reads untrusted ones.

`BundleWriter` packs. `BundleReader` opens single members, `extract` unpacks, and `verify` checks
a whole bundle. `open_core` opens a bundle, an extracted one, or a core alone. Each name is loaded
on first use: a process that is dumped needs only the writer.

Inside, reader and writer share the format: ``contents`` is the table of contents, ``codecs`` what
compresses, ``stream`` the bytes and tar headers, ``manifest`` parses untrusted manifests.
``cache`` keeps the unpacked copies that debuggers work on, and ``packed_files`` the libraries that
the next dump need not compress.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from gencore.bundle.codecs import GZIP, ZSTD, Codec
    from gencore.bundle.contents import Member
    from gencore.bundle.extraction import extract
    from gencore.bundle.opened_core import FileOrigin, LooseFile, OpenedCore
    from gencore.bundle.opening import open_core
    from gencore.bundle.packed_file import PackedFile, Packer
    from gencore.bundle.packed_files import PackedFiles
    from gencore.bundle.places import Places
    from gencore.bundle.reader import BundleReader, MemberFile
    from gencore.bundle.verification import Check, verify
    from gencore.bundle.writer import BundleWriter

__all__ = [
    "GZIP",
    "ZSTD",
    "BundleReader",
    "BundleWriter",
    "Check",
    "Codec",
    "FileOrigin",
    "LooseFile",
    "Member",
    "MemberFile",
    "OpenedCore",
    "PackedFile",
    "PackedFiles",
    "Packer",
    "Places",
    "extract",
    "open_core",
    "verify",
]

_MODULES: Final = {
    "GZIP": "codecs",
    "ZSTD": "codecs",
    "BundleReader": "reader",
    "BundleWriter": "writer",
    "Check": "verification",
    "Codec": "codecs",
    "FileOrigin": "opened_core",
    "LooseFile": "opened_core",
    "Member": "contents",
    "MemberFile": "reader",
    "OpenedCore": "opened_core",
    "PackedFile": "packed_file",
    "PackedFiles": "packed_files",
    "Packer": "packed_file",
    "Places": "places",
    "extract": "extraction",
    "open_core": "opening",
    "verify": "verification",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'gencore.bundle' has no attribute {name!r}")
    return getattr(import_module(f"gencore.bundle.{_MODULES[name]}"), name)
