"""Triggers as values: what they accept, and what they say of the rest."""

import signal

import pytest

import gencore
from gencore.cli.fitting import content_for
from gencore.triggers import Fired


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
        ("threads=500,interval=0min", ("threads", 500, 0, 0, 3)),
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
        ("cpu=0%", "share of one CPU"),
        ("memory=100.04%", "share of the limit"),
        ("threads=1000000000000", "whole number"),
        ("threads=٨٠", "whole number"),
        ("gil=20000w", "longer than 100 years"),
        ("memory=80%,hold=20000w", "longer than 100 years"),
        ("memory=80%,count=99999999999", "whole number"),
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


@pytest.mark.parametrize("on", [["memory"], {}, None, 5])
def test_a_kind_of_another_type_is_an_error_of_use(on):
    """It is the same error as that of an unknown name."""
    with pytest.raises(gencore.UsageError, match="is not one of memory"):
        gencore.Trigger(on, "80%")


@pytest.mark.parametrize("said", ["", "memory-share", "memory-share 1", "disk 1 2", "gil 1 x"])
def test_nonsense_is_not_taken_for_a_trigger_that_fired(said):
    """Whoever passes the option by hand gets an error of use."""
    with pytest.raises(gencore.UsageError, match="is not what an agent says"):
        Fired.read(said)


@pytest.mark.parametrize(
    ("free", "copied", "content"),
    [(500, 400, "full"), (400, 400, "full"), (399, 400, "private"), (10, 400, "private")],
)
def test_less_is_dumped_where_memory_is_short(free, copied, content):
    """Less than what a clone may copy at worst."""
    assert content_for(free << 20, copied << 20)[0] == content


def test_the_reason_says_that_stacks_would_be_next():
    """The agent cannot find them without the GIL."""
    assert "stacks" in content_for(10 << 20, 400 << 20)[1]
