/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Graphs of millions of nodes: edges by node, shortest paths, dominators.
 *
 * A node is an index. A graph is two arrays: where the targets of each node begin, with one entry
 * more for the end, and the targets; it has fewer than 2^32 edges. Callers make them from a file of unknown origin, so each index
 * is checked before it is used; nothing else of that file gets here.
 *
 * Dominators: Georgiadis, Tarjan, Werneck, "Finding Dominators in Practice", 2006: Semi-NCA.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define NONE (-1)

struct graph {
	int32_t nodes;
	const uint32_t *offsets;
	const int32_t *targets;
};

/* Add to the count of each node how often it is there, but of those that are left out. */
static int count_nodes(const int32_t *nodes, int64_t length, const uint8_t *left_out,
		       uint32_t *counts, int64_t room)
{
	int64_t at;

	for (at = 0; at < length; at++) {
		if (nodes[at] < 0 || nodes[at] >= room)
			return -1;
		if (!left_out || !left_out[nodes[at]])
			counts[nodes[at]]++;
	}
	return 0;
}

/*
 * Put edges where their sources have room, from its end on, the last edge first: so they stay in
 * their order, and where the room ended of a node of which all edges are there, it begins.
 */
static int distribute_edges(const int32_t *sources, const int32_t *targets, int64_t edges,
			    uint32_t *ends, int64_t nodes, int32_t *grouped, int64_t room)
{
	while (edges--) {
		int32_t source = sources[edges];

		if (source < 0 || source >= nodes || !ends[source] || ends[source] > room)
			return -1;
		grouped[--ends[source]] = targets[edges];
	}
	return 0;
}

/* Make the offsets and targets of the graph with each edge turned around, of one that is sound. */
static void turn_edges(const struct graph *graph, uint32_t *offsets, int32_t *targets)
{
	int64_t edge = graph->offsets[graph->nodes];
	uint32_t end = 0;
	int32_t node;

	memset(offsets, 0, ((size_t)graph->nodes + 1) * sizeof(*offsets));
	count_nodes(graph->targets, edge, NULL, offsets, graph->nodes);
	for (node = 0; node <= graph->nodes; node++)
		offsets[node] = end += offsets[node];
	for (node = graph->nodes - 1; node >= 0; node--)
		while (edge > graph->offsets[node])
			targets[--offsets[graph->targets[--edge]]] = node;
}

static int graph_is_sound(const struct graph *graph, int64_t edges)
{
	int64_t edge;
	int32_t node;

	if (graph->offsets[0] != 0 || graph->offsets[graph->nodes] != edges)
		return 0;
	for (node = 0; node < graph->nodes; node++)
		if (graph->offsets[node] > graph->offsets[node + 1])
			return 0;
	for (edge = 0; edge < edges; edge++)
		if (graph->targets[edge] < 0 || graph->targets[edge] >= graph->nodes)
			return 0;
	return 1;
}

/* Mark the nodes that the root leads to. Each is on the stack once at most. */
static void mark_reached(const struct graph *graph, int32_t root, void *found, int32_t *stack)
{
	uint8_t *reached = found;
	int32_t height = 0;

	memset(reached, 0, (size_t)graph->nodes);
	reached[root] = 1;
	stack[height++] = root;
	while (height) {
		int32_t node = stack[--height];
		uint32_t edge;

		for (edge = graph->offsets[node]; edge < graph->offsets[node + 1]; edge++) {
			int32_t target = graph->targets[edge];

			if (reached[target])
				continue;
			reached[target] = 1;
			if (graph->offsets[target] < graph->offsets[target + 1])
				stack[height++] = target;
		}
	}
}

