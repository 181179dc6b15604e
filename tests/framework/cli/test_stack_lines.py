"""How a stack is shown to people."""

import pytest

from gencore.cli.thread_stacks import Frame, ThreadStack, stack_lines


def stack(*frames, incomplete=None):
    """Return a thread with such frames."""
    return ThreadStack(
        tid=7,
        name="one",
        status=None,
        system_call=None,
        interpreter=0,
        has_native=False,
        frames=frames,
        incomplete=incomplete,
    )


def call(line):
    """Return a call of a function at a line."""
    return Frame(
        kind="python",
        function="walk",
        file="/srv/tree.py",
        line=line,
        source_line="walk(node)",
        library=None,
        locals=None,
    )


@pytest.mark.parametrize(
    ("count", "more"), [(2, "1 more time]"), (90_000, "89,999 more times]")], ids=str
)
def test_a_call_that_is_repeated_is_shown_once(count, more):
    """As Python does with deep recursion, and with how often it is."""
    lines = list(stack_lines(stack(call(1), *[call(3)] * count, call(4))))

    assert len(lines) == 1 + 3 * 2 + 1
    assert lines[5] == f"    [the previous frame is repeated {more}"


def test_an_empty_stack_of_an_incomplete_core_is_unknown():
    """It may be missing."""
    assert "is empty" in "".join(stack_lines(stack()))
    assert "is unknown" in "".join(stack_lines(stack(incomplete="the core is truncated")))
