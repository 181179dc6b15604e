"""The command ``report`` and the page that it writes, without a browser."""

import copy
import json
import math
import os
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from gencore._overview import make_overview
from gencore.cli import bundle as bundle_command
from gencore.errors import IntegrityError, OutputError
from gencore.html_report import render
from gencore.html_report.treemap import Box, squarify
from gencore.html_report.wording import milliseconds, size, visible

HOSTILE = (
    "</script><script>alert(1)</script>\"'><img src=x onerror=alert(2)>\x00\x1b[2J\u202e\ud800"
)
FRAME = {"file": "/srv/orders.py", "line": 12, "function": "Orders.wait"}
MANIFEST = {
    "schema_version": "1.0",
    "bundle_id": "01936b6e-0000-7000-8000-000000000000",
    "name": "core_20261124.040419.7.001",
    "created_at": "2026-11-24T04:04:19.425838Z",
    "annotations": {"reason": "slow"},
    "tool": {"name": "gencore", "version": "1.2", "backend": {"name": "linux-elf"}},
    "status": {
        "result": "partial",
        "pause_ms": 10.0,
        "phases": [
            {"name": "stop", "duration_ms": 2.0, "status": "ok", "error": None},
            {"name": "clone", "duration_ms": 5.0, "status": "ok", "error": None},
            {"name": "core", "duration_ms": 1500.0, "status": "ok", "error": None},
        ],
        "failed": [{"part": "heap-stats", "reason": "no space"}],
        "skipped": [{"part": "libssl.so", "reason": "it was deleted"}],
        "warnings": ["a plug-in was not loaded"],
        "shortened": ["threads"],
    },
    "core": {"file": "core", "size": 1 << 20, "expected_size": 1 << 20, "incomplete": None},
    "process": {
        "pid": 7,
        "executable": {"name": "python3", "path": "/usr/bin/python3"},
        "argv": ["python3", "-m", "orders"],
        "rss_bytes": 5 << 20,
        "limits": {
            "nofile": {"soft": 1024, "hard": None},
            "stack": {"soft": 8 << 20, "hard": 8 << 20},
            "rss": None,
        },
    },
    "runtime": {"implementation": "cpython", "version": "3.13.1", "gil": True},
    "threads": [
        {
            "tid": 7,
            "name": "python3",
            "registers": "exact",
            "reason": None,
            "python": {"name": "MainThread", "daemon": False, "frames": [FRAME]},
        },
        {"tid": 8, "name": "pool", "registers": "missing", "reason": "it ended", "python": None},
    ],
    "memory": [
        {"start": "0x1000", "size": 3 << 20, "path": "[heap]", "kind": "heap"},
        {"start": "0x9000", "size": 1 << 20, "path": "/lib/libc.so", "kind": "code"},
        {"start": "0xf000", "size": 1 << 30, "path": None, "kind": "reserved"},
    ],
    "libraries": [{"path": "/lib/libc.so", "status": "ok", "build_id": "c0ffee", "size": 99}],
}


