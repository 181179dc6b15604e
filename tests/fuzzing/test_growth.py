"""Reading takes work that is linear in the input, counted in lines that run: no clock is read."""

import pytest
from tests.fuzzing import growth

from gencore.html_report.shortening import shorten

LARGER = 4
ONCE = 3000
"""What is done once: headers, and the template of a page."""
PER_BYTE = 2
IN_THE_REPORT = 50
"""For a byte of a manifest: a row of two bytes becomes an element of the page, up to a limit."""
STEPS = {kind: max(n // 200, 60) for kind, n in growth.KINDS.items()}


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    """Write below a folder that is removed."""
    monkeypatch.setattr(growth.tempfile, "tempdir", str(tmp_path))


@pytest.mark.parametrize("kind", STEPS, ids=lambda kind: kind.__name__)
def test_work_is_linear_in_the_input(kind):
    """Four times as much at most for four times the input, and so much for a byte."""
    n = STEPS[kind]
    (_, small), (size, large) = kind(n), kind(n * LARGER)

    once, larger = growth.work(small), growth.work(large)

    assert larger <= LARGER * once + ONCE
    per_byte = IN_THE_REPORT if kind is growth.rows_in_the_report else PER_BYTE
    assert larger <= per_byte * size + ONCE


def test_work_that_is_not_linear_is_noticed(monkeypatch):
    """It is counted in the same way."""
    monkeypatch.setattr(growth, "COUNTED", __file__)

    def quadratic(n):
        for _ in range(n):
            for _ in range(n):
                pass

    once, larger = (growth.work(lambda n=n: quadratic(n)) for n in (100, 400))

    assert larger > LARGER * once + ONCE


def test_a_page_shows_so_many_values_and_says_that_there_are_more():
    """The outer ones first, of each list as many."""
    manifest = {"name": "x", "rows": [{"a": 1}, {"a": 2}, {"a": 3}], "empty": []}

    assert shorten(manifest, 100) == (manifest, False)
    assert shorten(manifest, 7) == ({"name": "x", "rows": [{"a": 1}, {}, {}], "empty": []}, True)
    assert shorten(manifest, 4) == ({"name": "x", "rows": [{}], "empty": []}, True)