/* Fill parents with the node before each on a shortest path from the root; NONE if there is none. */
static void walk_breadth_first(const struct graph *graph, int32_t root, void *found,
			       int32_t *queue)
{
	int32_t *parents = found;
	int32_t node, head = 0, tail = 0;

	for (node = 0; node < graph->nodes; node++)
		parents[node] = NONE;
	parents[root] = root;
	queue[tail++] = root;
	while (head < tail) {
		uint32_t edge;

		node = queue[head++];
		for (edge = graph->offsets[node]; edge < graph->offsets[node + 1]; edge++) {
			int32_t target = graph->targets[edge];

			if (parents[target] == NONE) {
				parents[target] = node;
				queue[tail++] = target;
			}
		}
	}
	parents[root] = NONE;
}

/*
 * All but number are indexed by, and hold, numbers in preorder. A leaf to which one edge leads is
 * in none: what has the edge is its dominator. Half of a heap's objects are such.
 */
struct tree {
	int32_t reached;
	int32_t *number;   /* by node; NONE if the root does not lead to it, or if it is such a leaf */
	int32_t *node;
	int32_t *parent;   /* and of what is finished, an ancestor: see least_on_way() */
	int32_t *semi;
	int32_t *label;
	int32_t *idom;     /* the parent before it is known */
};

static int is_single_leaf(const struct graph *graph, const struct graph *reverse, int32_t node)
{
	return graph->offsets[node] == graph->offsets[node + 1] &&
	       reverse->offsets[node + 1] - reverse->offsets[node] == 1;
}

/* Return how many nodes have numbers at most. */
static int32_t count_inner(const struct graph *graph, const struct graph *reverse, int32_t root)
{
	int32_t node, count = 1;

	for (node = 0; node < graph->nodes; node++)
		count += node != root && !is_single_leaf(graph, reverse, node);
	return count;
}

static void number_in_preorder(const struct graph *graph, const struct graph *reverse, int32_t root,
			       struct tree *tree, uint32_t *next_edge)
{
	int32_t at = 0;

	for (int32_t node = 0; node < graph->nodes; node++)
		tree->number[node] = NONE;
	tree->number[root] = 0;
	tree->node[0] = root;
	tree->parent[0] = NONE;
	tree->reached = 1;
	next_edge[0] = graph->offsets[root];
	while (at != NONE) {
		if (next_edge[at] < graph->offsets[tree->node[at] + 1]) {
			int32_t target = graph->targets[next_edge[at]++];

			if (tree->number[target] == NONE &&
			    !is_single_leaf(graph, reverse, target)) {
				tree->number[target] = tree->reached;
				tree->node[tree->reached] = target;
				tree->parent[tree->reached] = at;
				at = tree->reached++;
				next_edge[at] = graph->offsets[target];
			}
		} else {
			at = tree->parent[at];
		}
	}
}

/*
 * Return the number with the least semidominator on the way to the root of its finished part: the
 * numbers from finished on. The way gets shorter, which is what parents are changed for.
 */
static int32_t least_on_way(struct tree *tree, int32_t from, int32_t finished, int32_t *way)
{
	int32_t length = 0, at = from;

	if (from < finished)
		return from;
	while (tree->parent[at] >= finished) {
		way[length++] = at;
		at = tree->parent[at];
	}
	while (length) {
		int32_t above = at;

		at = way[--length];
		if (tree->semi[tree->label[above]] < tree->semi[tree->label[at]])
			tree->label[at] = tree->label[above];
		tree->parent[at] = tree->parent[above];
	}
	return tree->label[from];
}

static void find_semidominators(const struct graph *reverse, struct tree *tree, int32_t *way)
{
	int32_t at;

	for (at = 0; at < tree->reached; at++) {
		tree->semi[at] = at;
		tree->label[at] = at;
		tree->idom[at] = tree->parent[at];
	}
	for (at = tree->reached - 1; at > 0; at--) {
		int32_t node = tree->node[at];
		uint32_t edge;

		for (edge = reverse->offsets[node]; edge < reverse->offsets[node + 1]; edge++) {
			int32_t from = tree->number[reverse->targets[edge]];

			if (from == NONE)
				continue;
			from = tree->semi[least_on_way(tree, from, at + 1, way)];
			if (from < tree->semi[at])
				tree->semi[at] = from;
		}
	}
}

