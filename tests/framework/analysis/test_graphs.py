"""The graph algorithms in C, compared with what their definitions say of random graphs."""

import random
from array import array
from itertools import accumulate

import pytest

from gencore.analysis import _graphs


def grouped(pairs, nodes):
    """Return a graph of which the edges were put in two parts, the last one first."""
    parts = pairs[: len(pairs) // 3], pairs[len(pairs) // 3 :]
    columns = [
        [array("i", column) for column in zip(*part, strict=True)] for part in parts if part
    ]
    offsets, targets = array("I", bytes(4 * (nodes + 1))), array("i", bytes(4 * len(pairs)))
    for sources, _ in columns:
        _graphs.count(sources, offsets)
    offsets = array("I", accumulate(offsets))
    for part in reversed(columns):
        _graphs.distribute(*part, offsets, targets)
    return offsets, targets


def reached(pairs, without=None):
    """Return the distance of each node that 0 leads to, but through one."""
    distances, todo = {0: 0} if without != 0 else {}, [0] if without != 0 else []
    for node in todo:
        for source, target in pairs:
            if source == node and target not in distances and target != without:
                distances[target] = distances[node] + 1
                todo.append(target)
    return distances


def dominators(pairs, nodes):
    reverse = turned(*grouped(pairs, nodes))
    nearest, order = array("i", bytes(4 * nodes)), array("i", bytes(4 * nodes))
    _graphs.dominators(*grouped(pairs, nodes), *reverse, 0, nearest, order)
    return nearest, order


def turned(offsets, targets):
    reverse = array("I", offsets), array("i", targets)
    _graphs.turn(offsets, targets, *reverse)
    return reverse


def graphs():
    for seed in range(150):
        chance = random.Random(seed)
        nodes = chance.randrange(1, 14)
        count = chance.randrange(3 * nodes)
        yield nodes, [(chance.randrange(nodes), chance.randrange(nodes)) for _ in range(count)]


def test_edges_are_grouped_by_source_in_their_order():
    """Those of one node lie one behind the other."""
    for nodes, pairs in graphs():
        offsets, targets = grouped(pairs, nodes)
        found = [list(targets[offsets[node] : offsets[node + 1]]) for node in range(nodes)]
        assert found == [[t for s, t in pairs if s == node] for node in range(nodes)]


def test_edges_are_turned_around():
    """Those to one node are from it then, in the order of the nodes that they were from."""
    for nodes, pairs in graphs():
        around = [(target, source) for source, target in sorted(pairs)]
        assert turned(*grouped(pairs, nodes)) == grouped(around, nodes)


def test_ways_are_shortest():
    """A node's parent is one step nearer to the root; what the root does not lead to has none."""
    for nodes, pairs in graphs():
        parents = array("i", bytes(4 * nodes))
        _graphs.breadth_first(*grouped(pairs, nodes), 0, parents)
        distances = reached(pairs)
        for node in range(nodes):
            if node == 0 or node not in distances:
                assert parents[node] == -1
            else:
                assert (parents[node], node) in pairs
                assert distances[parents[node]] == distances[node] - 1


def test_what_the_root_leads_to_is_marked():
    """And of the others, the references are counted that lead to them."""
    for nodes, pairs in graphs():
        marks, counts = array("b", [7] * nodes), array("I", bytes(4 * nodes))
        graph = grouped(pairs, nodes)
        _graphs.reach(*graph, 0, marks)
        _graphs.count_others(graph[1], marks, counts)
        others = set(range(nodes)) - set(reached(pairs))
        assert list(marks) == [node not in others for node in range(nodes)]
        targets = [target for _, target in pairs if target in others]
        assert list(counts) == [targets.count(node) for node in range(nodes)]


def test_dominators_are_what_all_ways_lead_through():
    """Without a node's dominators it is unreachable; the nearest is dominated by all others."""
    for nodes, pairs in graphs():
        nearest, order = dominators(pairs, nodes)
        all_reached = set(reached(pairs))
        assert set(order) - {-1} == all_reached
        for node in range(nodes):
            above, at = set(), nearest[node]
            while at >= 0:
                above.add(at)
                at = nearest[at]
            needed = {n for n in all_reached - {node} if node not in reached(pairs, without=n)}
            assert above == (needed if node in all_reached else set())


def test_totals_have_those_of_all_that_a_node_dominates():
    """Each node counts for itself and for each of its dominators."""
    for nodes, pairs in graphs():
        nearest, order = dominators(pairs, nodes)
        totals = array("q", [1 << node for node in range(nodes)])
        _graphs.add_up(nearest, order, totals)
        for node in range(nodes):
            at = nearest[node]
            while at >= 0:
                assert totals[at] & 1 << node
                at = nearest[at]
            assert totals[node].bit_count() == 1 + sum(
                nearest[other] == node and totals[other].bit_count() for other in range(nodes)
            )


def test_a_long_chain_needs_no_stack():
    """A million nodes of which each leads to the next."""
    nodes = 1_000_000
    pairs = [(node, node + 1) for node in range(nodes - 1)]
    nearest, _ = dominators(pairs, nodes)

    assert list(nearest[:3]) == [-1, 0, 1]
    assert nearest[-1] == nodes - 2


@pytest.mark.parametrize(
    ("offsets", "targets"),
    [([0, 1, 1], [2]), ([0, 1, 1], [-1]), ([0, 2, 1], [0]), ([1, 1, 1], [0]), ([0], [])],
)
def test_invalid_indices_are_refused(offsets, targets):
    """Nothing is read or written outside of the arrays."""
    graph = array("I", offsets), array("i", targets)
    two = array("i", [0, 0])

    with pytest.raises(ValueError, match="invalid"):
        _graphs.breadth_first(*graph, 0, two)
    with pytest.raises(ValueError, match="invalid"):
        _graphs.reach(*graph, 0, array("b", [0, 0]))
    with pytest.raises(ValueError, match="invalid"):
        _graphs.dominators(*graph, *graph, 0, two, two)
    with pytest.raises(ValueError, match="invalid"):
        _graphs.turn(*graph, *graph)


def test_arrays_that_do_not_belong_together_are_refused():
    """Lengths, roots, and trees that lead out of the array."""
    graph, one, two = grouped([(0, 1)], 2), array("i", [0]), array("i", [0, 0])

    with pytest.raises(ValueError, match="invalid"):
        _graphs.breadth_first(*graph, 2, two)
    with pytest.raises(ValueError, match="invalid"):
        _graphs.breadth_first(*graph, 0, one)
    for root, marks in ((2, [0, 0]), (-1, [0, 0]), (0, [0])):
        with pytest.raises(ValueError, match="invalid"):
            _graphs.reach(*graph, root, array("b", marks))
    for target, marks in ((2, [0, 0]), (-1, [0, 0]), (0, [0])):
        with pytest.raises(ValueError, match="invalid"):
            _graphs.count_others(array("i", [target]), array("b", marks), array("I", [0, 0]))
    ends = array("I", [1, 1, 1])
    for source in (-1, 2):
        with pytest.raises(ValueError, match="invalid"):
            _graphs.count(array("i", [source]), array("I", [0, 0]))
        with pytest.raises(ValueError, match="invalid"):
            _graphs.distribute(array("i", [source]), one, array("I", [1, 1]), one)
    with pytest.raises(ValueError, match="invalid"):
        _graphs.distribute(two, one, ends, two)
    for end in (0, 2, 2**32 - 1):
        with pytest.raises(ValueError, match="invalid"):
            _graphs.distribute(one, one, array("I", [end]), one)
    with pytest.raises(ValueError, match="invalid"):
        _graphs.turn(*graph, ends, two)
    with pytest.raises(ValueError, match="invalid"):
        _graphs.turn(*graph, array("I", [0]), one)
    with pytest.raises(ValueError, match="invalid"):
        _graphs.add_up(array("i", [0, 7]), array("i", [0, 1]), array("q", [0, 0]))
