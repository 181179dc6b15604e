/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The blocks of a heap: where they are in a core, which are in use, which begin as objects do, and
 * which words are addresses of objects.
 *
 * The words of a core are of unknown origin. Each index that is made of them is checked before it is
 * used, each loop is bounded by the size of what the caller gave, and nothing is allocated. What the
 * rules are is said in object_index.py, pools.py, recognition.py, type_objects.py and words.py, which
 * call this.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

enum {
	WORD = 8,
	ROW = 4,
	POOL_WORDS = 2048,
	POOL_HEAD = 48,
	LEAST_BLOCK = 16,
	MOST_BLOCKS = POOL_WORDS * WORD / LEAST_BLOCK,
	SLOTS = 1 << 16, /* of the table of types */
	PREHEADERS = 3,
	PREHEADER = 16,
	PAGE_WORDS = 512,
	LOG2_PAGE = 12,
	LOG2_REGION = 30,
	REGION_PAGES = 1 << (LOG2_REGION - LOG2_PAGE),
	LOG2_OBJECT = 4, /* of the alignment of objects */
	LOG2_INDEXED = 14,
	LOG2_GROUP = 6, /* of objects whose bits are one word */
	GROUP_OBJECTS = 1 << LOG2_GROUP,
	INDEXED_GROUPS = 1 << (LOG2_INDEXED - LOG2_OBJECT - LOG2_GROUP),
	INDEXED_PAGES = 1 << (LOG2_REGION - LOG2_INDEXED),
	MOST_STRIDE = 16,
};

#define MOST_WORDS ((int64_t)1 << 44) /* that a process can have */

/* Of a file, in which they may begin anywhere. */
struct words {
	const char *bytes;
	int64_t count;
};

static uint64_t word_at(const struct words *words, int64_t place)
{
	uint64_t word;

	memcpy(&word, words->bytes + place * WORD, sizeof(word));
	return word;
}

/* One pool's place in the core, and what its header says. */
struct pool {
	uint64_t address;
	int64_t place;
	int64_t used, carved;
	uint64_t free;
};

/* Mark the free blocks of a pool. Return 0 unless the list is as long as the header says. */
static int mark_free(const struct words *core, const struct pool *pool, int64_t size, uint8_t *marks)
{
	int64_t left = pool->carved - pool->used;
	uint64_t at = pool->free;

	memset(marks, 0, (size_t)pool->carved);
	for (; left > 0; left--) {
		uint64_t offset = at - pool->address - POOL_HEAD;
		uint64_t index = offset / (uint64_t)size;

		if (at < pool->address + POOL_HEAD || offset % (uint64_t)size ||
		    index >= (uint64_t)pool->carved || marks[index])
			return 0;
		marks[index] = 1;
		at = word_at(core, pool->place + (int64_t)(at - pool->address) / WORD);
	}
	return left == 0 && at == 0;
}

/* Store the addresses and places of the blocks in use; return how many, or -1 if there is no room. */
static int64_t list_used(const struct words *core, const struct pool *pool, int64_t size,
			 uint64_t *addresses, int64_t *places, int64_t room)
{
	uint8_t marks[MOST_BLOCKS];
	int64_t block, count = 0;

	if (pool->place < 0 || pool->place > core->count - POOL_WORDS || pool->carved < 0 ||
	    pool->carved > (POOL_WORDS * WORD - POOL_HEAD) / size ||
	    !mark_free(core, pool, size, marks))
		return 0;
	for (block = 0; block < pool->carved; block++) {
		int64_t offset = POOL_HEAD + block * size;

		if (marks[block])
			continue;
		if (count == room)
			return -1;
		addresses[count] = pool->address + (uint64_t)offset;
		places[count++] = pool->place + offset / WORD;
	}
	return count;
}

/* Types by address, in a table with linear probing: a row, or -1 where there is none. */
struct types {
	const int32_t *slots;
	const uint64_t *addresses;
	const int64_t *preheaders;
	const int64_t *smallest;
	const uint8_t *listed; /* whether the collector's list has their objects */
	int64_t count;
};

/* Bits of an object's first word: of some one must be set, of none any may be. */
struct references {
	uint64_t some, none;
};

static int32_t row_of(const struct types *types, uint64_t word)
{
	uint32_t slot = (uint32_t)(word >> 4) & (SLOTS - 1);
	int32_t probes;

	for (probes = 0; probes < SLOTS; probes++) {
		int32_t row = types->slots[slot];

		if (row < 0 || row >= types->count)
			return -1;
		if (types->addresses[row] == word)
			return row;
		slot = (slot + 1) & (SLOTS - 1);
	}
	return -1;
}