static void find_dominators(struct tree *tree)
{
	int32_t at;

	for (at = 1; at < tree->reached; at++)
		while (tree->idom[at] > tree->semi[at])
			tree->idom[at] = tree->idom[tree->idom[at]];
}

/* Store the dominators of nodes in preorder, then those of the leaves that have no number. */
static void store_dominators(const struct tree *tree, const struct graph *graph,
			     const struct graph *reverse, int32_t *idoms, int32_t *order)
{
	int32_t at, node, count = tree->reached;

	for (node = 0; node < graph->nodes; node++)
		idoms[node] = NONE;
	order[0] = tree->node[0];
	for (at = 1; at < tree->reached; at++) {
		order[at] = tree->node[at];
		idoms[tree->node[at]] = tree->node[tree->idom[at]];
	}
	for (node = 0; node < graph->nodes; node++) {
		int32_t from;

		if (tree->number[node] != NONE || !is_single_leaf(graph, reverse, node))
			continue;
		from = reverse->targets[reverse->offsets[node]];
		if (tree->number[from] == NONE)
			continue;
		idoms[node] = from;
		order[count++] = node;
	}
	while (count < graph->nodes)
		order[count++] = NONE;
}

/* Add to each node what is below it in the tree that idoms are; -1 if an index is invalid. */
static int add_up(const int32_t *idoms, const int32_t *order, int32_t nodes, int64_t *totals)
{
	int32_t at;

	for (at = nodes - 1; at > 0; at--) {
		int32_t node = order[at];

		if (node == NONE)
			continue;
		if (node < 0 || node >= nodes || idoms[node] < 0 || idoms[node] >= nodes)
			return -1;
		totals[idoms[node]] += totals[node];
	}
	return 0;
}

/* Return 0, or -1 without memory. */
static int dominate(const struct graph *graph, const struct graph *reverse, int32_t root,
		    int32_t *idoms, int32_t *order)
{
	size_t nodes = (size_t)graph->nodes;
	size_t inner = (size_t)count_inner(graph, reverse, root);
	int32_t *arrays = calloc(nodes + 4 * inner, sizeof(int32_t));
	struct tree tree = {0};

	if (!arrays)
		return -1;
	tree.number = arrays;
	tree.node = arrays + nodes;
	tree.parent = tree.node + inner;
	tree.semi = tree.parent + inner;
	tree.idom = tree.semi + inner;
	tree.label = order; /* as room, as are idoms: both are filled at the end */
	number_in_preorder(graph, reverse, root, &tree, (uint32_t *)idoms);
	find_semidominators(reverse, &tree, idoms);
	find_dominators(&tree);
	store_dominators(&tree, graph, reverse, idoms, order);
	free(arrays);
	return 0;
}

static int32_t nodes_of(const Py_buffer *offsets)
{
	Py_ssize_t count = offsets->len / (Py_ssize_t)sizeof(uint32_t) - 1;

	return count < 1 || count >= INT32_MAX ? 0 : (int32_t)count;
}

static Py_ssize_t length_of(const Py_buffer *indices)
{
	return indices->len / (Py_ssize_t)sizeof(int32_t);
}

static struct graph graph_of(const Py_buffer *offsets, const Py_buffer *targets)
{
	return (struct graph){nodes_of(offsets), offsets->buf, targets->buf};
}

static PyObject *unsound(void)
{
	PyErr_SetString(PyExc_ValueError, "an index or a length of the graph is invalid");
	return NULL;
}

static void release(Py_buffer *buffers, int count)
{
	while (count--)
		PyBuffer_Release(&buffers[count]);
}

