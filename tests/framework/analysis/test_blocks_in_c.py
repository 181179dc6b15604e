"""The C part of the census reads nothing outside of the arrays that it is given."""

import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).with_name("blocks_in_c.py")


def test_arrays_that_no_caller_makes_are_refused_or_read_within_their_bounds():
    """Every test of blocks_in_c.py passes, with the numpy that is too large for this process."""
    command = [sys.executable, "-m", "pytest", "--noconftest", "-n", "0", "-p", "no:cacheprovider"]
    done = subprocess.run([*command, TESTS], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
