"""Runs the commands on a case, as processes with limits, and checks what they may do.

They may end with 0, or with the code of an `IntegrityError` and a line that says why; take so much
CPU time, memory and disk; show no control character; and leave only what they are for.
"""

import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzzing import bundles, rule
from tests.fuzzing.readers import OUTSIDE, Finding

KINDS = ("bundle", "bundle", "bundle", "manifest", "core")
COMMANDS = (
    ("list", ".", ()),
    ("info", "FILE", ()),
    ("info", "FILE", ("--json", "--files")),
    ("verify", "FILE", ()),
    ("extract", "FILE", ("--output", "unpacked")),
    ("stacks", "FILE", ()),
    ("report", "FILE", ("--output", "page.html")),
    ("open", "FILE", ("--print",)),
)
LEFT = {
    "extract": ("unpacked/",),
    "report": ("page.html",),
    "open": ("cache/",),
    "stacks": ("cache/",),
}
"""What a command may leave below its folder, unless it refuses the file."""
CACHE = re.compile(r"cache(/gencore(/bundles)?)?")
"""Folders that may stay, empty, whatever happens."""
START = 4.0
"""More CPU time, for the interpreter's start and what reads a core."""
OURS = {"stacks": {0, 3, 8}}
"""Exit codes: `stacks` ends with 3 if a core is unreadable, and shows what was recorded."""
PROGRAM = (sys.executable, "-m", "gencore")
LARGEST_FILE = 64 << 20
"""Bytes of a file that a command may write."""
UNPRINTABLE = re.compile(r"[^\n\x20-\x7e\u00a0-\U0010ffff]")


def check(case):
    """Run every command on a case; return how they ended. Raises `Finding`."""
    with tempfile.TemporaryDirectory(prefix="gencore-fuzz-") as top:
        folder = Path(top) / "a" / "b"
        (folder / "unpacked").mkdir(parents=True)
        name = bundles.file_name(case.data) if case.kind == "bundle" else f"x.{case.kind}"
        (folder / name).write_bytes(case.data)
        return [_run(case, Path(top), folder, command, name) for command in COMMANDS]


def _run(case, top, folder, command, name):
    word, argument, options = command
    before = set(top.rglob("*"))
    argument = name if argument == "FILE" else argument
    allowed = START + rule.seconds(case.data)
    ended = run([*PROGRAM, word, *options, argument], folder, allowed)
    new = {path for path in top.rglob("*") if path not in before}
    try:
        _judge(word, ended, allowed, {os.path.relpath(path, folder) for path in new})
        if sum(512 * os.lstat(path).st_blocks for path in new) > rule.disk(case.data):
            raise Finding(f"{word}: too many bytes on the disk")
    finally:
        for path in sorted(new, reverse=True):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    return f"{word}: {ended.returncode} {ended.stderr.partition(chr(10))[0]}"


def run(words, folder, seconds):
    """Run a program with limits, and with nothing of this environment but its path."""

    def limit():
        cpu = int(seconds) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))
        resource.setrlimit(resource.RLIMIT_AS, (rule.MEMORY, rule.MEMORY))
        resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "LC_ALL": "C.UTF-8",
    }
    return subprocess.run(
        words,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        errors="backslashreplace",
        preexec_fn=limit,
        check=False,
    )


def _judge(word, ended, allowed, new):
    code, text = ended.returncode, ended.stderr
    if code == -signal.SIGXCPU:
        raise Finding(f"{word}: more than {allowed:.1f} s of CPU time")
    if code not in OURS.get(word, {0, 8}) or "Traceback" in text:
        raise Finding(f"{word}: ended with {code}: {text[-500:]}")
    if code and not (text.startswith("gencore: ") or "WRONG" in ended.stdout):
        raise Finding(f"{word}: ended with {code} and no reason: {text[-500:]}")
    if len(text) > rule.TEXT:
        raise Finding(f"{word}: {len(text):,} characters of messages")
    if found := UNPRINTABLE.search(ended.stdout + text):
        raise Finding(f"{word}: prints {found[0]!r}")
    may = LEFT.get(word, ()) if code in {0, 3} else ()
    left = {path for path in new if not CACHE.fullmatch(path)}
    if left := {path for path in left if not (may and path.startswith(may))}:
        raise Finding(f"{word}: left {sorted(left)[:3]}")
    if OUTSIDE.exists():
        raise Finding(f"{word}: a file outside its folder")