/* Return the row of the type of the object in a block with some bytes, -1 if it is none. */
static int32_t recognise(const struct words *core, const struct types *types,
			 const struct references *references, int64_t place, int64_t bytes)
{
	int64_t preheader;

	for (preheader = 0; preheader < PREHEADERS * PREHEADER; preheader += PREHEADER) {
		int64_t at = place + (preheader + WORD) / WORD;
		int32_t row;

		if (preheader + 2 * WORD > bytes || at < 1 || at >= core->count)
			break;
		row = row_of(types, word_at(core, at));
		if (row >= 0 && types->preheaders[row] == preheader &&
		    types->smallest[row] + preheader <= bytes) {
			uint64_t count = word_at(core, at - 1);

			return count & references->some && !(count & references->none) ? row : -1;
		}
	}
	return -1;
}

/* Where each page of memory is in the core: see _PageTable of words.py. */
struct pages {
	const int32_t *regions, *tables;
	int64_t region_count, table_pages;
};

/* Return where in the core the word at an address is, -1 if it is not in the table. */
static int64_t place_of(const struct words *core, const struct pages *pages, uint64_t address)
{
	uint64_t region = address >> LOG2_REGION;
	int64_t index, place;

	if (address % WORD || region >= (uint64_t)pages->region_count)
		return -1;
	index = (int64_t)pages->regions[region] * REGION_PAGES +
		(int64_t)(address >> LOG2_PAGE & (REGION_PAGES - 1));
	if (index < 0 || index >= pages->table_pages || pages->tables[index] < 0)
		return -1;
	place = (int64_t)pages->tables[index] * PAGE_WORDS +
		(int64_t)(address / WORD & (PAGE_WORDS - 1));
	return place < core->count ? place : -1;
}

/* What is in front of an object that the collector looks at, as recognition.py has it. */
enum {
	COLLECTOR_HEAD = 2, /* words: the next object of its list, then the one before */
	COLLECTING = 2,
	LINK_FLAGS = 7,
};

enum link { UNLINKED, LINKED, ELSEWHERE };

/* Say whether the next object of the collector's list leads back to the one at an address. */
static enum link find_link(const struct words *core, const struct pages *pages, uint64_t address,
			   int64_t place)
{
	int64_t head = place - COLLECTOR_HEAD;
	uint64_t next;

	if (head < 0)
		return UNLINKED;
	next = word_at(core, head);
	if (!next || word_at(core, head + 1) & COLLECTING)
		return LINKED;
	head = place_of(core, pages, (next & ~(uint64_t)LINK_FLAGS) + WORD);
	if (head < 0)
		return ELSEWHERE;
	return (word_at(core, head) & ~(uint64_t)LINK_FLAGS) == address - COLLECTOR_HEAD * WORD ?
		LINKED : UNLINKED;
}

/* Objects, and the indices of those whose list goes on where the core is not. */
struct objects {
	uint64_t *addresses;
	int64_t *places, *rows, *rest;
	int64_t count, rest_count;
};

/* Add the object in a block, if there is one that is alive; there is room for one of each block. */
static void add_object(const struct words *core, const struct pages *pages,
		       const struct types *types, const struct references *references,
		       uint64_t address, int64_t place, int64_t bytes, struct objects *objects)
{
	int32_t row = recognise(core, types, references, place, bytes);
	enum link link;

	if (row < 0)
		return;
	address += (uint64_t)types->preheaders[row];
	place += types->preheaders[row] / WORD;
	link = types->listed[row] ? find_link(core, pages, address, place) : LINKED;
	if (link == UNLINKED)
		return;
	if (link == ELSEWHERE)
		objects->rest[objects->rest_count++] = objects->count;
	objects->addresses[objects->count] = address;
	objects->places[objects->count] = place;
	objects->rows[objects->count++] = row;
}

/* Which object begins at an address: see ObjectIndex of object_index.py. */
struct index {
	const int32_t *directory, *pages;
	uint64_t *bits;
	int32_t *ranks, *numbers;
	int64_t region_count, page_count, group_count, object_count;
};