class Page(HTMLParser):
    """The text of a page, and its elements."""

    VOID = frozenset({"meta", "input", "wbr", "rect"})

    def __init__(self, html):
        super().__init__()
        self.words, self.elements, self.open = [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def count(self, tag):
        return sum(found == tag for found, _ in self.elements)


@pytest.fixture
def bundle(tmp_path, write_bundle):
    """Write a bundle that has the manifest behind other files, one of which is called like it."""
    path = tmp_path / "core_1.tar.gz"
    files = {
        "core": b"\x7fELF",
        "srv/manifest.json": b"{}",
        "manifest.json": json.dumps(MANIFEST).encode(),
    }
    return write_bundle(path, files, "core_1")


@pytest.fixture
def report(tmp_path, inside, monkeypatch):
    """Return a function that runs the command, or a program, in a directory of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments, code=None):
        words = ("report", "--no-core", *map(str, arguments))
        if code is None:
            return subprocess.CompletedProcess(words, *inside(*words))
        command = [sys.executable, "-c", code, *words]
        return subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=100
        )

    return run


# The page


def test_page_says_what_the_manifest_says():
    """Each section has its facts, in units for people."""
    text = Page(render(MANIFEST)).text

    for expected in (
        "orders process 7",
        "24 November 2026, 04:04:19 UTC",
        "Pause 10.00 ms",
        "Core 1 MiB",
        "Backend linux-elf",
        "Failed heap-stats no space",
        "Left out libssl.so it was deleted",
        "Warning a plug-in was not loaded",
        "Shortened threads",
        "reason slow",
        "2 threads. Registers in the core: exact 1, missing 1",
        "MainThread 7 Orders.wait exact",
        "Orders.wait /srv/orders.py:12",
        "Registers missing: it ended",
        "4 MiB of address space in 3 mappings, 5 MiB of it resident; 1 GiB more",
        "between the steps 3.00 ms 30.0%",
        "core 1.50 s ok",
        "Open files nofile 1,024 unlimited",
        "Resident memory rss not on this platform",
        "cpython 3.13.1",
        "/lib/ libc.so",
        "build ID c0ffee",
    ):
        assert expected in text, expected


def test_page_needs_nothing_but_itself():
    """No address to fetch, no style or handler inside an element, and a policy that forbids it."""
    page = Page(render(MANIFEST))
    attributes = {name for _, attrs in page.elements for name in attrs}
    links = {attrs["href"] for _, attrs in page.elements if "href" in attrs}
    (policy,) = [
        attrs["content"] for tag, attrs in page.elements if tag == "meta" and "http-equiv" in attrs
    ]

    assert not {name for name in attributes if name == "style" or name.startswith("on")}
    assert not {"src", "srcset", "data", "action"} & attributes
    assert all(link.startswith("#") for link in links)
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


def test_sections_have_headings_and_links_lead_to_them():
    """One h1, every section has its name, and no id is there twice."""
    page = Page(render(MANIFEST))
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    sections = [attrs for tag, attrs in page.elements if tag == "section"]
    targets = {attrs["href"][1:] for tag, attrs in page.elements if tag == "a"}

    assert page.count("h1") == page.count("main") == page.count("header") == page.count("nav") == 1
    assert len(ids) == len(set(ids))
    assert all(section["aria-labelledby"] in ids for section in sections)
    assert targets == {"content", *(section["id"] for section in sections)}


def test_threads_can_be_read_without_the_script():
    """What only the script can serve is hidden until it runs."""
    page = Page(render(MANIFEST))
    (tools,) = [attrs for _, attrs in page.elements if attrs.get("id") == "thread-tools"]

    assert "hidden" in tools
    assert not [attrs for tag, attrs in page.elements if tag == "li" and "hidden" in attrs]


def test_empty_manifest_is_shown_as_unknown():
    """There is a page, and it does not claim that all went well."""
    page = Page(render({}))

    assert "unknown process unknown" in page.text
    assert "The manifest has no memory map" in page.text
    assert "no warnings" not in page.text
    assert page.open == []


def places(value, path=()):
    """Yield the path of every value, containers too."""
    yield path
    if isinstance(value, dict | list):
        for key, below in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(below, (*path, key))


ODD = [
    None,
    True,
    -1,
    10**400,
    math.nan,
    math.inf,
    1e-300,
    "",
    HOSTILE,
    [],
    {},
    [[]],
    [None, 7, HOSTILE],
    {HOSTILE: HOSTILE},
    {"name": [], 7: {}},
]
QUICK = (None, HOSTILE, [])
"""Those that `make test` tries; the others need a second each."""


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(odd, id=ascii(odd)[:20], marks=() if odd in QUICK else pytest.mark.exhaustive)
        for odd in ODD
    ],
)
def test_no_odd_value_anywhere_keeps_the_page_from_being_written(odd):
    """Each value of a manifest is replaced in turn; the page stays well-formed and harmless."""
    whole = Page(render(MANIFEST))
    scripts = whole.count("script")
    for path in filter(None, places(MANIFEST)):
        manifest = copy.deepcopy(MANIFEST)
        place = manifest
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = odd

        html = render(manifest)

        page = Page(html)
        html.encode()
        assert page.open == [], path
        assert (page.count("script"), page.count("img")) == (scripts, 0), path


def test_missing_values_do_no_harm_either():
    """Each key is taken away in turn."""
    for path in filter(None, places(MANIFEST)):
        manifest = copy.deepcopy(MANIFEST)
        place = manifest
        for step in path[:-1]:
            place = place[step]
        del place[path[-1]]

        assert Page(render(manifest)).open == [], path


def test_hostile_names_are_text():
    """Markup is escaped; what no reader could see, or what moves others, is spelt out."""
    manifest = copy.deepcopy(MANIFEST)
    manifest["threads"][0]["python"]["name"] = HOSTILE
    manifest["memory"][1]["path"] = HOSTILE

    html = render(manifest)

    spelt = HOSTILE.replace("\x00", "\\x00").replace("\x1b", "\\x1b")
    spelt = spelt.replace("\u202e", "\\u202e").replace("\ud800", "\\ud800")
    assert Page(html).text.count(spelt) >= 2
    assert html.replace("\n", "").isprintable()


def test_kind_from_a_later_version_is_shown_as_other():
    """It does not become the name of a class, and its size counts."""
    manifest = copy.deepcopy(MANIFEST)
    manifest["memory"][0]["kind"] = 'x" onload="y'

    page = Page(render(manifest))

    assert "Other of a kind unknown to this page 3 MiB 75.0%" in page.text


def test_thousands_of_mappings_make_a_page_of_bearable_size():
    """The largest are shown, the others as one sum, and the drawing stays small."""
    rows = [
        {"start": hex(n << 20), "size": 4096 + n, "path": None, "kind": "anonymous"}
        for n in range(60_000)
    ]

    html = render({**MANIFEST, "memory": rows})

    assert len(html) < 200_000
    assert "59,960 smaller" in Page(html).text


def test_partial_manifest_sums_a_pause_longer_than_it_says():
    """Parts that are longer than the whole do not leave the bar."""
    status = {**MANIFEST["status"], "pause_ms": 1.0}

    html = render({**MANIFEST, "status": status})
    widths = re.findall(r'class="part-\d" x="([\d.]+)" y="0" width="([\d.]+)"', html)

    assert len(widths) == 2
    assert sum(float(width) for _, width in widths) == pytest.approx(1000, abs=1)


def test_treemap_gives_each_size_its_area_within_the_rectangle():
    """Nothing overlaps or sticks out, and parts are nearly square."""
    sizes = [600, 600, 400, 300, 200, 200, 100]
    boxes = squarify(sizes, Box(0, 0, 60, 40))

    assert [box.width * box.height for box in boxes] == pytest.approx(sizes)
    assert max(max(b.width / b.height, b.height / b.width) for b in boxes) < 3
    for index, box in enumerate(boxes):
        assert -1e-9 <= box.x <= box.x + box.width <= 60 + 1e-9
        assert -1e-9 <= box.y <= box.y + box.height <= 40 + 1e-9
        for other in boxes[index + 1 :]:
            apart = min(box.x + box.width, other.x + other.width) - max(box.x, other.x)
            below = min(box.y + box.height, other.y + other.height) - max(box.y, other.y)
            assert apart < 1e-9 or below < 1e-9


def test_treemap_survives_sizes_of_all_magnitudes():
    """From one byte to the whole address space."""
    sizes = [2.0**64, 2.0**40, 2.0**20, 1, 1]

    assert len(squarify(sizes, Box(0, 0, 960, 480))) == len(sizes)
    assert squarify([], Box(0, 0, 960, 480)) == []


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1023 bytes"),
        (1536, "1.5 KiB"),
        (1023 << 10, "1,023 KiB"),
        (1 << 60, "1 EiB"),
    ],
)
def test_sizes_are_put_into_words(number, text):
    """With three digits, in binary units."""
    assert size(number) == text


def test_durations_are_put_into_words():
    """Milliseconds up to a second."""
    assert [milliseconds(n) for n in (0.147, 999, 1500)] == ["0.15 ms", "999.00 ms", "1.50 s"]


def test_endless_text_is_cut():
    """And says how much is missing."""
    assert visible("x" * 6000).endswith("x… (1,000 more characters)")


def test_frames_show_their_source_lines():
    """As text, whatever stands in the line, and only where the line is known."""
    page = Page(render(MANIFEST, {("/srv/orders.py", 12): f"queue.get()  # {HOSTILE}"}))

    assert "Orders.wait /srv/orders.py:12 queue.get() # </script><script>alert(1)" in page.text
    assert "\\x1b[2J" in page.text
    assert (page.count("script"), page.count("img")) == (1, 0)
    assert "and lines of source code" in page.text
    assert "and lines of source code" not in Page(render(MANIFEST)).text


# The overview

PLACE = {"function": "Orders.wait", "file": "/srv/orders.py", "line": 12}
ANSWER = {
    "version": [3, 13, 1],
    "threads": {
        "groups": [
            {
                "tids": [7, 8],
                "own": True,
                "place": PLACE,
                "doing": [["in futex", 2]],
                "frames": [PLACE, PLACE],
            },
            {"tids": [9], "own": False, "place": None, "doing": [], "frames": []},
        ],
        "gil": [{"tid": 7, "place": PLACE, "doing": "running", "frames": [PLACE]}],
        "waiting_for_gil": 3,
        "blocked_loops": [],
    },
    "deadlocks": [
        [
            {"tid": 7, "kind": "Lock", "address": "0x1000", "held_by": 8, "known_by": "with"},
            {"tid": 8, "kind": "RLock", "address": "0x2000", "held_by": 7, "known_by": "record"},
        ]
    ],
    "requests": [
        {"protocol": "WSGI", "method": "GET", "target": "/orders/7", "tid": 7, "place": PLACE}
    ],
    "heap": {
        "types": [
            {"name": "dict", "count": 5, "size": 5 << 20},
            {"name": "shop.Order", "count": 9, "size": 3 << 20},
        ],
        "largest": [],
        "all": {"count": 14, "size": 8 << 20},
        "memory": {"objects_in_pools": 6 << 20, "other": 2 << 20},
    },
    "packages": {"django": "5.2"},
    "missing": {"tasks": "unsupported"},
}


def with_overview(answer=ANSWER):
    """Return the page of the manifest and an answer about its core."""
    return render(MANIFEST, {}, make_overview(MANIFEST, answer, lambda *_: "wait()", "B"))


def test_page_begins_with_what_stands_out():
    """The deadlock, then places, requests and objects: each with its evidence."""
    text = Page(with_overview()).text

    for expected in (
        "problem deadlock: MainThread waits for a Lock held by pool",
        "Next: gencore stacks B",
        "2 Orders.wait /srv/orders.py:12 wait() MainThread, pool · in futex 2 frames",
        "1 no Python thread 9",
        "MainThread is running at Orders.wait (/srv/orders.py:12), and holds the GIL.",
        "3 threads waited for it.",
        "WSGI GET /orders/7 MainThread Orders.wait /srv/orders.py:12",
        "14 objects of Python, 8 MiB with their own buffers",
        "shop.Order 9 3 MiB",
        "objects of at most 512 bytes 6 MiB 75.0%",
        "django 5.2",
        "Missing: tasks: unsupported",
    ):
        assert expected in text, expected
    assert text.index("deadlock") < text.index("Failed heap-stats")


def test_a_tree_of_tasks_is_text():
    """As it is printed, whatever the tasks are called; without one there is no heading of it."""
    overview = make_overview(MANIFEST, ANSWER, lambda *_: None, "B")
    tree = ["main <b> [waiting]", "  gather: child [ready]"]

    page = render(MANIFEST, {}, overview, task_tree=tree)

    assert "Which task waits for which" in page
    assert "\nmain &lt;b&gt; [waiting]\n  gather: child [ready]\n" in page
    assert "Which task" not in Page(render(MANIFEST, {}, overview)).text


def test_growth_is_shown_with_what_holds_it():
    """Each type, how many more, how many bytes, and what has more of them."""
    holders = [
        {"way": "module shop: CACHE", "before": 1, "after": 9},
        {"way": "module other: x", "before": 5, "after": 5},
    ]
    row = {
        "type": "shop.Order",
        "count_before": 1,
        "count_after": 5001,
        "size_before": 100,
        "size_after": (3 << 20) + 100,
        "holders": holders,
    }

    text = Page(render(MANIFEST, growth={"grown": [row]})).text
    hostile = render(MANIFEST, growth={"grown": [dict.fromkeys(row, HOSTILE), HOSTILE]})

    assert "shop.Order module shop: CACHE +5,000 +3 MiB" in text
    assert Page(hostile).open == []
    assert "No type has grown" in Page(render(MANIFEST, growth={"grown": []})).text
    assert "Growth" not in Page(render(MANIFEST)).text


def test_page_of_a_healthy_process_says_that_nothing_was_found():
    """It does not say that all is well."""
    text = Page(with_overview({**ANSWER, "deadlocks": []})).text

    assert "No problem was found" in text


def test_page_says_what_is_missing_of_the_heap():
    """In the comparison, and of a malloc whose layout is unknown."""
    reason = "10 pools of objects were in use, and are zeros in the core"
    compared = Page(render(MANIFEST, growth={"grown": [], "incomplete": reason})).text
    text = Page(
        with_overview({**ANSWER, "heap": {**ANSWER["heap"], "other_malloc": "jemalloc"}})
    ).text

    assert "No type has grown in what is left of the cores." in compared
    assert f"Some may be missing: {reason}." in compared
    assert "the malloc is not glibc's: jemalloc: the objects from it were found by their" in text
    assert "malloc" not in Page(with_overview()).text


def test_page_claims_nothing_of_a_core_that_was_not_read():
    """That no problem was found would mean nothing."""
    text = Page(with_overview({"missing": {"core": "no Python found"}})).text

    assert "No problem was found" not in text
    assert "The core was not read: problems are unknown" in text


def test_frames_of_gencore_are_folded_and_the_own_frame_is_first():
    """They are those of the dump itself."""
    manifest = copy.deepcopy(MANIFEST)
    ours = "/venv/lib/python3.13/site-packages/gencore/dump.py"
    frames = manifest["threads"][0]["python"]["frames"]
    frames[:0] = [{"file": ours, "line": n, "function": f"take_{n}"} for n in (1, 2)]

    text = Page(render(manifest)).text

    assert "MainThread 7 Orders.wait exact" in text
    assert "2 frames of gencore take_1" in text


def test_no_odd_value_of_an_answer_keeps_the_page_from_being_written():
    """Each is replaced by hostile text in turn; the page stays well-formed and harmless."""
    scripts = Page(with_overview()).count("script")
    for path in filter(None, places(ANSWER)):
        answer = copy.deepcopy(ANSWER)
        place = answer
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = HOSTILE

        html = with_overview(answer)

        page = Page(html)
        assert page.open == [], path
        assert (page.count("script"), page.count("img")) == (scripts, 0), path


# The command


def test_report_is_written_for_its_owner_alone(report, bundle, tmp_path):
    """Mode 0600 whatever the umask; --json tells path and size."""
    code = "import os; os.umask(0); from gencore.cli import main; main()"

    done = report(bundle, "-o", "page.html", "--json", code=code)

    page = tmp_path / "page.html"
    assert done.returncode == 0, done.stderr
    assert page.stat().st_mode & 0o777 == 0o600
    shown = {"schema_version": "1.0", "path": "page.html", "size": page.stat().st_size}
    assert json.loads(done.stdout) == shown
    assert page.read_text() == render(MANIFEST)


def test_a_dash_is_standard_output(report, bundle, tmp_path):
    """As for a dump: no file of that name appears."""
    code = "from gencore.cli import main; main()"

    done = report(bundle, "-o", "-", code=code)

    assert (done.returncode, done.stdout) == (0, render(MANIFEST))
    assert not (tmp_path / "-").exists()
    assert report(bundle, "-o", "-", "--json").returncode == 2


def test_report_has_the_source_lines_of_the_bundle(report, tmp_path, write_bundle):
    """Out of the bundle: this machine has no such file."""
    files = {
        "srv/orders.py": b"\n" * 11 + b"    wait(b'<script>')\n",
        "manifest.json": json.dumps(MANIFEST).encode(),
    }

    done = report(write_bundle(tmp_path / "core_1.tar.gz", files, "core_1"))

    assert done.returncode == 0, done.stderr
    assert "wait(b'<script>')" in Page((tmp_path / "core_1.html").read_text()).text


def test_manifest_alone_will_do(report, tmp_path):
    """Without -o the report is called like its source, in the current directory."""
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "core_1.manifest.json").write_text(json.dumps(MANIFEST))

    done = report("there/core_1.manifest.json")

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "core_1.html").read_text() == render(MANIFEST)
    assert "core_1.html" in done.stdout


def test_existing_file_is_not_replaced_unless_forced(report, bundle, tmp_path):
    """Refused with a remedy; --force replaces it whole, and its mode with it."""
    page = tmp_path / "page.html"
    page.write_text("mine")
    page.chmod(0o644)

    refused = report(bundle, "-o", page)

    assert refused.returncode == OutputError.exit_code
    assert "remedy: choose another file, or use --force" in refused.stderr
    assert page.read_text() == "mine"

    forced = report(bundle, "-o", page, "--force")

    assert forced.returncode == 0, forced.stderr
    assert page.read_text() == render(MANIFEST)
    assert page.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == [bundle.name, page.name]


@pytest.mark.parametrize("options", [(), ("--force",)], ids=["plain", "forced"])
def test_link_is_not_followed(report, bundle, tmp_path, options):
    """What a link of that name leads to stays as it was."""
    (tmp_path / "target").write_text("mine")
    (tmp_path / "page.html").symlink_to("target")

    done = report(bundle, "-o", "page.html", *options)

    assert (done.returncode == 0) is bool(options)
    assert (tmp_path / "target").read_text() == "mine"


def test_devices_and_pipes_are_never_replaced(report, bundle, tmp_path):
    """A rename over /dev/full would remove the device from the machine."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    done = report(bundle, "-o", pipe, "--force")

    assert done.returncode == OutputError.exit_code
    assert "pipe: not a regular file" in done.stderr
    assert pipe.is_fifo()


def test_nothing_is_left_where_the_report_does_not_fit(report, bundle, tmpfs):
    """A disk that is full gets no half page."""
    full = tmpfs("size=8k")

    for options in ((), ("--force",)):
        done = report(bundle, "-o", full / "page.html", *options)
        assert done.returncode == OutputError.exit_code
        assert "No space left" in done.stderr
        assert list(full.iterdir()) == []


@pytest.mark.parametrize(
    "data",
    [b"", b"no JSON", b"[]", b"[" * 100_000, b"\xff{}", b"\x1f\x8b broken", b"9" * 5000],
    ids=["empty", "text", "list", "deep", "bytes", "gzip", "number"],
)
def test_what_is_neither_bundle_nor_manifest_is_told(report, tmp_path, data):
    """With the exit code of a bundle that is not what it claims to be, and no traceback."""
    (tmp_path / "odd").write_bytes(data)

    done = report("odd")

    assert done.returncode == IntegrityError.exit_code, done.stderr
    assert "Traceback" not in done.stderr


def test_bundle_without_a_manifest_is_told(report, tmp_path, write_bundle):
    """It was made without the collector."""
    done = report(write_bundle(tmp_path / "other.tar.gz", {"core": b""}))

    assert done.returncode == IntegrityError.exit_code
    assert "'manifest.json' not found in the bundle" in done.stderr


def test_manifest_beyond_all_bounds_is_refused(report, tmp_path):
    """Before it is parsed."""
    with (tmp_path / "large.json").open("wb") as file:
        file.truncate((16 << 20) + 1)

    done = report("large.json")

    assert done.returncode == IntegrityError.exit_code
    assert "larger than 16 MiB" in done.stderr


def test_missing_jinja2_is_told_with_its_remedy(report, bundle, tmp_path):
    """No traceback, no file, and what to install."""
    code = "import sys; sys.modules['jinja2'] = None; from gencore.cli import main; main()"

    done = report(bundle, "-o", "page.html", code=code)

    assert done.returncode == 2
    assert "remedy: pip install 'gencore[report]'" in done.stderr
    assert not (tmp_path / "page.html").exists()


def test_other_commands_do_without_jinja2(python):
    """It is loaded for the report only, and click for the command line only."""
    code = """if True:
        import json, sys
        import gencore
        gencore.Pipeline()
        early = sorted({"jinja2", "click"} & set(sys.modules))
        import gencore.cli, gencore.html_report
        for name in gencore.cli.gencore.list_commands(None):
            gencore.cli.gencore.get_command(None, name)
        print(json.dumps([early, "jinja2" in sys.modules]))
    """
    assert python(code) == [[], False]


COLLAPSED = {"collapsed": 3 << 20, "small": 5 << 20, "stopped": None}


def _with_huge_pages(found):
    return {**MANIFEST, "status": {**MANIFEST["status"], "huge_pages": found}}


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (COLLAPSED, "3 MiB collapsed, 5 MiB left in small pages"),
        ({**COLLAPSED, "stopped": "step 3 took 60 ms"}, "pages; stopped: step 3 took 60 ms"),
        ({"collapsed": "<b>", "small": -1}, "unknown collapsed, unknown left in small pages"),
    ],
)
def test_page_and_info_say_what_was_collapsed_into_huge_pages(found, line):
    """In one line, before the pause that it made shorter."""
    manifest = _with_huge_pages(found)

    assert line in Page(render(manifest)).text
    assert line in dict(bundle_command._facts(manifest))["huge pages"]


@pytest.mark.parametrize("found", [None, {}])
def test_page_and_info_say_nothing_of_huge_pages_that_nobody_asked_for(found):
    """As manifests of earlier versions, which do not have the field."""
    manifest = MANIFEST if found == {} else _with_huge_pages(found)

    assert "Huge pages" not in render(manifest)
    assert "huge pages" not in dict(bundle_command._facts(manifest))
