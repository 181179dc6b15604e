"""The examples of README.md and docs/ do what the pages say, in the order of the page."""

import doctest
import json
import os
import re
import shutil
import socketserver
import subprocess
import sys
import threading
import tomllib
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

import pytest
from markdown_it import MarkdownIt
from running_services import free_port
from terminal_picture import draw

import gencore

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
NOT_EXAMPLES = {"decisions", "changes"}
NOT_RUN = {
    "make demo": "sets up a .venv beside this one; the tests of the command line run the demo",
    "make test": "this is it",
    "make bench": "needs a checkout, and long; test_bench.py runs its scripts in small",
    "pytest tests": "tests/system/test_plugins_installed.py runs the suites of the examples",
    "gencore: writing the core": "what make demo printed once",
    "kubectl exec": "needs a cluster; test_pod.py and test_sidecar.py do the same without one",
    "kubectl apply": "needs a cluster; pod.yaml is checked by its schema",
    "systemctl": "needs a systemd that runs; the unit is checked by systemd-analyze",
    "gencore dump $(systemctl": "the same",
    "sudo gencore dump --ptrace 4711": "there is no such process; tests/system/test_ptrace.py",
    "gencore dump 4711 -o": "there is no such process; its how-to page has one",
    "gencore exec -- gunicorn app:app": "there is no such app; the page on servers has one",
    "gencore exec -- gunicorn --workers 4 app:app": "the same",
    "gencore exec --trigger memory=80% --trigger gil": "goes on for ever; test_triggers.py",
    "GENCORE_CONFIG=/etc/orders/gencore.toml gencore doctor": "needs that file; test_doctor.py",
    "gencore doctor --pid 4711": "there is no such process; tests/framework/cli/test_doctor.py",
    "python -m tests.fuzzing": "needs a checkout; tests/fuzzing/test_fuzzing.py",
    "/usr/libexec/PlistBuddy": "is a program of macOS",
    "codesign": "is a program of macOS",
    "pip install 'gencore[": "is installed already",
    "gencore open BUNDLE -- -ex 'source": "few interpreters have CPython's helper for gdb",
}
"""How a block or a command begins that no test runs, and why."""
SHOWN = {"text", "toml", "yaml", "ini"}
"""Kinds of blocks that only show something, unless the page names a file for them."""
KUBERNETES = "1.33"
"""The version whose schemas manifests must fulfil."""
VALIDATE = """
import kubernetes_validate, sys, yaml
with open(sys.argv[1]) as file:
    kubernetes_validate.validate(yaml.safe_load(file), sys.argv[2], strict=True)
"""


PICTURES = {
    "docs/tutorials/from-a-dump-to-the-line.md": {
        "why-hang.svg": "gencore why hang",
        "why-growth.svg": "gencore why after",
    }
}
"""By page: its pictures, and how the command begins whose output each shows."""
KEEP_PICTURES = "GENCORE_PICTURES"
"""The variable that has the tests write them anew."""


class Block(NamedTuple):
    """A block of code of a page."""

    line: int
    kind: str
    """The fence's language; empty for an indented block, whose lines are commands."""
    file: str | None
    """The name under which the page says to save it."""
    text: str


def blocks(page):
    """Return the blocks of a page, but for the directives that Sphinx runs."""
    tokens = MarkdownIt().parse(page.read_text())
    code = [(i, t) for i, t in enumerate(tokens) if t.type in {"fence", "code_block"}]
    return [
        Block(token.map[0] + 1, token.info, file_named_by(tokens[i - 2].content), token.content)
        for i, token in code
        if not token.info.startswith("{")
    ]


def file_named_by(sentence):
    """Return the name in a paragraph that ends in "`NAME.py`:"."""
    named = re.search(r"`([\w.-]+\.\w+)`:$", sentence)
    return named and named[1]


def commands(block):
    """Return each command of a block with the output that is shown for it, or None."""
    if block.kind != "console":
        return [(line, None) for line in block.text.splitlines() if line]
    prompts = re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]
    return [(line, shown or None) for line, _, shown in (p.partition("\n") for p in prompts)]


def is_not_run(text):
    return any(text.startswith(beginning) for beginning in NOT_RUN)


PAGES = {
    str(page.relative_to(ROOT)): page
    for page in (ROOT / "README.md", *sorted(DOCS.rglob("*.md")))
    if blocks(page) and not NOT_EXAMPLES.intersection(page.relative_to(ROOT).parts)
}


def page_to_do(name):
    """Return the parameter for a page: `make test` does what a newcomer reads first."""
    return pytest.param(name, marks=() if name == "README.md" else pytest.mark.exhaustive)


