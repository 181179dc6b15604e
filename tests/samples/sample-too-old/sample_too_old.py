"""Was written for an older contract."""

from gencore import Collector


class TooOld(Collector):
    """Makes nothing."""

    name = "too-old"
    api_version = (0, 9)

    def finish(self, dump):  # noqa: ARG002
        return []
