"""Memory that a process which reads a core has freed is what it gets next."""

import platform
import subprocess
import sys

import pytest

SIZE = 64 << 20
COUNTED = """if True:
    import resource, sys
    def faults():
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    if sys.argv[1] == "reused":
        from gencore.analysis.allocation import reuse_memory
        reuse_memory()
        assert "numpy" not in sys.modules
    import numpy as np
    size = int(sys.argv[2])
    np.ones(size, np.uint8)
    before = faults()
    np.ones(size, np.uint8)
    print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another malloc")
@pytest.mark.parametrize("kind", ["reused", "given back"])
def test_an_array_gets_the_memory_of_the_one_before(kind):
    """Without that, the kernel gets it back, and clears each page for the next one."""
    command = [sys.executable, "-c", COUNTED, kind, str(SIZE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    least = SIZE >> 21  # of huge pages
    assert (int(done.stdout) >= least) == (kind == "given back")


def test_what_answers_has_it_before_numpy_is_there():
    """Numpy decides about huge pages when it is imported."""
    code = "import sys, gencore.analysis.answers.__main__; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