class Reader:
    """Does what one page says, in a directory of its own, or a copy of the package it is of."""

    def __init__(self, page, directory, bundle, listener):
        self.page = page
        self.here = self.directory = directory / "here"
        self.running = []
        self.printed = {}
        """What each command has printed."""
        if (PAGES[page].parent / "pyproject.toml").exists() and PAGES[page].parent != ROOT:
            shutil.copytree(PAGES[page].parent, self.here)
        else:
            self.here.mkdir()
        (self.here / ".venv").symlink_to(sys.prefix)
        (self.here / bundle.name).symlink_to(bundle)
        self.places = {
            r"\bBUNDLE\b|\bcore_\d{8}[\d.]+tar\.gz\b": str(bundle),
            r"\bDIRECTORY\b|/var/dumps\b": str(bundle.parent),
            r'\("collector\.example", 9000\)': str(listener),
            r"/run/user/1000\b": str(directory),
            r"/srv/orders\b": str(self.here),
        }
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.environment = {
            **{name: text for name, text in os.environ.items() if not name.startswith("GENCORE_")},
            "HOME": str(directory),
            "XDG_CACHE_HOME": str(directory / "cache"),
            "PATH": path,
            "PYTHONPATH": str(self.here),  # where pip_install() puts distributions
            "MALLOC_ARENA_MAX": "1",  # gcore writes the 64 MiB of each thread's, used or not
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # of our plug-ins of pytest a reader has none
        }

    def do(self, block):
        """Run a block, or save it as the page says. Fails for a kind that nobody knows."""
        if is_not_run(block.text):
            return
        if block.file is not None:
            self.save(block)
        elif block.kind == "python":
            self.run(block, [sys.executable, "-c", self.with_places(block.text)])
        elif block.kind in {"console", ""}:
            for command, shown in commands(block):
                self.obey(block, command, shown)
        elif block.kind not in SHOWN:
            pytest.fail(f"{self.page}:{block.line}: a block of kind {block.kind!r}")

    def save(self, block):
        """Save a block under its name, and check what can be checked without being used."""
        file = self.here / block.file
        file.write_text(self.with_places(block.text))
        if file.name.startswith("test_"):
            options = ["-q", "-p", "no:cacheprovider"]
            self.run(block, [sys.executable, "-m", "pytest", *options, file])
        elif file.suffix == ".yaml":
            self.run(block, [sys.executable, "-c", VALIDATE, file, KUBERNETES])
        elif file.suffix == ".service":
            assert not self.run(block, ["systemd-analyze", "verify", file])

    def obey(self, block, command, shown):
        """Run a command of a shell, and compare what it prints with what the page shows."""
        if is_not_run(command):
            return
        if command.startswith("cd "):
            self.here = (self.here / command.removeprefix("cd ")).resolve()
        elif re.fullmatch(r"pip install (\.|'\.\[test\]')", command):
            self.pip_install()
        elif command.startswith("export "):
            name, _, value = command.removeprefix("export ").partition("=")
            self.environment[name] = self.with_places(value)
        elif command.endswith(" &"):
            self.start(block, command.removesuffix(" &"), shown)
        else:
            printed = self.run(block, ["bash", "-c", self.with_places(command)])
            self.printed[command] = printed
            self.compare(block, command, shown, printed)

    def compare(self, block, command, shown, printed):
        """Fail unless what was printed is what the page shows, if it shows anything."""
        if shown is not None:
            matches = self.is_shown(shown, printed)
            assert matches, f"{self.page}:{block.line}: {command} printed\n{printed}"

    def is_shown(self, shown, printed):
        """Whether it is what the page shows."""
        texts = (self.with_places(shown), printed)
        want, got = (re.sub(r"\d+", "0", text) for text in texts)
        return doctest.OutputChecker().check_output(want, got, doctest.ELLIPSIS)

    def start(self, block, command, shown):
        """Start a program that goes on, and wait until it has printed what is shown."""
        command = re.sub(r"\b8000\b", str(free_port()), self.with_places(command))
        program = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=self.here,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.running.append(program)
        printed = ""
        for line in program.stdout:
            printed += line
            if self.is_shown(shown, printed):
                return
        pytest.fail(f"{self.page}:{block.line}: {command} printed\n{printed}")

    def stop(self):
        """End what the page has started."""
        for program in self.running:
            program.terminate()
            program.communicate()

    def run(self, block, command):
        """Run a program that must succeed, and return what it prints."""
        done = subprocess.run(
            command,
            cwd=self.here,
            env=self.environment,
            timeout=300,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        printed = done.stdout.decode(errors="replace")
        assert done.returncode == 0, f"{self.page}:{block.line}: {command}\n{printed[-3000:]}"
        return printed

    def with_places(self, text):
        """Replace what stands for the reader's own files; each /tmp is a new directory."""
        text = re.sub(r"(?<=\s)/tmp\b", lambda _: self.new_directory(), text)
        for pattern, place in self.places.items():
            text = re.sub(pattern, place, text)
        return text.replace("$!", str(self.running[-1].pid)) if self.running else text

    def picture(self, beginning):
        """Return a picture of a command and of what it printed, as if it had run elsewhere."""
        command = next(known for known in self.printed if known.startswith(beginning))
        elsewhere = {str(self.here): "/srv/shop", os.uname().nodename: "web-1"}
        printed = self.printed[command]
        for place, shown in elsewhere.items():
            printed = printed.replace(place, shown)
        return draw(command, printed)

    def new_directory(self):
        new = self.directory / f"tmp{len(list(self.directory.iterdir()))}"
        new.mkdir()
        return str(new)

    def pip_install(self):
        """Do what pip would do with the pyproject.toml that was saved, without a registry."""
        project = tomllib.loads((self.here / "pyproject.toml").read_text())["project"]
        name, version = project["name"], project["version"]
        info = self.here / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(exist_ok=True)
        about = {"Metadata-Version": "2.1", "Name": name, "Version": version}
        (info / "METADATA").write_text("".join(f"{k}: {v}\n" for k, v in about.items()))
        with (info / "entry_points.txt").open("w") as file:
            for group, rows in project["entry-points"].items():
                file.writelines([f"[{group}]\n", *(f"{k} = {v}\n" for k, v in rows.items())])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """Make the bundle that pages call BUNDLE."""
    code = "import gencore; print(gencore.collect_core(sources=True))"
    directory = tmp_path_factory.mktemp("bundle")
    made = subprocess.check_output([sys.executable, "-c", code], cwd=directory, text=True)
    return Path(made.strip())


@pytest.fixture(scope="module")
def listener():
    """Return the address of a server that takes whatever is sent."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            while self.request.recv(1 << 20):
                pass

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield server.server_address
        server.shutdown()


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", [page_to_do(name) for name in PAGES])
def test_the_examples_of_a_page_do_what_it_says(name, tmp_path, bundle, listener, tool):
    """Each block is run, or saved, as a reader does; output that is shown is printed."""
    examples = blocks(PAGES[name])
    for program in ("gcore", "gdb", "lldb", "systemd-analyze"):
        if any(program in block.text for block in examples):
            tool(program)
    reader = Reader(name, tmp_path, bundle, listener)

    try:
        for block in examples:
            reader.do(block)
    finally:
        reader.stop()
    for picture, beginning in PICTURES.get(name, {}).items():
        drawn, file = reader.picture(beginning), PAGES[name].with_name(picture)
        if KEEP_PICTURES in os.environ:
            file.write_text(drawn)
        assert outline(drawn) == outline(file.read_text()), f"{KEEP_PICTURES}=1 writes it anew"


def outline(picture):
    """Return the text of a picture that is the same in each run: no numbers, no tables."""
    text = "\n".join(ET.fromstring(picture).itertext()).partition("objects  ")[0]
    return re.sub(r"[0-9a-fx]*\d[0-9a-fx]*|\s+", " ", text)


def test_a_python_file_that_is_saved_is_used_later():
    """Nothing else would run it: by a later block, or because it is a test."""
    for name, page in PAGES.items():
        examples = blocks(page)
        for i, block in enumerate(examples):
            module, _, ending = (block.file or "").partition(".")
            later = any(module in after.text for after in examples[i + 1 :])
            assert ending != "py" or module.startswith("test_") or later, f"{name}:{block.line}"


def test_every_exception_is_still_needed():
    """One that nothing begins with any more would hide the next fault."""
    examples = [block for page in PAGES.values() for block in blocks(page)]
    texts = [b.text for b in examples] + [c for b in examples for c, _ in commands(b)]

    assert [e for e in NOT_RUN if not any(text.startswith(e) for text in texts)] == []


def example(page):
    """Run the first Python block of *page* and return its names."""
    code = next(block.text for block in blocks(DOCS / page) if block.kind == "python")
    names = {}
    exec(compile(code, page, "exec"), names)
    return names


def test_the_collector_example_counts_pages(tmp_path):
    """It observes, reads the core's bytes, and makes an artefact."""
    collector = example("how-to/write-a-collector.md")["HeapStats"]

    report = gencore.Pipeline(collectors=[collector, "raw"], directory=tmp_path).run()

    assert report.result == "complete"
    assert json.loads(report.path_of("heap-stats").read_text())["zero_pages"] > 0


def test_the_backend_example_answers_with_reasons():
    """It offers full cores only, and says so with a remedy."""
    backend = example("how-to/write-a-backend.md")["GdbGcore"]()

    verdict = backend.probe(gencore.DumpRequest(content="private"))

    assert verdict.reasons[0].remedy
