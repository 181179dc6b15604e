"""The depth of a handler, in tables that this Python's compiler has written."""

import dis

import pytest

from gencore.analysis.threads.exception_table import depth_at


def nested(first, second, many):
    """Have handlers in handlers, and values on the stack below them."""
    with first:
        for each in many:
            with second:
                try:
                    many.append([each, second(list(each))])
                except ValueError as error:
                    second(error)
                finally:
                    first()
    return many


def long(first):
    """Have numbers of several bytes."""
    with first:
        return [
            *[first.a, first.b, first.c, first.d, first.e, first.f, first.g, first.h, first.i],
            *[first.a, first.b, first.c, first.d, first.e, first.f, first.g, first.h, first.i],
            *[first.a, first.b, first.c, first.d, first.e, first.f, first.g, first.h, first.i],
        ]


@pytest.mark.parametrize("function", [nested, long, pytest.fixture, dis.dis])
def test_the_depth_is_that_of_the_innermost_handler(function):
    """Of every instruction, as the standard library decodes the table."""
    code = function.__code__
    entries = dis.Bytecode(code).exception_entries
    expected = {
        offset: next((e.depth for e in entries if e.start <= offset < e.end), 0)
        for offset in range(0, len(code.co_code), 2)
    }

    assert {at: depth_at(code.co_exceptiontable, at) for at in expected} == expected


def test_a_frame_that_has_not_begun_has_no_handler():
    """Its instruction is the one before the first."""
    assert depth_at(nested.__code__.co_exceptiontable, -2) == 0


@pytest.mark.parametrize("table", [b"", b"\x80", b"\xff" * 1000, b"\x00" * 1000, b"\x7f" * 7])
def test_a_damaged_table_has_an_end(table):
    """Whatever is read from it."""
    assert depth_at(table, 10) >= 0
