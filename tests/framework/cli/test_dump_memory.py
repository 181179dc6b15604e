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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of another C library")
def test_the_memory_of_a_block_is_kept_for_the_next_one(python):
    """The kernel need not clear it anew: a block has 256 pages."""
    assert python(CODE) < 4 * 256
