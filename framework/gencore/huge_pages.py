"""What came of collapsing a process's memory into huge pages, for a shorter pause."""

import attrs

__all__ = ["HugePages"]


@attrs.frozen(kw_only=True)
class HugePages:
    """The outcome. Sizes are in bytes."""

    collapsed: int
    """What was collapsed."""
    already: int
    """What was in huge pages before."""
    small: int
    """The private memory that is still in small pages."""
    shared: int
    """What of it was passed over: a forked process has the same pages, and they would be copied.
    Memory that was read and never written counts too."""
    steps: int
    """Of at most 4 MiB each."""
    longest_step: float
    """Seconds. For about so long, other threads have waited for memory."""
    seconds: float
    """All of it."""
    stopped: str | None = None
    """Why nothing was collapsed, or not all; None if all was that can be."""

    def __str__(self) -> str:
        """Return it in one line, for logs and warnings."""
        done = f"{self.collapsed / 2**20:,.0f} MiB collapsed in {self.seconds:.2f} s"
        return done if self.stopped is None else f"{done}, then stopped: {self.stopped}"
