"""Where each version of CPython keeps what is read here: offsets in bytes, of 64-bit builds.

The names in CPython's headers, and the numbers, are printed by tests/native/python_layouts.c, to
which this table is compared. From 3.13 on an interpreter says much of it itself, in
``_Py_DebugOffsets`` of pycore_runtime.h, since 3.14 pycore_debug_offsets.h, so that a build of
one's own may differ from the table.
"""

import struct
from typing import Final

import attrs

__all__ = [
    "FUTURES",
    "LAYOUTS",
    "SAID",
    "SAID_SIZE",
    "FutureLayout",
    "Layout",
    "take_what_is_said",
]


@attrs.frozen(kw_only=True)
class Layout:
    """One version. *x_of_y* is the offset of x in y."""

    first_interpreter: int
    next_interpreter: int
    id_of_interpreter: int
    modules_of_interpreter: int
    collecting_of_interpreter: int
    first_thread: int
    gil: int | None
    """In an interpreter: a pointer. None in 3.11, whose only GIL is part of the runtime."""
    gil_holder: int = 8
    gil_locked: int = 16
    next_thread: int = 8
    interpreter_of_thread: int = 16
    native_id: int
    frame_of_thread: int
    frame_of_c_frame: int | None = None
    """Of what `frame_of_thread` leads to; None where that is the frame."""
    previous_frame: int = 8
    owner_of_frame: int
    top_of_frame: int = 64
    """Where a suspended frame's stack ends: a number of slots, from 3.14 on a pointer."""
    locals_of_frame: int
    code_of_frame: int = 0
    instruction_of_frame: int = 56
    globals_of_frame: int = 24
    namespace_of_frame: int = 40
    file_of_code: int = 112
    qualified_name_of_code: int = 128
    lines_of_code: int = 136
    handlers_of_code: int = 40
    names_of_code: int = 32
    slot_names_of_code: int = 96
    slot_kinds_of_code: int = 104
    flags_of_code: int = 48
    arguments_of_code: int = 52
    keyword_arguments_of_code: int = 60
    first_line_of_code: int = 68
    slots_of_code: int = 72
    stack_of_code: int = 64
    instructions_of_code: int
    frame_of_frame_object: int = 24
    frame_of_generator: int = 72
    """In coroutines and asynchronous generators too, as is the next one."""
    state_of_generator: int = 67
    created_state: int = -3
    awaiting_state: int | None = -1
    executing_state: int = 0
    """Values of that state: between the first and the last a frame is suspended, since 3.13 it is
    known whether in an ``await``; behind the last it has ended."""
    dict_of_thread: int
    loop_of_thread: int | None = None
    """In a thread, the event loop that runs; before 3.13 that is in the thread's dictionary."""
    tasks_of_thread: int | None = None
    tasks_of_interpreter: int | None = None
    """Heads of lists of tasks, from 3.14 on: of a thread, and of threads that have ended."""
    items_of_tuple: int = 24
    ascii_head: int = 40
    text_head: int = 56
    basic_size_of_type: int = 32
    item_size_of_type: int = 40
    flags_of_type: int = 168
    members_of_type: int = 240
    dict_of_type: int = 264
    dict_offset_of_type: int = 288
    mro_of_type: int = 344
    subclasses_of_type: int = 360
    qualified_name_of_type: int = 872
    cached_keys_of_type: int = 880
    kind_of_member: int = 8
    offset_of_member: int = 16
    size_of_member: int = 40
    keys_of_dict: int = 32
    values_of_dict: int = 40
    items_of_list: int = 24
    mask_of_set: int = 32
    table_of_set: int = 40
    start_of_bytearray: int = 40
    digits_of_int: int = 24
    value_of_float: int = 16
    value_of_complex: int = 16
    qualified_name_of_function: int = 40
    function_of_method: int = 16
    self_of_method: int = 24
    definition_of_builtin: int = 16
    self_of_builtin: int = 24
    qualified_name_of_generator: int = 32
    arguments_of_exception: int = 24
    content_of_cell: int = 16
    record_of_frame: int = 24
    """In a frame object, ``PyFrameObject``: what it leads to has the other offsets of frames."""
    values_in_values: int = 8
    """3.11 and 3.12 have the first value where the others have sizes."""


