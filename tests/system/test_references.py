"""References in a core, compared with those that the process knows itself."""

import json
import subprocess
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "programs" / "held_objects.py"

pytestmark = pytest.mark.timeout(400)


def test_references_are_those_that_the_program_made(installed, tmp_path, check_references):
    """Ways, referrers, retained bytes, garbage; and what has leaked between two dumps."""
    program = [installed[1], PROGRAM, tmp_path]
    told = json.loads(subprocess.run(program, capture_output=True, check=True).stdout)

    check_references(told, told["before"], told["after"])
