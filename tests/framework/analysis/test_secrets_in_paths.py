"""Which segments of a request's path are not shown."""

import pytest

from gencore.analysis.threads.requests import _without_secret


@pytest.mark.parametrize(
    ("segment", "shown"),
    [
        ("orders", True),
        ("42", True),
        ("a-very-long-word-of-an-article", True),
        ("7f3b2a9c4d5e6f708192a3b4", False),
        ("01936b6e-0000-7000-8000-000000000000", False),
        ("jane@example.org", False),
        ("token=abc", False),
        ("reset:abc", False),
    ],
)
def test_what_looks_like_a_secret_is_redacted(segment, shown):
    """Tokens and IDs, addresses, and values with their names."""
    assert _without_secret(segment) == (segment if shown else "[redacted]")