/* Return the group of an address, -1 if it has none: no object is in the first page. */
static int64_t group_of(const struct index *index, uint64_t address)
{
	uint64_t region = address >> LOG2_REGION;
	int64_t at;

	if (address & ((1 << LOG2_OBJECT) - 1) || region >= (uint64_t)index->region_count)
		return -1;
	at = (int64_t)index->directory[region] * INDEXED_PAGES +
	     (int64_t)(address >> LOG2_INDEXED & (INDEXED_PAGES - 1));
	if (at < 0 || at >= index->page_count || index->pages[at] <= 0)
		return -1;
	at = (int64_t)index->pages[at] * INDEXED_GROUPS +
	     (int64_t)(address >> (LOG2_OBJECT + LOG2_GROUP) & (INDEXED_GROUPS - 1));
	return at >= index->group_count ? -1 : at;
}

/* As a processor counts them that need not have an instruction for it. */
static int32_t count_bits(uint64_t bits)
{
	bits -= bits >> 1 & 0x5555555555555555;
	bits = (bits & 0x3333333333333333) + (bits >> 2 & 0x3333333333333333);
	bits = (bits + (bits >> 4)) & 0x0f0f0f0f0f0f0f0f;
	return (int32_t)(bits * 0x0101010101010101 >> 56);
}

static uint64_t bit_of(uint64_t address)
{
	return (uint64_t)1 << (address >> LOG2_OBJECT & (GROUP_OBJECTS - 1));
}

/* Return how many objects lie in front of the one in a group, -1 if there is none. */
static int64_t rank_of(const struct index *index, int64_t group, uint64_t bit)
{
	int64_t rank;

	if (!(index->bits[group] & bit))
		return -1;
	rank = index->ranks[group] + count_bits(index->bits[group] & (bit - 1));
	return rank < 0 || rank >= index->object_count ? -1 : rank;
}

/* Return the number of the object that begins at an address, -1 if there is none. */
static int32_t number_of(const struct index *index, uint64_t address)
{
	int64_t group = group_of(index, address);
	int64_t rank = group < 0 ? -1 : rank_of(index, group, bit_of(address));

	return rank < 0 ? -1 : index->numbers[rank];
}

static void mark_objects(const struct index *index, const struct words *addresses)
{
	int64_t object, group;

	for (object = 0; object < addresses->count; object++) {
		uint64_t address = word_at(addresses, object);

		group = group_of(index, address);
		if (group >= 0)
			index->bits[group] |= bit_of(address);
	}
}

static void add_up_ranks(const struct index *index)
{
	int64_t group;
	int32_t rank = 0;

	for (group = 0; group < index->group_count; group++) {
		index->ranks[group] = rank;
		rank += count_bits(index->bits[group]);
	}
}

static void number_objects(const struct index *index, const struct words *addresses)
{
	int64_t object;

	for (object = 0; object < addresses->count; object++) {
		uint64_t address = word_at(addresses, object);
		int64_t group = group_of(index, address);
		int64_t rank = group < 0 ? -1 : rank_of(index, group, bit_of(address));

		if (rank >= 0)
			index->numbers[rank] = (int32_t)object;
	}
}

/* Words that objects own, row by row, as Part of parts.py has them, and how far they were read. */
struct part {
	const int32_t *owners;
	const uint64_t *begins;
	const int64_t *counts;
	int64_t rows, row, word;
	int64_t stride, width;
	uint64_t tags; /* bits that are not the address's */
};

static uint64_t address_in_part(const struct part *part, int64_t word)
{
	int64_t offset = word / part->width * part->stride + word % part->width;

	return part->begins[part->row] + (uint64_t)offset * WORD;
}

/* Say whether the core has all of a row: its first and last word, and the pages between them. */
static int has_row(const struct words *core, const struct pages *pages, const struct part *part)
{
	uint64_t address = part->begins[part->row];
	uint64_t last = address_in_part(part, part->counts[part->row] - 1);

	if (last < address || place_of(core, pages, last) < 0)
		return 0;
	for (; address < last; address = (address | (PAGE_WORDS * WORD - 1)) + 1)
		if (place_of(core, pages, address) < 0)
			return 0;
	return 1;
}

/* References from the objects sources to the objects targets, and rows that the core has not. */
struct found {
	int32_t *sources, *targets;
	int64_t *rest;
	int64_t count, room, rest_count;
};