LAYOUTS: Final = {
    11: Layout(
        first_interpreter=40,
        next_interpreter=0,
        id_of_interpreter=48,
        modules_of_interpreter=888,
        collecting_of_interpreter=848,
        first_thread=16,
        gil=None,
        gil_holder=368,
        gil_locked=376,
        native_id=160,
        frame_of_thread=56,
        frame_of_c_frame=8,
        previous_frame=48,
        owner_of_frame=69,
        locals_of_frame=72,
        code_of_frame=32,
        first_line_of_code=72,
        slots_of_code=76,
        stack_of_code=68,
        instructions_of_code=184,
        ascii_head=48,
        text_head=72,
        globals_of_frame=8,
        namespace_of_frame=24,
        arguments_of_code=56,
        keyword_arguments_of_code=64,
        qualified_name_of_type=864,
        cached_keys_of_type=872,
        qualified_name_of_generator=40,
        values_in_values=0,
        dict_of_thread=128,
        frame_of_generator=80,
        state_of_generator=75,
        created_state=-2,
        awaiting_state=None,
    ),
    12: Layout(
        first_interpreter=40,
        next_interpreter=0,
        id_of_interpreter=8,
        modules_of_interpreter=944,
        collecting_of_interpreter=312,
        first_thread=72,
        gil=384,
        native_id=144,
        frame_of_thread=56,
        frame_of_c_frame=0,
        owner_of_frame=70,
        locals_of_frame=72,
        instructions_of_code=192,
        values_in_values=0,
        dict_of_thread=112,
        created_state=-2,
        awaiting_state=None,
    ),
    13: Layout(
        first_interpreter=632,
        next_interpreter=7264,
        id_of_interpreter=7272,
        modules_of_interpreter=7656,
        collecting_of_interpreter=7600,
        first_thread=7344,
        gil=16,
        native_id=160,
        frame_of_thread=72,
        owner_of_frame=70,
        locals_of_frame=72,
        instructions_of_code=200,
        dict_of_thread=128,
        loop_of_thread=304,
    ),
    14: Layout(
        first_interpreter=808,
        next_interpreter=7272,
        id_of_interpreter=7280,
        modules_of_interpreter=7688,
        collecting_of_interpreter=7600,
        first_thread=7344,
        gil=16,
        native_id=160,
        frame_of_thread=72,
        owner_of_frame=74,
        locals_of_frame=80,
        instructions_of_code=208,
        items_of_tuple=32,
        dict_of_thread=128,
        loop_of_thread=864,
        tasks_of_thread=880,
        tasks_of_interpreter=10880,
    ),
    15: Layout(
        first_interpreter=936,
        next_interpreter=7264,
        id_of_interpreter=7272,
        modules_of_interpreter=7592,
        collecting_of_interpreter=7512,
        first_thread=7336,
        gil=16,
        native_id=184,
        frame_of_thread=72,
        owner_of_frame=74,
        locals_of_frame=80,
        instructions_of_code=208,
        items_of_tuple=32,
        qualified_name_of_type=880,
        dict_of_thread=152,
        created_state=0,
        awaiting_state=2,
        executing_state=4,
        loop_of_thread=1024,
        tasks_of_thread=1048,
        tasks_of_interpreter=10856,
        cached_keys_of_type=888,
    ),
}
"""By the minor version of Python 3."""

