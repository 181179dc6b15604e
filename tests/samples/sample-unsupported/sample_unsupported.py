"""Answers no wherever it is asked."""

from gencore import Backend, Reason, Verdict


class Nowhere(Backend):
    """Takes no core."""

    name = "unsupported"
    priority = 99
    api_version = (1, 0)

    def probe(self, request):  # noqa: ARG002
        return Verdict.no(Reason("this is not the right machine", "buy another one"))

    def snapshot(self, request, output, *, to_file):
        raise NotImplementedError