/* Find the references in the row that is next, until there is no room for more. */
static void find_in_row(const struct words *core, const struct pages *pages,
			const struct index *index, struct part *part, struct found *found)
{
	int64_t words = part->counts[part->row];

	for (; part->word < words && found->count < found->room; part->word++) {
		int64_t place = place_of(core, pages, address_in_part(part, part->word));
		int32_t number = place < 0 ? -1 :
			number_of(index, word_at(core, place) & ~part->tags);

		if (number < 0)
			continue;
		found->sources[found->count] = part->owners[part->row];
		found->targets[found->count++] = number;
	}
	if (part->word >= words) {
		part->row++;
		part->word = 0;
	}
}

static void find_in_part(const struct words *core, const struct pages *pages,
			 const struct index *index, struct part *part, struct found *found)
{
	while (part->row < part->rows && found->count < found->room) {
		int64_t words = part->counts[part->row];

		if (words <= 0)
			part->row++;
		else if (words <= MOST_WORDS && (part->word || has_row(core, pages, part)))
			find_in_row(core, pages, index, part, found);
		else
			found->rest[found->rest_count++] = part->row++;
	}
}

static void release(Py_buffer *buffers, int count)
{
	while (count--)
		PyBuffer_Release(&buffers[count]);
}

static PyObject *unsound(void)
{
	PyErr_SetString(PyExc_ValueError, "the lengths of the arrays do not agree");
	return NULL;
}

static struct words words_of(const Py_buffer *file)
{
	return (struct words){file->buf, file->len / WORD};
}

/* Of five buffers; return 0 if the lengths of the last three do not agree. */
static int read_index(const Py_buffer *b, struct index *index)
{
	*index = (struct index){b[0].buf, b[1].buf, b[2].buf, b[3].buf, b[4].buf,
				b[0].len / ROW, b[1].len / ROW, b[2].len / WORD, b[4].len / ROW};
	return b[3].len / ROW == index->group_count && index->object_count <= INT32_MAX;
}

static PyObject *used_blocks(PyObject *Py_UNUSED(module), PyObject *arguments)
{
	Py_buffer b[8];
	Py_ssize_t size;
	struct words core;
	int64_t pool, pools, room, count = 0;
	PyObject *result;

	if (!PyArg_ParseTuple(arguments, "y*y*y*y*y*y*nw*w*", &b[0], &b[1], &b[2], &b[3], &b[4],
			      &b[5], &size, &b[6], &b[7]))
		return NULL;
	core = words_of(&b[0]);
	pools = b[1].len / WORD;
	room = b[6].len / WORD;
	if (b[2].len != b[1].len || b[3].len != b[1].len || b[4].len != b[1].len ||
	    b[5].len != b[1].len || b[7].len != b[6].len || size < LEAST_BLOCK || size % WORD) {
		release(b, 8);
		return unsound();
	}
	Py_BEGIN_ALLOW_THREADS
	for (pool = 0; pool < pools && count >= 0; pool++) {
		struct pool one = {
			((const uint64_t *)b[1].buf)[pool], ((const int64_t *)b[2].buf)[pool],
			((const int64_t *)b[3].buf)[pool], ((const int64_t *)b[4].buf)[pool],
			((const uint64_t *)b[5].buf)[pool],
		};
		int64_t more = list_used(&core, &one, size, (uint64_t *)b[6].buf + count,
					 (int64_t *)b[7].buf + count, room - count);

		count = more < 0 ? -1 : count + more;
	}
	Py_END_ALLOW_THREADS
	result = count < 0 ? unsound() : PyLong_FromLongLong(count);
	release(b, 8);
	return result;
}

