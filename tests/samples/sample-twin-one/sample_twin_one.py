"""Claims the name that sample-twin-two claims too."""

from gencore import Collector


class Twin(Collector):
    """Says which of the two it is."""

    name = "twin"
    api_version = (1, 0)

    def finish(self, dump):
        with dump.create("twin.txt") as file:
            file.write(b"one")
        yield file.artifact()
