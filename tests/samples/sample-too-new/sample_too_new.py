"""Was written for a later contract."""

from gencore import Collector


class TooNew(Collector):
    """Makes nothing."""

    name = "too-new"
    api_version = (2, 0)

    def finish(self, dump):  # noqa: ARG002
        return []
