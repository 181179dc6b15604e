"""Reads Python's objects and stacks out of a core, without a debugger and without symbols.

Pure functions of bytes. `Memory` is what a core and its bundle's libraries have of a process,
`find_python` finds which Python that was, `read_stacks` what each of its threads was doing,
`read_waits` for which locks they wait, and `find_deadlocks` which of them wait for each other.
`read_tasks` reads asyncio's tasks: where each is, and which others it waits for.
`read_greenlets` reads those of greenlet and gevent, with numpy, of the extra ``analysis``.
`Values` shows single objects: their attributes, their items, and a bounded ``repr``. The module
`gencore.analysis.heap.census` counts all of them; it needs numpy, of the extra ``analysis``.

The folders stand on each other: ``interpreter`` (bytes, and which Python it was), ``inspection``
(single objects), ``threads``, then ``asynchronous`` and ``locking``; ``heap`` (all objects),
``graph`` (what refers to what), and on all of them ``answers``, each to one question of a command.
"""

from gencore.analysis.asynchronous.awaited import Awaited
from gencore.analysis.asynchronous.awaiting import Link
from gencore.analysis.asynchronous.greenlets import Greenlet, read_greenlets
from gencore.analysis.asynchronous.loops import Loop
from gencore.analysis.asynchronous.tasks import Task, Tasks, read_tasks
from gencore.analysis.inspection.type_facts import TypeFacts
from gencore.analysis.inspection.values import Values
from gencore.analysis.interpreter.layouts import Layout
from gencore.analysis.interpreter.memory import AbsentMemory, Memory, Piece
from gencore.analysis.interpreter.python import Python, ThreadState, find_python
from gencore.analysis.locking.deadlocks import find_deadlocks
from gencore.analysis.locking.locks import Lock, Wait, read_waits
from gencore.analysis.threads.stacks import Frame, Thread, read_stacks

__all__ = [
    "AbsentMemory",
    "Awaited",
    "Frame",
    "Greenlet",
    "Layout",
    "Link",
    "Lock",
    "Loop",
    "Memory",
    "Piece",
    "Python",
    "Task",
    "Tasks",
    "Thread",
    "ThreadState",
    "TypeFacts",
    "Values",
    "Wait",
    "find_deadlocks",
    "find_python",
    "read_greenlets",
    "read_stacks",
    "read_tasks",
    "read_waits",
]
