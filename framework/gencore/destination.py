"""The contract between the framework and a destination: where artefacts go.

A complete destination::

    class Inbox(Destination):
        name = "inbox"
        api_version = (1, 1)

        def __init__(self, url: str):
            self.url = url

        def open(self, name, size_hint):
            return _Post(f"{self.url}/{name}")

    class _Post(Upload):
        def __init__(self, url):
            self._url, self._body = url, io.BytesIO()

        def write(self, data):
            self._body.write(data)

        def commit(self):
            request = urllib.request.Request(self._url, self._body.getvalue(), method="PUT")
            urllib.request.urlopen(request).close()
            return self._url

        def abort(self):
            self._body.close()

published by its distribution as an entry point in the group ``gencore.destinations`` under the
same name. docs/how-to/write-a-destination.md walks through a working one.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from gencore.report import Removal

__all__ = ["Destination", "Upload"]


class Upload(ABC):
    """One artefact on its way. Ends with `commit` or `abort`, each called once at most.

    A `commit` that raises, or does not return in time, is followed by `abort`.
    """

    @abstractmethod
    def write(self, data: memoryview) -> None:
        """Take all of the next bytes, valid only during the call. They come while they are made.

        What it raises costs the artefact, also if the collector that wrote goes on.
        """

    @abstractmethod
    def commit(self) -> str | Path:
        """Make it appear, whole; return where it is: a URL with its scheme, or a `pathlib.Path`.

        Others can read it there when this returns.

        Called at the end of the dump, when every collector has finished. All commits together have
        what is left of the dump's time limit, ten seconds at least; an hour if it has none.
        """

    @abstractmethod
    def abort(self) -> None:
        """Leave nothing of it: not even what `commit` has left when it raised.

        Called from any thread, also while `write` or `commit` goes on. Has five seconds. Raises
        nothing, and nothing appears later.
        """


class Destination(ABC):
    """Takes the artefacts of one dump. Options are keyword arguments; one object serves one dump.

    Everything is called after the pause, on the threads on which the collectors' own calls are
    made, but for `check` and `check_name`. An exception costs the artefact that was being written.
    """

    name: ClassVar[str]
    """The entry point's name: lower-case letters, digits and hyphens."""
    api_version: ClassVar[tuple[int, int]]
    """The version of this contract that the destination was written for; now (1, 1)."""

    in_process: ClassVar[bool] = False
    """Whether it uses something of the dumped process, such as a descriptor. Dumps are then made
    in that process, and not by a recorder."""

    def check(self) -> None:  # noqa: B027 - nothing to check is the default, not an omission
        """Raise what is wrong with options, credentials, the place. Default: nothing is.

        Called before the pause of each dump, by `Pipeline.check` and by ``gencore doctor``; for
        five seconds at most. What it raises refuses the dump. Must leave nothing behind.
        """

    def check_name(self, dump: str) -> None:  # noqa: B027
        """Raise if a dump of that name is at the place already. Default: nothing.

        Called after `check`, with the name that all artefacts of the dump begin with. What it
        raises refuses the dump.
        """

    @property
    def directory(self) -> Path | None:
        """The directory that artefacts become files of, unless a filter changes them.

        Then the framework writes them, as it does without a destination: checks the free space,
        needs no memory for what is packed, and asks for no `open`. Default: None, each is sent.
        """
        return None

    def make_room(self, names: re.Pattern[str] | None) -> Iterable[Removal]:  # noqa: ARG002
        """Remove what is too much already, before the pause; return it. Default: nothing.

        *names* matches the names of this pipeline's dumps; None if they could be those of anything
        else, and nothing may be removed. Called after `check_name`. What it raises refuses the
        dump; what it only failed to remove is a `Removal` with an error.
        """
        return ()

    def limit(self, dump: str, names: re.Pattern[str] | None) -> Iterable[Removal]:  # noqa: ARG002
        """Remove what is too much now that *dump* is there; return it. Default: nothing.

        Called when all artefacts of the dump have been published, if any has. Must leave these
        alone. What it raises is a warning. As `make_room` otherwise.
        """
        return ()

    @abstractmethod
    def open(self, name: str, size_hint: int | None) -> Upload:
        """Begin an artefact. Must not replace one of that name, at the latest in `Upload.commit`.

        *name* is that of a file: the dump's name, the artefact's, and the suffixes of filters.
        *size_hint* is about how many bytes it will have; None if nobody knows.
        """
