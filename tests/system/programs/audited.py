"""Run a script of this interpreter's environment, and note the paths that it touches.

``python -P audited.py LIST SCRIPT ARGUMENT...`` writes them into LIST, as JSON.
"""

import json
import os
import runpy
import sys
from pathlib import Path

WITH_ONE_PATH = {
    *("open", "glob.glob", "shutil.rmtree", "os.chdir", "os.chmod", "os.chown", "os.listdir"),
    *("os.mkdir", "os.remove", "os.rmdir", "os.scandir", "os.truncate", "os.utime"),
}
WITH_TWO_PATHS = {"os.link", "os.rename", "os.symlink", "shutil.copyfile", "shutil.move"}
touched = []


def note(event, arguments):
    """Keep each path as it is when it is used: relative ones are below the current directory."""
    count = (event in WITH_ONE_PATH) + 2 * (event in WITH_TWO_PATHS)
    paths = (p for p in arguments[:count] if not isinstance(p, int))  # else it is open already
    touched.extend([event, os.path.abspath(os.fsdecode(path or "."))] for path in paths)  # noqa: PTH100


out, script, *arguments = sys.argv[1:]
sys.argv = [script, *arguments]
sys.executable = "/opt/python"  # stevedore has no cache, and this test no point, below /tmp
sys.addaudithook(note)
try:
    runpy.run_path(script, run_name="__main__")
finally:
    found = list(touched)
    Path(out).write_text(json.dumps(found))
