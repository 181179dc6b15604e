"""The steps at which a core can fail, as `gencore.CoreFailed` names them; the docs print them."""

from typing import Final, NamedTuple

from gencore_backends.linux import _native

__all__ = ["STEPS", "Step"]


class Step(NamedTuple):
    """One of them."""

    name: str
    where: str
    """In the ``service``, in its ``clone``, or in the ``kernel``."""
    failed: str
    """What failed there, in Markdown."""


STEPS: Final = (
    *(Step(*row) for row in _native.STEPS),
    Step("kernel-dump", "kernel", "the clone died, and the kernel wrote no core or a part of it"),
    Step("find-core", "service", "finding the core at the path given by `kernel.core_pattern`"),
    Step(
        "wait", "service", "other code reaped the clone before it was done: the cause is unknown"
    ),
)
