/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Graphs of millions of nodes: edges by node, shortest paths, dominators.
 *
 * A node is an index. A graph is two arrays: where the targets of each node begin, with one entry
 * more for the end, and the targets. Callers make them from a file of unknown origin, so each index
 * is checked before it is used; nothing else of that file gets here.
 *
 * Dominators: Georgiadis, Tarjan, Werneck, "Finding Dominators in Practice", 2006: Semi-NCA.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>

#define NONE (-1)

struct graph {
	int32_t nodes;
	const int64_t *offsets;
	const int32_t *targets;
};

/* Count, add up, distribute: what a counting sort does. Leaves offsets[n] as the end of n. */
static int group_edges(const int32_t *sources, const int32_t *targets, int64_t edges,
		       int64_t *offsets, int32_t nodes, int32_t *grouped)
{
	int64_t edge, begin = 0;
	int32_t node;

	for (node = 0; node <= nodes; node++)
		offsets[node] = 0;
	for (edge = 0; edge < edges; edge++) {
		if (sources[edge] < 0 || sources[edge] >= nodes)
			return -1;
		offsets[sources[edge]]++;
	}
	for (node = 0; node <= nodes; node++) {
		int64_t count = offsets[node];

		offsets[node] = begin;
		begin += count;
	}
	for (edge = 0; edge < edges; edge++)
		grouped[offsets[sources[edge]]++] = targets[edge];
	for (node = nodes; node > 0; node--)
		offsets[node] = offsets[node - 1];
	offsets[0] = 0;
	return 0;
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

/* Fill parents with the node before each on a shortest path from the root; NONE if there is none. */
static void walk_breadth_first(const struct graph *graph, int32_t root, int32_t *parents,
			       int32_t *queue)
{
	int32_t node, head = 0, tail = 0;

	for (node = 0; node < graph->nodes; node++)
		parents[node] = NONE;
	parents[root] = root;
	queue[tail++] = root;
	while (head < tail) {
		int64_t edge;

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

/* All but number and next_edge are indexed by, and hold, numbers in preorder. */
struct tree {
	int32_t reached;
	int32_t *number;   /* by node; NONE if the root does not lead to it */
	int32_t *node;
	int32_t *parent;
	int32_t *semi;
	int32_t *label;
	int32_t *ancestor; /* NONE until its subtree is done */
	int32_t *idom;
};

static void number_in_preorder(const struct graph *graph, int32_t root, struct tree *tree,
			       int64_t *next_edge)
{
	int32_t at = root;

	for (int32_t node = 0; node < graph->nodes; node++) {
		tree->number[node] = NONE;
		next_edge[node] = graph->offsets[node];
	}
	tree->number[root] = 0;
	tree->node[0] = root;
	tree->parent[0] = NONE;
	tree->reached = 1;
	for (;;) {
		int32_t parent = tree->number[at];

		if (next_edge[at] < graph->offsets[at + 1]) {
			int32_t target = graph->targets[next_edge[at]++];

			if (tree->number[target] == NONE) {
				tree->number[target] = tree->reached;
				tree->node[tree->reached] = target;
				tree->parent[tree->reached++] = parent;
				at = target;
			}
		} else if (parent) {
			at = tree->node[tree->parent[parent]];
		} else {
			return;
		}
	}
}

/* Return the number with the least semidominator on the way to the root of its finished part. */
static int32_t least_on_way(struct tree *tree, int32_t from, int32_t *way)
{
	int32_t length = 0, at = from;

	if (tree->ancestor[from] == NONE)
		return from;
	while (tree->ancestor[tree->ancestor[at]] != NONE) {
		way[length++] = at;
		at = tree->ancestor[at];
	}
	while (length) {
		int32_t above = at;

		at = way[--length];
		if (tree->semi[tree->label[above]] < tree->semi[tree->label[at]])
			tree->label[at] = tree->label[above];
		tree->ancestor[at] = tree->ancestor[above];
	}
	return tree->label[from];
}

static void find_semidominators(const struct graph *reverse, struct tree *tree, int32_t *way)
{
	int32_t at;

	for (at = 0; at < tree->reached; at++) {
		tree->semi[at] = at;
		tree->label[at] = at;
		tree->ancestor[at] = NONE;
	}
	for (at = tree->reached - 1; at > 0; at--) {
		int32_t node = tree->node[at];
		int64_t edge;

		for (edge = reverse->offsets[node]; edge < reverse->offsets[node + 1]; edge++) {
			int32_t from = tree->number[reverse->targets[edge]];

			if (from == NONE)
				continue;
			from = tree->semi[least_on_way(tree, from, way)];
			if (from < tree->semi[at])
				tree->semi[at] = from;
		}
		tree->ancestor[at] = tree->parent[at];
	}
}

static void find_dominators(struct tree *tree)
{
	int32_t at;

	tree->idom[0] = 0;
	for (at = 1; at < tree->reached; at++) {
		int32_t idom = tree->parent[at];

		while (idom > tree->semi[at])
			idom = tree->idom[idom];
		tree->idom[at] = idom;
	}
}

static void store_dominators(const struct tree *tree, int32_t nodes, int32_t *idoms, int32_t *order)
{
	int32_t at;

	for (at = 0; at < nodes; at++) {
		idoms[at] = NONE;
		order[at] = at < tree->reached ? tree->node[at] : NONE;
	}
	for (at = 1; at < tree->reached; at++)
		idoms[tree->node[at]] = tree->node[tree->idom[at]];
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
	size_t count = (size_t)graph->nodes;
	int32_t *arrays = calloc(count, 7 * sizeof(int32_t));
	int64_t *next_edge = calloc(count, sizeof(int64_t));
	struct tree tree = {0};

	if (!arrays || !next_edge) {
		free(arrays);
		free(next_edge);
		return -1;
	}
	tree.number = arrays;
	tree.node = arrays + count;
	tree.parent = arrays + 2 * count;
	tree.semi = arrays + 3 * count;
	tree.label = arrays + 4 * count;
	tree.ancestor = arrays + 5 * count;
	tree.idom = arrays + 6 * count;
	number_in_preorder(graph, root, &tree, next_edge);
	find_semidominators(reverse, &tree, idoms); /* as room for ways: it is not filled yet */
	find_dominators(&tree);
	store_dominators(&tree, graph->nodes, idoms, order);
	free(arrays);
	free(next_edge);
	return 0;
}

static int32_t nodes_of(const Py_buffer *offsets)
{
	Py_ssize_t count = offsets->len / (Py_ssize_t)sizeof(int64_t) - 1;

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

static PyObject *group(PyObject *Py_UNUSED(module), PyObject *arguments)
{
	Py_buffer b[4];
	PyObject *result = NULL;
	int failed;

	if (!PyArg_ParseTuple(arguments, "y*y*w*w*", &b[0], &b[1], &b[2], &b[3]))
		return NULL;
	if (!nodes_of(&b[2]) || b[0].len != b[1].len || b[0].len != b[3].len) {
		result = unsound();
	} else {
		Py_BEGIN_ALLOW_THREADS
		failed = group_edges(b[0].buf, b[1].buf, length_of(&b[0]), b[2].buf,
				     nodes_of(&b[2]), b[3].buf);
		Py_END_ALLOW_THREADS
		result = failed ? unsound() : Py_NewRef(Py_None);
	}
	release(b, 4);
	return result;
}

static PyObject *breadth_first(PyObject *Py_UNUSED(module), PyObject *arguments)
{
	Py_buffer b[3];
	PyObject *result = NULL;
	struct graph graph;
	int32_t *queue;
	int root;

	if (!PyArg_ParseTuple(arguments, "y*y*iw*", &b[0], &b[1], &root, &b[2]))
		return NULL;
	graph = graph_of(&b[0], &b[1]);
	if (root < 0 || root >= graph.nodes || length_of(&b[2]) != graph.nodes ||
	    !graph_is_sound(&graph, length_of(&b[1]))) {
		result = unsound();
	} else if (!(queue = calloc((size_t)graph.nodes, sizeof(*queue)))) {
		PyErr_NoMemory();
	} else {
		Py_BEGIN_ALLOW_THREADS
		walk_breadth_first(&graph, root, b[2].buf, queue);
		Py_END_ALLOW_THREADS
		free(queue);
		result = Py_NewRef(Py_None);
	}
	release(b, 3);
	return result;
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
	{"group", group, METH_VARARGS,
	 "group(sources, targets, offsets, grouped): fill the last two with the edges by source."},
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