_IN_EACH: Final = {
    "first_interpreter": 40,
    "id_of_interpreter": 56,
    "next_interpreter": 64,
    "first_thread": 72,
}
SAID: Final[dict[int, dict[str, int]]] = {
    13: {
        **_IN_EACH,
        "modules_of_interpreter": 88,
        "gil": 112,
        "next_thread": 168,
        "interpreter_of_thread": 176,
        "frame_of_thread": 184,
        "native_id": 200,
        "previous_frame": 232,
        "code_of_frame": 240,
        "instruction_of_frame": 248,
        "locals_of_frame": 256,
        "owner_of_frame": 264,
        "file_of_code": 280,
        "qualified_name_of_code": 296,
        "lines_of_code": 304,
        "first_line_of_code": 312,
        "instructions_of_code": 344,
    },
    14: {
        **_IN_EACH,
        "modules_of_interpreter": 96,
        "gil": 120,
        "next_thread": 192,
        "interpreter_of_thread": 200,
        "frame_of_thread": 208,
        "native_id": 224,
        "previous_frame": 256,
        "code_of_frame": 264,
        "instruction_of_frame": 272,
        "locals_of_frame": 280,
        "owner_of_frame": 288,
        "file_of_code": 320,
        "qualified_name_of_code": 336,
        "lines_of_code": 344,
        "first_line_of_code": 352,
        "instructions_of_code": 384,
        "top_of_frame": 296,
        "frame_of_generator": 680,
        "state_of_generator": 688,
    },
    15: {
        **_IN_EACH,
        "modules_of_interpreter": 96,
        "gil": 120,
        "next_thread": 192,
        "interpreter_of_thread": 200,
        "frame_of_thread": 208,
        "native_id": 248,
        "previous_frame": 320,
        "code_of_frame": 328,
        "instruction_of_frame": 336,
        "locals_of_frame": 344,
        "owner_of_frame": 352,
        "file_of_code": 384,
        "qualified_name_of_code": 400,
        "lines_of_code": 408,
        "first_line_of_code": 416,
        "instructions_of_code": 448,
        "top_of_frame": 360,
        "frame_of_generator": 808,
        "state_of_generator": 816,
    },
}
"""Where ``_Py_DebugOffsets`` has each offset, by the minor version."""
SAID_SIZE: Final = 824
"""Bytes that contain all of them."""
_LARGEST: Final = 1 << 20
"""No structure is larger."""


@attrs.frozen(kw_only=True)
class FutureLayout:
    """``FutureObj`` and ``TaskObj`` of Modules/_asynciomodule.c; no header has them."""

    loop: int = 16
    first_callback: int = 24
    more_callbacks: int = 40
    exception: int = 48
    state: int
    cancel_requests: int
    awaited: int
    """What a task waits for; this and what follows only tasks have."""
    coroutine: int
    name: int
    node: int | None = None
    """Of the list of tasks, from 3.14 on: the next one's, and the one before."""


_EARLIEST_FUTURES: Final = FutureLayout(
    state=88, cancel_requests=168, awaited=128, coroutine=136, name=144
)
_LATEST_FUTURES: Final = FutureLayout(
    state=104, cancel_requests=112, awaited=120, coroutine=128, name=136, node=152
)
FUTURES: Final = {
    11: _EARLIEST_FUTURES,
    12: _EARLIEST_FUTURES,
    13: FutureLayout(state=96, cancel_requests=104, awaited=112, coroutine=120, name=128),
    14: _LATEST_FUTURES,
    15: _LATEST_FUTURES,
}
"""By the minor version."""


def take_what_is_said(minor: int, offsets: bytes) -> Layout:
    """Return the layout of a version with the offsets that the interpreter states itself.

    *offsets* is a ``_Py_DebugOffsets``; what no structure can have is not taken.
    """
    said = {name: struct.unpack_from("<Q", offsets, at)[0] for name, at in SAID[minor].items()}
    sound = {name: value for name, value in said.items() if value < _LARGEST}
    return attrs.evolve(LAYOUTS[minor], **sound)
