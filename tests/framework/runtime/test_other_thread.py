"""What another thread makes ahead: in order, one at a time, with its errors."""

import errno
import gc
import threading
import weakref

import pytest

from gencore._runtime import os_thread
from gencore._runtime.other_thread import OtherThread, ahead
from gencore.errors import OutputError


class NotCopied(Exception):
    """Keeps no arguments that its class takes."""

    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


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


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (ZeroDivisionError("it is 0"), ZeroDivisionError("it is 0")),
        (
            OutputError("/x", errno.ENOSPC, "the disk is full", remedy="remove something"),
            OutputError("/x", errno.ENOSPC, "the disk is full", remedy="remove something"),
        ),
        (NotCopied(1, 2), RuntimeError("NotCopied: 1 and 2")),
    ],
    ids=["built in", "of gencore", "not copied"],
)
def test_an_error_is_raised_for_who_asks_again_too(error, again):
    """What would otherwise be raised says nothing of why the piece has failed."""

    def fail():
        raise error

    result = OtherThread("made").begin(fail)
    with pytest.raises(type(error)) as first:
        result()

    assert first.value is error
    for _ in range(2):
        with pytest.raises(type(again)) as later:
            result()
        assert str(later.value) == str(again)
        assert vars(later.value) == vars(again)


def test_no_piece_overtakes_another_when_a_thread_can_be_started_again(monkeypatch):
    """The one before waits for who wants its result: what is written in order stays so."""
    done = []
    other = OtherThread("made")
    with monkeypatch.context() as patch:
        patch.setattr(os_thread, "_start_with_own_stack", _no_more)
        first = other.begin(lambda: done.append("first"))
    second = other.begin(lambda: done.append("second"))
    other.join()

    first()
    second()

    assert done == ["first", "second"]


def _no_more(_):
    raise RuntimeError("can't start new thread")


def test_who_has_asked_for_what_failed_is_let_go():
    """The piece has no error whose traceback has the frames of who asked, which has the piece."""

    class Asker:
        def __init__(self):
            self.result = OtherThread("made").begin(lambda: 1 // 0)

        def ask(self):
            with pytest.raises(ZeroDivisionError):
                self.result()

    asker = Asker()
    gone = weakref.ref(asker)
    gc.disable()
    try:
        asker.ask()
        asker.ask()
        del asker
        assert gone() is None
    finally:
        gc.enable()
