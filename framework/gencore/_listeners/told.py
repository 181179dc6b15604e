"""Who is told of a dump: log records and spans, and what the application listens with."""

from collections.abc import Sequence

from gencore._listeners.announcer import Announcer
from gencore._listeners.log_records import write_record
from gencore._listeners.spans import span_listener
from gencore.events import Listener

__all__ = ["announcers_for"]


def announcers_for(dump: str, listeners: Sequence[Listener]) -> list[Announcer]:
    """Return the announcers of one dump: what the caller listens with can hold up nothing else.

    To be called on the thread that requests the dump.
    """
    spans = span_listener()
    ours = [write_record] if spans is None else [write_record, spans]
    return [Announcer(dump, ours), *(Announcer(dump, [listener]) for listener in listeners)]
