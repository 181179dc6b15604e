"""The destinations of this distribution pass the suite that we publish for everybody's."""

import functools
import os
from types import MappingProxyType

import pytest

from gencore.testing import DestinationContract
from gencore_collectors.destinations.descriptor import DescriptorDestination
from gencore_collectors.destinations.directory import DirectoryDestination

AT_ONCE = "a pipe passes on what it is given, at once: its reader sees an end that came too early"


class TestDirectory(DestinationContract):
    @pytest.fixture
    def destination(self, tmp_path):
        self.place = tmp_path / "place"
        self.place.mkdir()
        return functools.partial(DirectoryDestination, self.place)

    def names(self):
        return [name for name in os.listdir(self.place) if not name.endswith(".part")]


class TestDescriptor(DestinationContract):
    """Its file stands for a pipe, which has neither names nor a way to take bytes back."""

    known_failures = MappingProxyType(
        {
            "test_abort_leaves_nothing": AT_ONCE,
            "test_a_dump_that_is_given_up_leaves_nothing": AT_ONCE,
            "test_nothing_appears_before_commit": AT_ONCE,
            "test_a_name_is_never_replaced": "a pipe has no names: the second artefact follows",
            "test_two_uploads_do_not_mix": "it takes one artefact, and refuses the second",
        }
    )

    @pytest.fixture
    def destination(self, tmp_path):
        self.path = tmp_path / "pipe"
        with self.path.open("wb") as file:
            yield functools.partial(DescriptorDestination, file)

    def read(self, location):
        assert location.startswith("fd:")
        return self.path.read_bytes()

    def names(self):
        return {"pipe"} if self.path.stat().st_size else set()
