"""Where the sockets of agents are: on both sides, without looking at the environment."""

from collections.abc import Iterator

__all__ = ["directories_of"]


def directories_of(user: int) -> Iterator[str]:
    """Yield where the sockets of a user's processes may be, the best place first."""
    yield f"/run/user/{user}/gencore"
    yield f"/tmp/gencore-{user}"  # noqa: S108 - 0700, and its owner is checked
