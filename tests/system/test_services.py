"""Services as people run them: dumped from outside while they serve, and when one hangs."""

import http.client
import itertools
import json
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from running_services import BIN, COMMANDS, Load, Service, wait_for

import gencore

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="agents are Linux's"),
    pytest.mark.timeout(300),
]
DUMPS = 6
QUICK = ("gunicorn sync", "script")
"""Those that `make test` starts: one with workers, and one alone."""
KINDS = [
    pytest.param(kind, marks=() if kind in QUICK else pytest.mark.exhaustive) for kind in COMMANDS
]
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "arm-servers-and-workers.md"


@pytest.fixture
def service(tmp_path):
    """Return a function that starts a service in a directory, and waits until it answers."""
    started = []

    def start(command, directory=tmp_path / "service"):
        started.append(Service(command, directory))
        wait_for(started[-1].answers)
        return started[-1]

    yield start
    for each in started:
        each.close()


def save_from_the_page(name, directory, **replaced):
    """Save the file that the documentation shows, with other words where tests need them."""
    text = re.search(rf"`{name}`:\n\n```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]
    for word, other in replaced.items():
        assert word in text
        text = text.replace(word, other)
    (directory / name).write_text(text)


def output_of(*command):
    command = [BIN / command[0], *map(str, command[1:])]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout


def ask_in_vain(client, word):
    """Ask a service that will be killed; a client notices that in one of several ways."""
    with pytest.raises((OSError, http.client.HTTPException)):
        client.ask(word)


@pytest.mark.parametrize(
    "kind",
    [pytest.param(k, marks=() if k == "script" else pytest.mark.exhaustive) for k in COMMANDS],
)
def test_a_service_under_load_answers_while_it_is_dumped(service, tmp_path, kind):
    """All its processes in turn, six dumps in all: each is complete, and no answer is missing."""
    running = service(COMMANDS[kind])
    armed = running.armed
    options = {"directory": tmp_path, "collectors": ["raw"], "name": "{id}"}
    pipelines = [gencore.Pipeline(target=pid, **options) for pid in armed]

    with Load(running) as load:
        for pipeline in itertools.islice(itertools.cycle(pipelines), DUMPS):
            report = pipeline.run()
            assert report.result == "complete", report.problems
            report.path_of("raw").unlink()
            load.wait_for_another()

    assert len(armed) > 0
    assert running.armed == armed


@pytest.mark.parametrize("kind", KINDS)
def test_the_stacks_of_a_service_show_the_function_it_is_in(service, tmp_path, tool, kind):
    """In the process that has the request, which is answered although it was dumped meanwhile."""
    running = service(COMMANDS[kind])
    answers = []
    asking = threading.Thread(target=lambda: answers.append(running.client.ask("hold")))
    asking.start()
    held = running.directory / "held"
    wait_for(held.exists)

    dumped = output_of(
        "gencore", "dump", held.read_text(), "-o", tmp_path, "--collector", "raw", "--json"
    )
    (running.directory / "released").touch()
    asking.join()

    (report,) = json.loads(dumped)["dumps"]
    assert report["result"] == "complete"
    core = report["artifacts"][0]["path"]
    stacks = output_of(tool("pystack"), "core", core, sys.executable)
    assert re.search(r'service\.py", line \d+, in answer', stacks)
    assert answers == ["hold"]


def test_a_worker_that_hangs_in_c_is_dumped_from_outside(service, tmp_path):
    """Its GIL never comes back: the stacks show where it is."""
    running = service(f"{COMMANDS['gunicorn sync']} --timeout 0")
    asking = threading.Thread(target=ask_in_vain, args=(running.client, "backtrack"))
    asking.start()
    held = running.directory / "held"
    wait_for(held.exists)

    bundle = output_of("gencore", "dump", held.read_text(), "-o", tmp_path).strip()

    running.close()
    asking.join()
    stacks = output_of("gencore", "stacks", bundle)
    assert re.search(r'service\.py", line \d+, in answer', stacks)
    assert "in match" in stacks


@pytest.mark.parametrize("word", ["backtrack", pytest.param("hold", marks=pytest.mark.exhaustive)])
def test_a_worker_that_gunicorn_kills_has_left_a_whole_bundle(service, tmp_path, word):
    """As the documentation configures it; whether the worker hangs in C or still runs Python."""
    directory, dumps = tmp_path / "service", tmp_path / "dumps"
    directory.mkdir()
    dumps.mkdir()
    save_from_the_page("gunicorn.conf.py", directory, **{"timeout = 30": "timeout = 3"})
    save_from_the_page("dump_workers.py", directory, **{"/var/dumps": str(dumps)})
    running = service(COMMANDS["gunicorn sync"], directory)
    wait_for(lambda: "can be dumped" in running.log)

    ask_in_vain(running.client, word)
    wait_for(lambda: ": complete" in running.log and "was sent SIGKILL" in running.log)

    (bundle,) = dumps.iterdir()
    output_of("gencore", "verify", bundle)
    assert re.search(r'service\.py", line \d+, in answer', output_of("gencore", "stacks", bundle))
