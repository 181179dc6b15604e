"""Count what the application notices of captures: per system call, and per kind of signal.

    python tests/benchmarks/unnoticed.py [--captures N] [--signals N] [--jobs N] [--quick]
                                         [--page FILE]

Prints two tables in Markdown, and puts them into FILE between its two markers. A cell is "n / N":
noticed n times of N. Each is measured as root and as an ordinary user, without load and with two
processes that compute; where the caller is not root, as an ordinary user only. N signals of each
kind are spread over the cells. The programs are unnoticed_calls.c, unnoticed_signals.c and
unnoticed_service.py; what counts as noticed is said there.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from measuring import introduced, workplace

HERE = Path(__file__).parent
NATIVE = HERE.parents[1] / "backends" / "gencore_backends" / "linux" / "native"
STOPPING = (
    *("threads", "stoppable", "borrowed_signal", "calls", "resume", "retries", "transfers"),
    *("memory_access", "proc_text"),
)
BEGIN, END = "<!-- unnoticed: begin -->", "<!-- unnoticed: end -->"
NOBODY = 65534
COMPILE = ["cc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", f"-I{NATIVE}"]

KINDS = {"endless": "without a timeout", "timed": "with a timeout", "whole": "transfer"}
HANDLERS = {
    (0, 0): "",
    (0, 1): ", full mask",
    (1, 0): ", SA_RESTART",
    (1, 1): ", SA_RESTART, full mask",
}
NATIVE_SIGNALS = [
    *(
        (to, call, *handler)
        for to in ("process", "thread")
        for call in ("poll", "read", "run")
        for handler in HANDLERS
        if call == "read" or not handler[0]
    ),
    ("process", "queue", 0, 0),
    ("process", "sigwaitinfo", 0, 0),
]
"""Target, call, SA_RESTART, full mask: the arguments of unnoticed_signals.c."""
DOING = {"run": "computes", "queue": "computes, queued real-time signals"}
CPYTHON_CALLS = ("sleep", "poll", "lock", "read")

Cell = tuple[bool, bool]
"""As an ordinary user; with load."""


def compile_all(directory: Path) -> None:
    """Compile the three programs."""
    sources = [NATIVE / f"{part}.c" for part in STOPPING]
    libraries = ["-lpthread", "-lrt", "-Wl,-z,now"]
    for name, target, *options in [
        ("unnoticed_calls", "calls"),
        ("unnoticed_signals", "signals"),
        ("unnoticed_signals", "signals.so", "-shared", "-fPIC"),
    ]:
        source = HERE / f"{name}.c"
        command = [*COMPILE, *options, source, *sources, "-o", directory / target, *libraries]
        subprocess.run(command, check=True)
    shutil.copy(HERE / "unnoticed_service.py", directory / "service.py")
    directory.chmod(0o755)


def run(directory: Path, cell: Cell, command: list[object]) -> list[dict[str, object]]:
    """Run a program in a directory of its own; returns the objects that it printed."""
    as_user = cell[0] and os.geteuid() == 0
    place = Path(tempfile.mkdtemp(dir=directory))
    ids: dict[str, object] = {}
    if as_user:
        os.chown(place, NOBODY, NOBODY)
        ids = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
        **ids,
    )
    shutil.rmtree(place)
    if done.returncode:
        sys.exit(f"{command}: {done.returncode}\n{done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def python_for(cell: Cell) -> str | None:
    """Return a Python that the cell's user may run."""
    for path in (sys.executable, "/usr/bin/python3"):
        ids = {"user": NOBODY, "group": NOBODY} if cell[0] and os.geteuid() == 0 else {}
        with contextlib.suppress(OSError):
            subprocess.run([path, "-I", "-S", "-c", "import ctypes"], check=True, cwd="/", **ids)
            return path
    return None


def compute() -> None:
    """Keep a CPU busy for ever."""
    while True:
        pass


@contextlib.contextmanager
def load(*, wanted: bool) -> Iterator[None]:
    """Keep both CPUs busy meanwhile."""
    processes = [multiprocessing.Process(target=compute, daemon=True) for _ in range(2 * wanted)]
    for process in processes:
        process.start()
    yield
    for process in processes:
        process.kill()
        process.join()


def measure_calls(directory: Path, cell: Cell, captures: int) -> dict[str, dict]:
    """Return what was counted for each call."""
    *rows, summary = run(directory, cell, [directory / "calls", captures])
    if summary["garbled"]:
        sys.exit(f"bytes were lost or garbled {summary['garbled']} times")
    return {f"`{row['call']}` {KINDS[row['kind']]}": row for row in rows}


