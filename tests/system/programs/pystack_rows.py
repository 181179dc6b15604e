"""Print the stacks in a core, with variables, as pystack sees them.

pystack_rows.py CORE EXECUTABLE FOLDER
"""

import json
import sys
from pathlib import Path

from pystack.engine import NativeReportingMode, get_process_threads_for_core

core, executable, folder = sys.argv[1:]
libraries = {str(file.parent) for kind in ("*.so", "*.so.*") for file in Path(folder).rglob(kind)}
threads = get_process_threads_for_core(
    Path(core),
    Path(executable),
    library_search_path=":".join(sorted(libraries)),
    native_mode=NativeReportingMode.OFF,
    locals=True,
)
rows = {
    thread.tid: [
        [
            frame.code.scope,
            frame.code.filename,
            frame.code.location.lineno or None,  # the interpreter's own code has no lines
            frame.arguments | frame.locals,
        ]
        for frame in thread.frames
    ]
    for thread in threads
}
print(json.dumps(rows))