static PyObject *count(PyObject *Py_UNUSED(module), PyObject *arguments)
{
	Py_buffer b[2];
	int failed;

	if (!PyArg_ParseTuple(arguments, "y*w*", &b[0], &b[1]))
		return NULL;
	Py_BEGIN_ALLOW_THREADS
	failed = count_nodes(b[0].buf, length_of(&b[0]), NULL, b[1].buf, length_of(&b[1]));
	Py_END_ALLOW_THREADS
	release(b, 2);
	return failed ? unsound() : Py_NewRef(Py_None);
}

static PyObject *count_others(PyObject *Py_UNUSED(module), PyObject *arguments)
{
	Py_buffer b[3];
	int failed = 1;

	if (!PyArg_ParseTuple(arguments, "y*y*w*", &b[0], &b[1], &b[2]))
		return NULL;
	if (b[1].len == length_of(&b[2])) {
		Py_BEGIN_ALLOW_THREADS
		failed = count_nodes(b[0].buf, length_of(&b[0]), b[1].buf, b[2].buf, b[1].len);
		Py_END_ALLOW_THREADS
	}
	release(b, 3);
	return failed ? unsound() : Py_NewRef(Py_None);
}

static PyObject *distribute(PyObject *Py_UNUSED(module), PyObject *arguments)
{
	Py_buffer b[4];
	int failed = 1;

	if (!PyArg_ParseTuple(arguments, "y*y*w*w*", &b[0], &b[1], &b[2], &b[3]))
		return NULL;
	if (b[0].len == b[1].len) {
		Py_BEGIN_ALLOW_THREADS
		failed = distribute_edges(b[0].buf, b[1].buf, length_of(&b[0]), b[2].buf,
					  length_of(&b[2]), b[3].buf, length_of(&b[3]));
		Py_END_ALLOW_THREADS
	}
	release(b, 4);
	return failed ? unsound() : Py_NewRef(Py_None);
}

static PyObject *turn(PyObject *Py_UNUSED(module), PyObject *arguments)
{
	Py_buffer b[4];
	PyObject *result = NULL;
	struct graph graph;

	if (!PyArg_ParseTuple(arguments, "y*y*w*w*", &b[0], &b[1], &b[2], &b[3]))
		return NULL;
	graph = graph_of(&b[0], &b[1]);
	if (!graph.nodes || b[2].len != b[0].len || b[3].len != b[1].len ||
	    !graph_is_sound(&graph, length_of(&b[1]))) {
		result = unsound();
	} else {
		Py_BEGIN_ALLOW_THREADS
		turn_edges(&graph, b[2].buf, b[3].buf);
		Py_END_ALLOW_THREADS
		result = Py_NewRef(Py_None);
	}
	release(b, 4);
	return result;
}

/* Fills what it has found of each node; there is room for all nodes to come back to. */
typedef void graph_walk(const struct graph *graph, int32_t root, void *found, int32_t *room);

static PyObject *walk_from_root(PyObject *arguments, graph_walk *walk, Py_ssize_t bytes_of_one)
{
	Py_buffer b[3];
	PyObject *result = NULL;
	struct graph graph;
	int32_t *room;
	int root;

	if (!PyArg_ParseTuple(arguments, "y*y*iw*", &b[0], &b[1], &root, &b[2]))
		return NULL;
	graph = graph_of(&b[0], &b[1]);
	if (root < 0 || root >= graph.nodes || b[2].len != graph.nodes * bytes_of_one ||
	    !graph_is_sound(&graph, length_of(&b[1]))) {
		result = unsound();
	} else if (!(room = calloc((size_t)graph.nodes, sizeof(*room)))) {
		PyErr_NoMemory();
	} else {
		Py_BEGIN_ALLOW_THREADS
		walk(&graph, root, b[2].buf, room);
		Py_END_ALLOW_THREADS
		free(room);
		result = Py_NewRef(Py_None);
	}
	release(b, 3);
	return result;
}

static PyObject *reach(PyObject *Py_UNUSED(module), PyObject *arguments)
{
	return walk_from_root(arguments, mark_reached, sizeof(uint8_t));
}

