"""Writes an instant as text, in the one form that manifests, reports and commands have."""

from datetime import UTC, datetime

__all__ = ["rfc3339"]


def rfc3339(instant: datetime) -> str:
    """Return it in UTC, always with microseconds, so that texts sort as instants do."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
