"""Makes what is needed next in another thread, while this one works on what it has."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["ahead"]

_Item = TypeVar("_Item")


def ahead(items: Iterable[_Item]) -> Iterator[_Item]:
    """Yield *items*, none of which is None; another thread makes the next one meanwhile.

    Its errors are raised here. That pays if both threads are mostly in C without the GIL, and an
    item takes them milliseconds.
    """
    iterator = iter(items)
    with ThreadPoolExecutor(1) as other:
        following = other.submit(next, iterator, None)
        while (item := following.result()) is not None:
            following = other.submit(next, iterator, None)
            yield item