static PyObject *objects_in_blocks(PyObject *Py_UNUSED(module), PyObject *arguments)
{
	Py_buffer b[14];
	Py_ssize_t in_front, bytes;
	unsigned long long some, none;
	struct words core;
	struct pages pages;
	struct types types;
	struct references references;
	struct objects objects;
	int64_t block, blocks;

	if (!PyArg_ParseTuple(arguments, "y*y*y*y*y*y*y*y*y*y*KKnnw*w*w*w*", &b[0], &b[1], &b[2],
			      &b[3], &b[4], &b[5], &b[6], &b[7], &b[8], &b[9], &some, &none,
			      &in_front, &bytes, &b[10], &b[11], &b[12], &b[13]))
		return NULL;
	core = words_of(&b[0]);
	pages = (struct pages){b[1].buf, b[2].buf, b[1].len / ROW, b[2].len / ROW};
	blocks = b[3].len / WORD;
	types = (struct types){b[5].buf, b[6].buf, b[7].buf, b[8].buf, b[9].buf, b[6].len / WORD};
	references = (struct references){some, none};
	objects = (struct objects){b[10].buf, b[11].buf, b[12].buf, b[13].buf, 0, 0};
	if (b[4].len != b[3].len || b[5].len != SLOTS * ROW || b[7].len != b[6].len ||
	    b[8].len != b[6].len || b[9].len != types.count || b[10].len != b[3].len ||
	    b[11].len != b[3].len || b[12].len != b[3].len || b[13].len != b[3].len) {
		release(b, 14);
		return unsound();
	}
	Py_BEGIN_ALLOW_THREADS
	for (block = 0; block < blocks; block++)
		add_object(&core, &pages, &types, &references,
			   ((const uint64_t *)b[3].buf)[block] + (uint64_t)in_front,
			   ((const int64_t *)b[4].buf)[block] + in_front / WORD, bytes, &objects);
	Py_END_ALLOW_THREADS
	release(b, 14);
	return Py_BuildValue("LL", (long long)objects.count, (long long)objects.rest_count);
}

static PyObject *rows_of_words(PyObject *Py_UNUSED(module), PyObject *arguments)
{
	Py_buffer b[4];
	struct words words;
	struct types types;
	int64_t word;

	if (!PyArg_ParseTuple(arguments, "y*y*y*w*", &b[0], &b[1], &b[2], &b[3]))
		return NULL;
	words = words_of(&b[0]);
	types = (struct types){.slots = b[1].buf, .addresses = b[2].buf, .count = b[2].len / WORD};
	if (b[1].len != SLOTS * ROW || b[3].len / ROW != words.count) {
		release(b, 4);
		return unsound();
	}
	Py_BEGIN_ALLOW_THREADS
	for (word = 0; word < words.count; word++)
		((int32_t *)b[3].buf)[word] = row_of(&types, word_at(&words, word));
	Py_END_ALLOW_THREADS
	release(b, 4);
	return Py_NewRef(Py_None);
}

static PyObject *places_of(PyObject *Py_UNUSED(module), PyObject *arguments)
{
	Py_buffer b[5];
	struct words core;
	struct pages pages;
	int64_t word, words;

	if (!PyArg_ParseTuple(arguments, "y*y*y*y*w*", &b[0], &b[1], &b[2], &b[3], &b[4]))
		return NULL;
	core = words_of(&b[0]);
	words = b[1].len / WORD;
	pages = (struct pages){b[2].buf, b[3].buf, b[2].len / ROW, b[3].len / ROW};
	if (b[4].len != b[1].len) {
		release(b, 5);
		return unsound();
	}
	Py_BEGIN_ALLOW_THREADS
	for (word = 0; word < words; word++)
		((int64_t *)b[4].buf)[word] =
			place_of(&core, &pages, ((const uint64_t *)b[1].buf)[word]);
	Py_END_ALLOW_THREADS
	release(b, 5);
	return Py_NewRef(Py_None);
}

static PyObject *index_objects(PyObject *Py_UNUSED(module), PyObject *arguments)
{
	Py_buffer b[6];
	struct words addresses;
	struct index index;

	if (!PyArg_ParseTuple(arguments, "y*y*y*w*w*w*", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5]))
		return NULL;
	addresses = words_of(&b[0]);
	if (!read_index(b + 1, &index) || index.object_count != addresses.count) {
		release(b, 6);
		return unsound();
	}
	Py_BEGIN_ALLOW_THREADS
	mark_objects(&index, &addresses);
	add_up_ranks(&index);
	number_objects(&index, &addresses);
	Py_END_ALLOW_THREADS
	release(b, 6);
	return Py_NewRef(Py_None);
}

static PyObject *numbers_of(PyObject *Py_UNUSED(module), PyObject *arguments)
{
	Py_buffer b[8];
	struct words words;
	struct index index;
	int64_t word, count = 0;

	if (!PyArg_ParseTuple(arguments, "y*y*y*y*y*y*w*w*", &b[0], &b[1], &b[2], &b[3], &b[4],
			      &b[5], &b[6], &b[7]))
		return NULL;
	words = words_of(&b[0]);
	if (!read_index(b + 1, &index) || b[6].len / WORD != words.count ||
	    b[7].len / ROW != words.count) {
		release(b, 8);
		return unsound();
	}
	Py_BEGIN_ALLOW_THREADS
	for (word = 0; word < words.count; word++) {
		int32_t number = number_of(&index, word_at(&words, word));

		if (number < 0)
			continue;
		((int64_t *)b[6].buf)[count] = word;
		((int32_t *)b[7].buf)[count++] = number;
	}
	Py_END_ALLOW_THREADS
	release(b, 8);
	return PyLong_FromLongLong(count);
}

