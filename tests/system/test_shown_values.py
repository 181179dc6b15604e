"""The objects that gencore.analysis shows, compared with what the process said of them itself."""

import json
import subprocess
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "programs" / "shown_values.py"

pytestmark = pytest.mark.timeout(400)


def test_objects_are_shown_as_the_program_saw_them(installed, tmp_path, check_values):
    """Their repr, attributes, items and types: one object of each kind."""
    program = [installed[1], PROGRAM, tmp_path]
    told = json.loads(subprocess.run(program, capture_output=True, check=True).stdout)

    check_values(told, told["bundle"])
