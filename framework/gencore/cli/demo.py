"""``gencore demo``: a small service dumps itself while its threads keep working."""

import hashlib
import json
import queue
import shlex
import shutil
import socket
import sys
import tarfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Final, NoReturn

import click

from gencore._pipeline.pipeline import Pipeline
from gencore.bundle.contents import BLOCK_SIZE
from gencore.bundle.tree_hash import block_hash, root_hash
from gencore.cli import progress
from gencore.cli.completion import plugins
from gencore.cli.json_output import print_json
from gencore.cli.options import directory_option, json_option, quiet_option
from gencore.errors import IntegrityError
from gencore.report import Report

__all__ = ["demo"]

_TICK: Final = 0.001


class Service:
    """Threads in different functions, each counting its turns."""

    def __init__(self) -> None:
        self.turns: dict[str, int] = {}
        self.longest_gap = 0.0
        self._stop = threading.Event()
        self._jobs: queue.Queue[int] = queue.Queue()
        self._sockets = socket.socketpair()
        self._lock = threading.Lock()
        work = (self.sleep, self.queue, self.socket, self.lock, self.compute, self.heartbeat)
        self._threads = [threading.Thread(target=self._serve, args=(f,)) for f in work]

    def start(self) -> None:
        """Start all threads, and wait until each has completed a turn."""
        for thread in self._threads:
            thread.start()
        while len(self.turns) < len(self._threads):
            time.sleep(_TICK)

    def stop(self) -> None:
        """End all threads."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        for end in self._sockets:
            end.close()

    def _serve(self, turn: Callable[[], None]) -> None:
        name = turn.__name__
        threading.current_thread().name = name
        while not self._stop.is_set():
            turn()
            self.turns[name] = self.turns.get(name, 0) + 1

    def sleep(self) -> None:
        """Sleep."""
        time.sleep(0.02)

    def queue(self) -> None:
        """Wait for a job; the thread ``socket`` sends them."""
        try:
            self._jobs.get(timeout=0.05)
        except queue.Empty:
            return

    def socket(self) -> None:
        """Send and receive a byte, then hand out a job."""
        self._sockets[0].send(b"x")
        self._sockets[1].recv(1)
        self._jobs.put(1)
        time.sleep(0.005)

    def lock(self) -> None:
        """Hold a lock for a moment."""
        with self._lock:
            time.sleep(0.01)

    def compute(self) -> None:
        """Compute without the GIL, and leave most of the processor to others."""
        hashlib.sha256(bytes(1 << 20)).digest()
        time.sleep(0.01)

    def heartbeat(self) -> None:
        """Tick, and remember the longest time between two ticks."""
        begin = time.perf_counter()
        time.sleep(_TICK)
        self.longest_gap = max(self.longest_gap, time.perf_counter() - begin)


@click.command()
@directory_option("Directory for the bundle.")
@click.option(
    "--backend",
    shell_complete=plugins("backend"),
    help="Backend to use; default: the best that works here.",
)
@click.option("--force", is_flag=True, default=None, help="Dump even if disk space may run out.")
@quiet_option
@json_option
def demo(
    *, directory: str | None, backend: str | None, force: bool | None, quiet: bool, as_json: bool
) -> NoReturn:
    """Dump a small service while it runs, and read the bundle back.

    \b
    Examples:
      gencore demo -o /var/tmp
    """
    pipeline = Pipeline(
        collectors=["manifest", "archive"],
        directory=directory,
        backend=backend,
        force=force,
    )
    service = Service()
    service.start()
    try:
        outcome = _dump(pipeline, service, quiet=quiet)
    finally:
        service.stop()
    if as_json:
        print_json(outcome)
    else:
        _print(outcome)
        if not quiet:
            _print_next(outcome)
    raise SystemExit(outcome["exit_code"])


def _dump(pipeline: Pipeline, service: Service, *, quiet: bool) -> dict[str, Any]:
    begin = time.perf_counter()
    service.longest_gap = 0.0
    dump = pipeline.start()
    report = progress.wait_for(dump, quiet=quiet)
    seconds = time.perf_counter() - begin
    before = dict(service.turns)
    time.sleep(0.2)
    alive = {name: service.turns[name] > turns for name, turns in before.items()}
    read_back = _read_back(report) if report.result != "failed" else None
    return {
        **report.as_dict(),
        "exit_code": report.exit_code or _exit_code(alive, read_back),
        "seconds": seconds,
        "longest_heartbeat_gap": service.longest_gap,
        "still_running": alive,
        "read_back": read_back,
    }


def _exit_code(alive: dict[str, bool], read_back: dict[str, Any] | None) -> int:
    """Return 8 if the bundle is damaged, 1 if a thread of the service stopped working."""
    if read_back and not read_back["core_hash_matches"]:
        return IntegrityError.exit_code
    return 0 if all(alive.values()) else 1


def _read_back(report: Report) -> dict[str, Any]:
    """Read the bundle without gencore, with tarfile, and check the core's hash."""
    path = report.path_of("archive")
    with tarfile.open(path, "r:gz") as bundle:
        manifest = json.load(_member(bundle, f"{report.name}/manifest.json"))
        core = _tree_hash(_member(bundle, f"{report.name}/core"))
        members = len(bundle.getmembers())
    return {
        "core_hash_matches": core == manifest["core"]["tree_sha256"],
        "core_size": manifest["core"]["size"],
        "members": members,
        "threads": [_thread_line(thread) for thread in manifest["threads"]],
    }