static PyObject *references(PyObject *Py_UNUSED(module), PyObject *arguments)
{
	Py_buffer b[14];
	unsigned long long tags;
	Py_ssize_t stride, width, row, word;
	struct words core;
	struct pages pages;
	struct index index;
	struct part part;
	struct found found;

	if (!PyArg_ParseTuple(arguments, "y*y*y*y*y*y*y*y*y*y*y*nnKnnw*w*w*", &b[0], &b[1], &b[2],
			      &b[3], &b[4], &b[5], &b[6], &b[7], &b[8], &b[9], &b[10], &stride,
			      &width, &tags, &row, &word, &b[11], &b[12], &b[13]))
		return NULL;
	core = words_of(&b[0]);
	pages = (struct pages){b[1].buf, b[2].buf, b[1].len / ROW, b[2].len / ROW};
	part = (struct part){b[8].buf, b[9].buf, b[10].buf, b[8].len / ROW, row, word,
			     stride, width, tags};
	found = (struct found){b[11].buf, b[12].buf, b[13].buf, 0, b[11].len / ROW, 0};
	if (!read_index(b + 3, &index) || b[9].len / WORD != part.rows ||
	    b[10].len / WORD != part.rows || b[12].len != b[11].len ||
	    b[13].len / WORD != part.rows || width < 1 || stride < width ||
	    stride > MOST_STRIDE || row < 0 || word < 0) {
		release(b, 14);
		return unsound();
	}
	Py_BEGIN_ALLOW_THREADS
	find_in_part(&core, &pages, &index, &part, &found);
	Py_END_ALLOW_THREADS
	release(b, 14);
	return Py_BuildValue("LLLL", (long long)part.row, (long long)part.word,
			     (long long)found.count, (long long)found.rest_count);
}

static PyMethodDef methods[] = {
	{"used_blocks", used_blocks, METH_VARARGS,
	 "used_blocks(core, addresses, places, used, carved, free, size, block_addresses, "
	 "block_places): fill the last two with the blocks in use of pools; return their number."},
	{"objects_in_blocks", objects_in_blocks, METH_VARARGS,
	 "objects_in_blocks(core, regions, tables, addresses, places, slots, types, preheaders, "
	 "smallest, listed, some, none, in_front, size, objects, object_places, rows, rest): fill the "
	 "last four with the objects in blocks, and with the numbers of those of which the core does "
	 "not say whether they are in the collector's list. Return how many, and how many of these."},
	{"rows_of_words", rows_of_words, METH_VARARGS,
	 "rows_of_words(words, slots, types, rows): fill the last with the row of the type whose "
	 "address each word is, or -1."},
	{"places_of", places_of, METH_VARARGS,
	 "places_of(core, addresses, regions, tables, places): fill the last with the number of the "
	 "word of the core that is at each address, or -1."},
	{"index_objects", index_objects, METH_VARARGS,
	 "index_objects(addresses, directory, pages, bits, ranks, numbers): fill the last three, of "
	 "which the first has only zeros, with which objects are where."},
	{"numbers_of", numbers_of, METH_VARARGS,
	 "numbers_of(words, directory, pages, bits, ranks, numbers, places, found): fill the last two "
	 "with which words are addresses of objects, and the numbers of these; return how many."},
	{"references", references, METH_VARARGS,
	 "references(core, regions, tables, directory, pages, bits, ranks, numbers, owners, begins, "
	 "counts, stride, width, tags, row, word, sources, targets, rest): fill the last three with "
	 "references in words of a part, from a row and word of it on, and with rows that the core "
	 "has not. Return the row and word where it goes on, the number of references, and of rows."},
	{NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
	{0, NULL},
};

static struct PyModuleDef definition = {
	.m_base = PyModuleDef_HEAD_INIT,
	.m_name = "_blocks",
	.m_doc = "The blocks of a heap, the objects in them, and the addresses of these.",
	.m_methods = methods,
	.m_slots = slots,
};

PyMODINIT_FUNC PyInit__blocks(void)
{
	return PyModuleDef_Init(&definition);
}
