"""Measure what reading the references between the objects of a core costs.

    python tests/benchmarks/references.py [MiB]

User CPU time, per GiB of the core: for the referrers of one object, median of some; for the graph
of all references with the census before it; for the dominators and what they retain. Memory is
what the process has at most beside the core, as a ratio of it. The core is that of census.py.
Target: the referrers of one object in at most 1 s per GiB.
"""

import argparse
import json
from pathlib import Path

from census import BYTES_OF_ONE, DUMPED, run
from measuring import MIB, introduce, verdict, workplace

LIMIT = 1.0

READ = """if True:
    import json, pathlib, random, resource, statistics, sys
    from gencore.analysis import Memory, find_python
    from gencore.analysis.heap.heap_search import HeapSearch
    from gencore.analysis.graph.direct_referrers import DirectReferrers
    from gencore.analysis.graph.reachability import read_heap
    from gencore.corefile import CoreFile
    path = pathlib.Path(sys.argv[1])
    def user():
        return resource.getrusage(resource.RUSAGE_SELF).ru_utime
    def took(call):
        begin = user()
        result = call()
        return result, user() - begin
    with CoreFile(path) as core:
        python = find_python(Memory.of_core(core, path, this_machine=True), core)
        heap, graph = took(lambda: read_heap(python))
        _, dominators = took(lambda: heap.retained)
        kept = int(pathlib.Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0])
        chance = random.Random(1)
        nodes = [chance.randrange(len(heap.objects.rows)) for _ in range(9)]
        find = lambda node: DirectReferrers(HeapSearch(python), python).find(heap.address_of(node))
        direct = statistics.median(took(lambda: find(node))[1] for node in nodes)
        counts = len(heap.objects.rows), len(heap.graph.targets)
        print(json.dumps([*counts, direct, graph, dominators, kept << 10]))
"""


def main() -> None:
    """Print one row."""
    parser = argparse.ArgumentParser()
    parser.add_argument("mebibytes", nargs="?", type=int, default=512)
    options = parser.parse_args()
    introduce("References in a core")
    with workplace() as directory:
        core = Path(run(DUMPED, directory, options.mebibytes * MIB // BYTES_OF_ONE))
        size = core.stat().st_size / (1024 * MIB)
        objects, references, *seconds, kept = json.loads(run(READ, core))
    direct, graph, dominators = (each / size for each in seconds)
    print(
        "| core GiB | objects | references | one object's referrers s/GiB | all references s/GiB "
        "| dominators s/GiB | memory / core | target |"
    )
    print("|---|---|---|---|---|---|---|---|")
    print(
        f"| {size:.2f} | {objects:,} | {references:,} | {direct:.2f} | {graph:.1f} "
        f"| {dominators:.1f} | {kept / (size * 1024 * MIB):.1f} | {verdict(met=direct <= LIMIT)} |"
    )


if __name__ == "__main__":
    main()
