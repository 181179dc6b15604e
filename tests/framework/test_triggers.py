"""Triggers as values: what they accept, and what they say of the rest."""

import signal

import pytest

import gencore
from gencore.cli.fitting import content_for


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("memory=80%", ("memory-share", 800, 0, 600 * 10**9, 3)),
        ("memory=2 GiB,hold=5s", ("memory-size", 2 << 30, 5 * 10**9, 600 * 10**9, 3)),
        ("gil=10s,interval=1h,count=1", ("gil", 10**10, 0, 3600 * 10**9, 1)),
        ("loop=5,interval=0", ("loop", 5 * 10**9, 0, 0, 3)),
        ("signal=SIGRTMIN+5", ("signal", signal.SIGRTMIN + 5, 0, 600 * 10**9, 3)),
        ("exception", ("exception", 0, 0, 600 * 10**9, 3)),
        ("cpu=350%", ("cpu", 3500, 0, 600 * 10**9, 3)),
        ("threads=500", ("threads", 500, 0, 600 * 10**9, 3)),
    ],
)
def test_text_becomes_what_the_agent_takes(text, row):
    """In its units."""
    assert gencore.Trigger.read(text).row == row


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("memory", "no threshold"),
        ("memory=180%", "share of the limit"),
        ("memory=much", "not a size"),
        ("gil=0.5s", "less than a second"),
        ("gil=10 minutes", "not an age"),
        ("signal=SIGUSR1", "not a real-time signal"),
        ("signal=SIGRTMIN+99", "not a real-time signal"),
        ("signal=SIGRTMIN,hold=5s", "takes no hold"),
        ("exception=ValueError", "takes no threshold"),
        ("cpu=3", "share of one CPU"),
        ("threads=0", "whole number"),
        ("disk=80%", "not one of memory"),
        ("memory=80%,often=1", "'often=1' is unknown"),
        ("memory=80%,count=0", "whole number"),
    ],
)
def test_what_is_wrong_is_named(text, says):
    """As an error of use."""
    with pytest.raises(gencore.UsageError, match=says):
        gencore.Trigger.read(text)


@pytest.mark.parametrize(
    ("free", "least", "content"),
    [
        (500, "stacks", "full"),
        (400, "stacks", "full"),
        (399, "stacks", "private"),
        (50, "stacks", "private"),
        (49, "stacks", "stacks"),
        (49, "private", "private"),
    ],
)
def test_less_is_dumped_where_memory_is_short(free, least, content):
    """Less than what a clone of 400 MiB may copy at worst, and no less than the backend can do."""
    chosen, why = content_for(free << 20, 400 << 20, least)

    assert chosen == content
    assert why == (
        ""
        if content == "full"
        else f"content {content}: {free} MiB are free for 400 MiB of a clone"
    )
