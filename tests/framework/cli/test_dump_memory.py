"""What ``gencore dump`` does with memory."""

import platform

import pytest

CODE = """
import resource
from gencore.cli.dump import _keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(100):
        blocks = [b"x" * (1 << 20) for _ in range(4)]
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

_keep_freed_memory()
faults()
print(faults())
"""


def test_a_limit_of_address_space_is_no_obstacle(python):
    """Then it is not kept."""
    code = """
import resource
from pathlib import Path
from gencore.cli.dump import _keep_freed_memory

used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (8 << 20), -1))
_keep_freed_memory()
print(1)
"""
    assert python(code) == 1


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of another C library")
def test_the_memory_of_a_block_is_kept_for_the_next_one(python):
    """The kernel need not clear it anew: a block has 256 pages."""
    assert python(CODE) < 4 * 256