static PyObject *breadth_first(PyObject *Py_UNUSED(module), PyObject *arguments)
{
	return walk_from_root(arguments, walk_breadth_first, sizeof(int32_t));
}

static PyObject *dominators(PyObject *Py_UNUSED(module), PyObject *arguments)
{
	Py_buffer b[6];
	PyObject *result = NULL;
	struct graph graph, reverse;
	int root, failed;

	if (!PyArg_ParseTuple(arguments, "y*y*y*y*iw*w*", &b[0], &b[1], &b[2], &b[3], &root, &b[4],
			      &b[5]))
		return NULL;
	graph = graph_of(&b[0], &b[1]);
	reverse = graph_of(&b[2], &b[3]);
	if (root < 0 || root >= graph.nodes || reverse.nodes != graph.nodes ||
	    length_of(&b[4]) != graph.nodes ||
	    length_of(&b[5]) != graph.nodes ||
	    !graph_is_sound(&graph, length_of(&b[1])) ||
	    !graph_is_sound(&reverse, length_of(&b[3]))) {
		result = unsound();
	} else {
		Py_BEGIN_ALLOW_THREADS
		failed = dominate(&graph, &reverse, root, b[4].buf, b[5].buf);
		Py_END_ALLOW_THREADS
		result = failed ? PyErr_NoMemory() : Py_NewRef(Py_None);
	}
	release(b, 6);
	return result;
}

static PyObject *add_up_totals(PyObject *Py_UNUSED(module), PyObject *arguments)
{
	Py_buffer b[3];
	PyObject *result = NULL;

	if (!PyArg_ParseTuple(arguments, "y*y*w*", &b[0], &b[1], &b[2]))
		return NULL;
	if (b[0].len != b[1].len || b[0].len * 2 != b[2].len || length_of(&b[0]) >= INT32_MAX ||
	    add_up(b[0].buf, b[1].buf, (int32_t)length_of(&b[0]), b[2].buf))
		result = unsound();
	else
		result = Py_NewRef(Py_None);
	release(b, 3);
	return result;
}

static PyMethodDef methods[] = {
	{"count", count, METH_VARARGS,
	 "count(nodes, counts): add to the count of each node how often it is there."},
	{"count_others", count_others, METH_VARARGS,
	 "count_others(nodes, left_out, counts): the same without the nodes that are marked there."},
	{"distribute", distribute, METH_VARARGS,
	 "distribute(sources, targets, ends, grouped): put edges where there is room for those of "
	 "their source, which ends where its edges begin then."},
	{"turn", turn, METH_VARARGS,
	 "turn(offsets, targets, reverse_offsets, reverse_targets): fill the last two with the graph "
	 "with each edge turned around."},
	{"reach", reach, METH_VARARGS,
	 "reach(offsets, targets, root, reached): mark the nodes that the root leads to, and itself, "
	 "with a byte for each."},
	{"breadth_first", breadth_first, METH_VARARGS,
	 "breadth_first(offsets, targets, root, parents): fill the last with the node before each."},
	{"dominators", dominators, METH_VARARGS,
	 "dominators(offsets, targets, reverse_offsets, reverse_targets, root, idoms, order): fill "
	 "idoms with the immediate dominator of each node, order with the nodes, dominators first."},
	{"add_up", add_up_totals, METH_VARARGS,
	 "add_up(idoms, order, totals): add to the total of each node those of all it dominates."},
	{NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
	{0, NULL},
};

static struct PyModuleDef definition = {
	.m_base = PyModuleDef_HEAD_INIT,
	.m_name = "_graphs",
	.m_doc = "Graphs of millions of nodes: edges by node, shortest paths, dominators.",
	.m_methods = methods,
	.m_slots = slots,
};

PyMODINIT_FUNC PyInit__graphs(void)
{
	return PyModuleDef_Init(&definition);
}
