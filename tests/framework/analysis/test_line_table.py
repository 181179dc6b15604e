"""Lines of instructions, as the interpreter that wrote the tables finds them."""

import calendar
import inspect
import pickle
import types

from hypothesis import given
from hypothesis import strategies as st

from gencore.analysis.threads.line_table import line_at


def codes_in(code):
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from codes_in(constant)


def test_every_instruction_has_the_line_that_the_interpreter_gives_it():
    """In some hundreds of functions, with and without lines, forwards and backwards."""
    compared = 0
    for module in (calendar, pickle):
        whole = compile(inspect.getsource(module), module.__name__, "exec")
        for code in codes_in(whole):
            for start, end, line in code.co_lines():
                for offset in {start, end - 2}:
                    found = line_at(code.co_linetable, code.co_firstlineno, offset)
                    assert found == line, (code.co_qualname, offset)
                    compared += 1
    assert compared > 2_000


def test_before_the_first_instruction_is_the_line_of_the_function():
    """A frame that was made, and has not run."""
    code = compile("\n\ndef function(): pass", "", "exec").co_consts[0]

    assert line_at(code.co_linetable, code.co_firstlineno, -2) == 3
    assert line_at(code.co_linetable, code.co_firstlineno, 1 << 40) is None


@given(st.binary(max_size=200), st.integers(-10, 1000))
def test_any_bytes_are_decoded_or_have_no_line(table, offset):
    """Whatever they are."""
    assert isinstance(line_at(table, 1, offset), int | None)