def _tree_hash(file: IO[bytes]) -> str:
    return root_hash(map(block_hash, iter(lambda: file.read(BLOCK_SIZE), b"")))


def _member(bundle: tarfile.TarFile, name: str) -> IO[bytes]:
    file = bundle.extractfile(name)
    if file is None:
        raise KeyError(name)
    return file


def _thread_line(thread: dict[str, Any]) -> dict[str, Any]:
    python = thread["python"] or {"name": thread["name"], "frames": []}
    own = (f for f in python["frames"] if f["function"].startswith(("Service.", "demo", "_dump")))
    frame = next(own, None) or next(iter(python["frames"]), None)
    place = f"{frame['function']} ({Path(frame['file']).name}:{frame['line']})" if frame else ""
    return {"tid": thread["tid"], "name": python["name"], "in": place}


def _print(outcome: dict[str, Any]) -> None:
    click.echo(f"result     {outcome['result']}, by {outcome['backend']}")
    gap = outcome["longest_heartbeat_gap"] * 1e3
    pause = outcome["pause"]["total"] * 1e3
    click.echo(f"pause      {pause:.2f} ms; longest gap of a 1 ms heartbeat: {gap:.2f} ms")
    click.echo(f"time       {outcome['seconds']:.2f} s to the finished bundle")
    for artifact in outcome["artifacts"]:
        click.echo(f"bundle     {artifact['path']} ({artifact['size'] / 2**20:.1f} MiB)")
    for part in (*outcome["failed"], *outcome["skipped"]):
        reason = part.get("reason") or part["error"]["message"]
        click.echo(f"missing    {part['part']}: {reason}")
    if outcome["read_back"]:
        _print_read_back(outcome["read_back"])
    running = outcome["still_running"]
    click.echo(
        f"running    {sum(running.values())} of {len(running)} threads: {', '.join(running)}"
    )


def _print_next(outcome: dict[str, Any]) -> None:
    """Say what can be done with the bundle, in lines that can be pasted."""
    here = Path.cwd()
    for path in (Path(artifact["path"]) for artifact in outcome["artifacts"]):
        bundle = path.relative_to(here) if path.is_relative_to(here) else path
        click.echo(
            "next       see where each thread was, what the bundle is, and whether it is whole:"
        )
        for command in ("stacks", "info", "verify"):
            click.echo(f"           {_program()} {command} {shlex.quote(str(bundle))}")


def _program() -> str:
    """Return what calls this program again, from the same directory."""
    called = sys.argv[0]
    if Path(called).name != "gencore":
        return f"{shlex.quote(sys.executable)} -m gencore"
    found = shutil.which("gencore")
    return "gencore" if found and Path(found).samefile(called) else shlex.quote(called)


def _print_read_back(found: dict[str, Any]) -> None:
    size = found["core_size"] / 2**20
    verdict = "hash matches" if found["core_hash_matches"] else "HASH DIFFERS"
    click.echo(f"read back  core of {size:.1f} MiB, {verdict}; {found['members']} files; threads:")
    for thread in found["threads"]:
        tid, name = thread["tid"] or "unknown", thread["name"] or "unknown"
        click.echo(f"           {tid:>8}  {name:<12}  {thread['in']}")