def signal_commands(directory: Path, cell: Cell) -> dict[str, list[object]]:
    """Return the command for each kind of signal, but for what comes last in it."""
    commands: dict[str, list[object]] = {}
    for to, call, restarts, full in NATIVE_SIGNALS:
        where = "kill(); the main thread" if to == "process" else "tgkill(); a thread"
        doing = DOING.get(call, f"is in {call}()")
        name = f"{where} {doing}{HANDLERS[restarts, full]}"
        commands[name] = [directory / "signals", to, call, restarts, full]
    python = python_for(cell)
    for call in CPYTHON_CALLS if python else ():
        name = f"kill(); CPython's main thread is in a {call}"
        commands[name] = [python, "-I", "-S", directory / "service.py", directory / "signals.so"]
        commands[name].append(call)
    return commands


def measure_signals(
    directory: Path, cell: Cell, signals: int, capture: int, jobs: int
) -> dict[str, dict]:
    """Return what was counted for each kind of signal."""
    commands = signal_commands(directory, cell)
    with ThreadPoolExecutor(jobs) as pool:
        found = pool.map(
            lambda command: run(directory, cell, [*command, signals, capture])[0],
            commands.values(),
        )
        return dict(zip(commands, found, strict=True))


def share(row: dict) -> str:
    """Return how many of a call's threads were stopped, read and missing, in per cent."""
    parts = [row["stopped"], row["read"], row["missing"]]
    return " / ".join(f"{100 * part / max(1, sum(parts)):.0f}" for part in parts)


def unheard(row: dict) -> int:
    """Return how many signals had no effect in time, or one that nobody asked for."""
    lost = max(0, row["sent"] - row["handled"])
    return max(row["late"], lost) + row["unasked"] + row["out_of_order"]


def call_cell(row: dict) -> str:
    """Return the cell of one call: of the captures in it, or of the times it was made."""
    if not row["possible"]:
        return "not here"
    return f"{row['noticed']} / {row['tried'] if row['kind'] == 'endless' else row['rounds']}"


def signal_cell(*rows: dict | None) -> str:
    """Return the cell of one kind of signal, or of several cells taken together."""
    known = [row for row in rows if row]
    if not known:
        return "not here"
    return f"{sum(map(unheard, known))} / {sum(row['sent'] for row in known)}"


def title(cell: Cell) -> str:
    """Return the heading of a column."""
    return f"{'user' if cell[0] else 'root'}, {'busy' if cell[1] else 'idle'}"


def table(first: str, cells: list[Cell], rows: dict[str, list[str]]) -> str:
    """Return a table in Markdown."""
    head = [*first.split("|"), *map(title, cells)]
    lines = [head, ["---"] * len(head), *([name, *values] for name, values in rows.items())]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def measure(arguments: argparse.Namespace) -> str:
    """Measure all cells; returns both tables, with what was measured where above them."""
    users = [False, True] if os.geteuid() == 0 else [True]
    cells = [(user, busy) for user in users for busy in (False, True)]
    cells = cells[:1] if arguments.quick else cells
    each = arguments.signals // len(cells)
    begin = introduced("What is noticed of captures", heading=False)
    calls, signals, controls = [], [], []
    with workplace() as directory:
        compile_all(directory)
        for cell in cells:
            with load(wanted=cell[1]):
                calls.append(measure_calls(directory, cell, arguments.captures))
                signals.append(measure_signals(directory, cell, each, 1, arguments.jobs))
                controls.append(measure_signals(directory, cell, each // 10, 0, arguments.jobs))
    call_rows = {
        name: [share(row), *(call_cell(found[name]) for found in calls)]
        for name, row in calls[0].items()
    }
    signal_rows = {
        name: [
            signal_cell(*(found.get(name) for found in controls)),
            str(sum(found[name]["in_pause"] for found in signals if name in found)),
            *(signal_cell(found.get(name)) for found in signals),
        ]
        for name in signals[0]
    }
    first = table("call|stopped / read / missing, %", cells, call_rows)
    second = table("signal|without captures|in a pause", cells, signal_rows)
    return f"{begin}\n{first}\n\n{second}\n"


def put_into(page: Path, tables: str) -> None:
    """Replace what stands between the page's two markers."""
    before, rest = page.read_text().split(BEGIN)
    _, after = rest.split(END)
    page.write_text(f"{before}{BEGIN}\n{tables}{END}{after}")


def main() -> None:
    """Measure, print, and perhaps put into the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--captures", type=int, default=2000, help="of each cell's calls")
    parser.add_argument("--signals", type=int, default=10_000, help="of each kind, in all")
    parser.add_argument("--jobs", type=int, default=1, help="kinds of signals at once")
    parser.add_argument("--quick", action="store_true", help="one column, few of all")
    parser.add_argument("--page", type=Path, help="with the two markers")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.captures, arguments.signals = 100, 50
    tables = measure(arguments)
    print(tables)
    if arguments.page:
        put_into(arguments.page, tables)


if __name__ == "__main__":
    main()
