import subprocess
import sys

import pytest

BATCHES = """
import resource, sys
import numpy as np
from streamrnn.service.allocation import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()

def batch():
    for array in [np.empty(1 << 18, "float32") for _ in range(8)]:
        array[:] = 1.0

batch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    batch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how: str) -> int:
    return int(subprocess.check_output([sys.executable, "-c", BATCHES, how]))


@pytest.mark.skipif("glibc" not in __import__("platform").libc_ver(), reason="other C libraries are left as they are")
def test_the_arrays_of_a_batch_go_to_the_next_one_without_page_faults() -> None:
    assert page_faults("kept") < 256  # 8 MiB are 2,048 pages, 20 times
    assert page_faults("not kept") > 10_000
