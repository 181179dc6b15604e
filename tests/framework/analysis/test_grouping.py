"""Whose code a file is, and which threads are at one place."""

import pytest

from gencore.analysis.inspection.origins import origin_of
from gencore.analysis.threads.grouping import group_stacks, telling_frame
from gencore.analysis.threads.stacks import Frame

OWN = Frame("serve", "/srv/orders/app.py", 7)
LIBRARY = Frame("get", "/srv/venv/lib/python3.13/site-packages/requests/api.py", 73)
STANDARD = Frame("wait", "/usr/lib/python3.13/threading.py", 359)
GENCORE = Frame("start", "/srv/venv/lib/python3.13/site-packages/gencore/dump.py", 1)


@pytest.mark.parametrize(
    ("file", "origin"),
    [
        ("/srv/orders/app.py", "application"),
        ("/home/dev/gencore/app.py", "application"),
        ("<stdin>", "application"),
        ("/usr/lib/python3.13/threading.py", "standard library"),
        ("/usr/lib64/python3.9/json/decoder.py", "standard library"),
        ("/opt/python313.zip/queue.py", "standard library"),
        ("<frozen runpy>", "standard library"),
        ("/venv/lib/python3.13/site-packages/requests/api.py", "package"),
        ("/usr/lib/python3/dist-packages/yaml/loader.py", "package"),
        ("/venv/bin/gunicorn", "package"),
        ("/venv/lib/python3.13/site-packages/gencore/dump.py", "gencore"),
        ("/venv/lib/python3.13/site-packages/gencore_backends/linux/elf.py", "gencore"),
    ],
)
def test_the_path_tells_whose_code_it_is(file, origin):
    """Whatever Python, environment and system it is of."""
    assert origin_of(file) == origin


@pytest.mark.parametrize(
    ("frames", "telling"),
    [
        ((GENCORE, STANDARD, LIBRARY, OWN, STANDARD), OWN),
        ((STANDARD, LIBRARY), STANDARD),
        ((GENCORE, LIBRARY), LIBRARY),
        ((GENCORE,), GENCORE),
        ((), None),
    ],
)
def test_the_innermost_frame_of_the_application_is_telling(frames, telling):
    """Or else the innermost that is not gencore's."""
    assert telling_frame(frames) == telling


def test_groups_are_by_place_the_largest_first():
    """Those without Python come last, however many they are."""
    stacks = [
        (1, (STANDARD,)),
        (2, (LIBRARY, OWN)),
        (3, (STANDARD, OWN)),
        (4, ()),
        (5, ()),
        (6, ()),
    ]
    groups = group_stacks(stacks)

    assert [(group.members, group.own) for group in groups] == [
        ((2, 3), True),
        ((1,), False),
        ((4, 5, 6), False),
    ]
    assert groups[0].frames == (LIBRARY, OWN)
