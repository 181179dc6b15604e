"""The collectors of this distribution pass the suite that we publish for everybody's."""

import pytest

from gencore.testing import CollectorContract
from gencore_collectors.archive import ArchiveCollector, ZstdArchiveCollector
from gencore_collectors.manifest import ManifestCollector
from gencore_collectors.raw import RawCollector


class TestRaw(CollectorContract):
    @pytest.fixture
    def collector(self):
        return RawCollector


class TestArchive(CollectorContract):
    @pytest.fixture
    def collector(self):
        return ArchiveCollector


class TestZstdArchive(CollectorContract):
    @pytest.fixture
    def collector(self):
        return ZstdArchiveCollector


class TestManifest(CollectorContract):
    @pytest.fixture
    def collector(self):
        return ManifestCollector
