"""Reads a bundle from its first byte to its last, as tar would."""

from collections.abc import Callable, Iterator

from gencore.bundle.contents import Member
from gencore.bundle.reader import BundleReader
from gencore.bundle.stream import check_header, expect_end, expect_zeros, stream_of_archive
from gencore.bundle.streamed_member import StreamedMember
from gencore.bundle.tar_header import BLOCK
from gencore.errors import IntegrityError

__all__ = ["walk"]


def walk(
    bundle: BundleReader, progress: Callable[[int], object], *, hashed: bool = True
) -> Iterator[tuple[Member, StreamedMember]]:
    """Yield each member with its bytes, to be read before the next one is asked for.

    Raises `IntegrityError` unless the archive consists of exactly the members in the table of
    contents, in that order, each where the table says, with nothing between them or behind them.
    Unless *hashed*, no hash of any is computed; the check sums that gzip and zstd have always are.
    """
    stream = stream_of_archive(bundle.file, bundle.contents, hashed=hashed)
    for member in bundle.members:
        if not stream.begins_member_at(member.offset):
            raise IntegrityError(
                f"the table of contents has {member.path!r} at {member.offset:,}, where the "
                "archive has none"
            )
        check_header(stream, bundle.top, member)
        content = StreamedMember(stream, member, progress, hashed=hashed)
        yield member, content
        content.skip()
        expect_zeros(stream, -member.size % BLOCK)
    expect_zeros(stream, 2 * BLOCK)
    expect_end(stream)
