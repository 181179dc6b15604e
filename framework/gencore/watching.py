"""Watches an asyncio event loop, so that a trigger can fire when it does not turn."""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Self

from gencore._runtime.platform_agent import agent
from gencore._triggers import exceptions
from gencore._triggers.heartbeat import PERIOD
from gencore.errors import Refused

if TYPE_CHECKING:
    import asyncio  # whoever has a loop has loaded it, and others do without

__all__ = ["Watch", "watch"]


class Watch(AbstractContextManager["Watch"]):
    """Beats in an event loop once a second, until it or the loop is closed. See `watch`."""

    def __init__(self, loop: "asyncio.AbstractEventLoop") -> None:
        self._agent = agent()
        self._beat = self._agent.new_beat()
        self._loop = loop
        self._closed = False
        loop.call_soon_threadsafe(self._turn)

    def _turn(self) -> None:
        if not self._closed:
            self._agent.beat(self._beat, PERIOD)
            self._loop.call_later(PERIOD, self._turn)

    def close(self) -> None:
        """Stop watching. May be called again."""
        if not self._closed:
            self._closed = True
            self._agent.suspend_beat(self._beat, True)  # noqa: FBT003 - native functions take no keywords

    def __exit__(self, *_: object) -> None:
        """Stop watching."""
        self.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __del__(self) -> None:
        """Stop watching: a loop that is closed has let go of its calls, and so of this."""
        if "_closed" in vars(self):
            self.close()


def watch(loop: "asyncio.AbstractEventLoop") -> Watch:
    """Watch an event loop for the trigger ``loop``, and its exceptions for ``exception``.

    Call it when the loop is made, from any thread. It is watched from its first turn until it is
    closed; if it stops earlier and is to run again, close what this returns in between. The
    loop's exception handler is wrapped.

    Raises `Unsupported` where there is no agent, and `Refused` if too many loops are watched.
    """
    try:
        watched = Watch(loop)
    except OSError as error:
        raise Refused("too many event loops are watched: 63 at most") from error
    _wrap_handler(loop)
    return watched


def _wrap_handler(loop: "asyncio.AbstractEventLoop") -> None:
    before = loop.get_exception_handler()

    def handle(loop: "asyncio.AbstractEventLoop", context: dict[str, Any]) -> None:
        if (error := context.get("exception")) is not None:
            exceptions.ask(error)
        if before is None:
            loop.default_exception_handler(context)
        else:
            before(loop, context)

    loop.set_exception_handler(handle)
