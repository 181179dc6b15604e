"""What another thread makes ahead: in order, one at a time, with its errors."""

import threading

import pytest

from gencore._runtime import os_thread
from gencore._runtime.other_thread import ahead


def test_the_next_item_is_made_while_one_is_in_use():
    """In another thread, and no more than one."""
    made = [threading.Event() for _ in range(3)]
    threads = set()

    def make():
        for number, event in enumerate(made):
            threads.add(threading.get_ident())
            event.set()
            yield number

    items = ahead(make(), "made")
    assert next(items) == 0
    assert made[1].wait(10)
    assert not made[2].is_set()
    assert list(items) == [1, 2]
    assert threads - {threading.get_ident()} == threads


def test_an_error_is_raised_where_the_item_is_asked_for():
    """After those before it."""
    items = ahead((1 // (1 - number) for number in range(3)), "made")

    assert next(items) == 1
    with pytest.raises(ZeroDivisionError):
        next(items)


def test_no_thread_is_left_when_nobody_asks_for_more():
    """Its last item is made, and lost."""
    before = threading.active_count()
    items = ahead(iter(range(10)), "made")
    next(items)
    items.close()

    assert threading.active_count() == before
    os_thread.wait_for_all(10)
    assert not os_thread._alive
