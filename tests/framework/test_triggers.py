"""Triggers as values: what they accept, and what they say of the rest."""

import os
import signal
import subprocess
import sys

import pytest

import gencore
from gencore._settings.sources import resolve_settings
from gencore._triggers.choices import triggers_chosen, triggers_of_settings
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
        ("memory=much", "invalid size"),
        ("gil=0.5s", "less than a second"),
        ("gil=10 minutes", "invalid duration"),
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


@pytest.fixture
def file(tmp_path):
    """Return a function that sets GENCORE_CONFIG to a file, and returns the environment."""

    def write(text):
        path = tmp_path / "gencore.toml"
        path.write_text(text)
        return {"GENCORE_CONFIG": str(path)}

    return write


FILE = """
triggers = ["memory=80%,hold=5s", { on = "threads", above = 500, interval = "1h", count = 1 }]
directory = "/var/dumps"
"""
OF_FILE = [
    gencore.Trigger("memory", "80%", hold=5),
    gencore.Trigger("threads", 500, interval=3600, count=1),
]


def test_the_file_has_triggers_as_text_and_as_tables(file):
    """Beside the options of a pipeline, which takes no notice of them."""
    environ = file(FILE)

    assert triggers_of_settings(environ) == OF_FILE
    assert resolve_settings({}, environ).directory == "/var/dumps"


def test_the_environment_goes_before_the_file(file):
    """And takes the place of all its triggers."""
    environ = file(FILE) | {"GENCORE_TRIGGERS": "gil=10s;"}

    assert triggers_of_settings(environ) == [gencore.Trigger("gil", "10s")]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("5", "triggers=5: expected a list"),
        ("'memory=80%'", "triggers='memory=80%': expected a list"),
        ("[1]", "triggers[0]=1: expected text or a table"),
        ("['gil=5s', 'memory=180%']", "triggers[1]: '180%' is not a share of the limit"),
        ("[{ above = '80%' }]", "triggers[0].on is missing"),
        ("[{ on = 'disk', above = '80%' }]", "triggers[0].on: on='disk' is not one of memory"),
        ("[{ on = 'memory' }]", "triggers[0].above: the trigger on 'memory' has no threshold"),
        ("[{ on = 'memory', above = [] }]", "triggers[0].above: invalid size: []"),
        ("[{ on = 'gil', above = 5, hold = 'x' }]", "triggers[0].hold: invalid duration: 'x'"),
        ("[{ on = 'gil', above = 5, count = true }]", "triggers[0].count: count=True is not"),
        ("[{ on = 'gil', abov = 5 }]", "unknown key 'abov' of triggers[0]: expected one of on"),
        ("['signal=SIGRTMIN', 'signal=SIGRTMIN+0']", "two triggers for the same signal"),
        (f"{['gil=5s'] * 33}", "33 triggers: expected 32 at most"),
    ],
)
def test_a_wrong_value_of_the_file_is_named_with_its_place(file, text, says):
    """To whoever arms, and to whoever uses the file for anything else."""
    environ = file(f"triggers = {text}")
    for read in (lambda: triggers_of_settings(environ), lambda: resolve_settings({}, environ)):
        with pytest.raises(gencore.UsageError) as raised:
            read()
        assert f"GENCORE_CONFIG={environ['GENCORE_CONFIG']}: " in raised.value.message
        assert says in raised.value.message


@pytest.mark.parametrize("given", [5, "memory=80%", [5], ["gil=5s"] * 33])
def test_code_that_gives_no_triggers_gets_an_error_of_use(given):
    """A text is one trigger, and no list of them."""
    with pytest.raises(gencore.UsageError):
        triggers_chosen(given)


def test_the_command_says_what_is_wrong_with_the_file_before_it_starts_anything(file):
    """Or else each process would say it, and run without triggers."""
    environ = file("triggers = [{ on = 'gil', above = 'x' }]")

    done = subprocess.run(
        [sys.executable, "-m", "gencore", "exec", "--", "echo", "started"],
        check=False,
        env=os.environ | environ,
        capture_output=True,
        text=True,
    )

    assert done.returncode == gencore.ExitCode.USAGE
    assert "triggers[0].above: invalid duration: 'x'" in done.stderr
    assert done.stdout == ""


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
