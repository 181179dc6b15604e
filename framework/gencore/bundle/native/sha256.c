/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-256 (FIPS 180-4) of two messages at once, by the instructions that x86-64 has for it.
 *
 * Each of these instructions waits for the one before it. Two messages in turns keep the processor
 * busy, and take little longer than one. Where there are no such instructions, AVAILABLE is false,
 * and who calls this uses hashlib. See docs/decisions/0032.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)
#define HAS_CODE 1
#include <cpuid.h>
#include <immintrin.h>
#else
#define HAS_CODE 0
#endif

enum {
	BLOCK = 64,
	DIGEST = 32,
	LENGTH = 8, /* of the number of bits, at the end of a message */
	LANES = 2,
};

/* A message, the part of it that is hashed next, and the hash so far. */
struct message {
	const uint8_t *data;
	size_t left;
	uint8_t tail[2 * BLOCK];
	size_t tail_size;
	uint32_t hash[DIGEST / 4];
};

#if HAS_CODE

#define SHA __attribute__((target("sha,sse4.1,ssse3")))

static const uint32_t CONSTANTS[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4,
	0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe,
	0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f,
	0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
	0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc,
	0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
	0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116,
	0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
	0xc67178f2,
};
static const uint32_t INITIAL[DIGEST / 4] = {
	0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

/* The eight words of a hash as the instructions want them, and the 16 words that come next. */
struct lane {
	__m128i abef, cdgh;
	__m128i words[4];
};

SHA static inline void load_hash(struct lane *lane, const uint32_t *hash)
{
	__m128i dcba = _mm_loadu_si128((const __m128i *)hash);
	__m128i hgfe = _mm_loadu_si128((const __m128i *)(hash + 4));
	__m128i cdab = _mm_shuffle_epi32(dcba, 0xb1);
	__m128i efgh = _mm_shuffle_epi32(hgfe, 0x1b);

	lane->abef = _mm_alignr_epi8(cdab, efgh, 8);
	lane->cdgh = _mm_blend_epi16(efgh, cdab, 0xf0);
}

SHA static inline void store_hash(const struct lane *lane, uint32_t *hash)
{
	__m128i feba = _mm_shuffle_epi32(lane->abef, 0x1b);
	__m128i dchg = _mm_shuffle_epi32(lane->cdgh, 0xb1);

	_mm_storeu_si128((__m128i *)hash, _mm_blend_epi16(feba, dchg, 0xf0));
	_mm_storeu_si128((__m128i *)(hash + 4), _mm_alignr_epi8(dchg, feba, 8));
}

SHA static inline void load_words(struct lane *lane, const uint8_t *block)
{
	const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);

	for (int i = 0; i < 4; i++) {
		__m128i words = _mm_loadu_si128((const __m128i *)block + i);

		lane->words[i] = _mm_shuffle_epi8(words, big_endian);
	}
}

/* Four rounds. *i* is a constant once the loop of the caller is unrolled. */
SHA static inline void four_rounds(struct lane *lane, int i)
{
	__m128i constants = _mm_loadu_si128((const __m128i *)(CONSTANTS + 4 * i));
	__m128i sum = _mm_add_epi32(lane->words[i % 4], constants);

	lane->cdgh = _mm_sha256rnds2_epu32(lane->cdgh, lane->abef, sum);
	sum = _mm_shuffle_epi32(sum, 0x0e);
	lane->abef = _mm_sha256rnds2_epu32(lane->abef, lane->cdgh, sum);
}

/* Replace the four words that four_rounds() has used by those for the rounds 16 later. */
SHA static inline void next_words(struct lane *lane, int i)
{
	__m128i *words = lane->words;
	__m128i newest = words[(i + 3) % 4];
	__m128i middle = _mm_alignr_epi8(newest, words[(i + 2) % 4], 4);
	__m128i next = _mm_sha256msg1_epu32(words[i % 4], words[(i + 1) % 4]);

	words[i % 4] = _mm_sha256msg2_epu32(_mm_add_epi32(next, middle), newest);
}

/* Hash *count* blocks of each of so many messages, which is a constant for the compiler. */
SHA static inline __attribute__((always_inline)) void
hash_blocks(struct message *const *messages, const int lanes, size_t count)
{
	const uint8_t *data[LANES];
	struct lane lane[LANES];
	int n, i;

	for (n = 0; n < lanes; n++) {
		data[n] = messages[n]->data;
		load_hash(&lane[n], messages[n]->hash);
	}
	for (; count; count--) {
		__m128i abef[LANES], cdgh[LANES];

		for (n = 0; n < lanes; n++) {
			abef[n] = lane[n].abef;
			cdgh[n] = lane[n].cdgh;
			load_words(&lane[n], data[n]);
			data[n] += BLOCK;
		}
#pragma GCC unroll 16
		for (i = 0; i < 16; i++) {
			for (n = 0; n < lanes; n++)
				four_rounds(&lane[n], i);
			for (n = 0; n < lanes && i < 12; n++)
				next_words(&lane[n], i);
		}
		for (n = 0; n < lanes; n++) {
			lane[n].abef = _mm_add_epi32(lane[n].abef, abef[n]);
			lane[n].cdgh = _mm_add_epi32(lane[n].cdgh, cdgh[n]);
		}
	}
	for (n = 0; n < lanes; n++) {
		messages[n]->left -= (size_t)(data[n] - messages[n]->data);
		messages[n]->data = data[n];
		store_hash(&lane[n], messages[n]->hash);
	}
}

SHA static void hash_one(struct message *message)
{
	hash_blocks(&message, 1, message->left / BLOCK);
}

/* Hash what both have, and then the rest of the longer one. */
SHA static void hash_two(struct message *first, struct message *second)
{
	struct message *both[LANES] = {first, second};
	size_t left = first->left < second->left ? first->left : second->left;

	hash_blocks(both, LANES, left / BLOCK);
	hash_one(first);
	hash_one(second);
}

/* Of code that ran before, isal's for one: each SSE instruction would wait for these halves. */
__attribute__((target("avx"))) static void clear_upper_halves(void)
{
	_mm256_zeroupper();
}

static int find_instructions(void)
{
	const unsigned int vectors = bit_SSSE3 | bit_SSE4_1;
	unsigned int eax, ebx, ecx, edx;

	__builtin_cpu_init();
	return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & vectors) == vectors &&
	       __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (ebx & bit_SHA);
}

static void add_to_tail(struct message *message, const uint8_t *data, size_t size)
{
	if (size)
		memcpy(message->tail + message->tail_size, data, size);
	message->tail_size += size;
}

/* Begin with the prefix and as much of the data as fills a block with it. Needs a whole block. */
static void begin(struct message *message, const Py_buffer *prefix, const Py_buffer *data)
{
	size_t room = BLOCK - (size_t)prefix->len;

	memcpy(message->hash, INITIAL, sizeof(INITIAL));
	message->tail_size = 0;
	add_to_tail(message, prefix->buf, (size_t)prefix->len);
	add_to_tail(message, data->buf, room);
	message->data = message->tail;
	message->left = BLOCK;
	hash_one(message);
	message->data = (const uint8_t *)data->buf + room;
	message->left = (size_t)data->len - room;
}

/* Hash what is left of it, with the padding and the length in bits of *size* bytes. */
static void end(struct message *message, size_t size, uint8_t *digest)
{
	size_t padded = message->left + 1 + LENGTH > BLOCK ? 2 * BLOCK : BLOCK;

	memset(message->tail, 0, sizeof(message->tail));
	memcpy(message->tail, message->data, message->left);
	message->tail[message->left] = 0x80;
	for (size_t i = 0; i < LENGTH; i++)
		message->tail[padded - 1 - i] = (uint8_t)((uint64_t)size * 8 >> 8 * i);
	message->data = message->tail;
	message->left = padded;
	hash_one(message);
	for (size_t i = 0; i < DIGEST; i++)
		digest[i] = (uint8_t)(message->hash[i / 4] >> (24 - 8 * (i % 4)));
}

static void hash_messages(const Py_buffer *prefix, const Py_buffer *data, uint8_t *digests)
{
	struct message messages[LANES];
	int n;

	if (__builtin_cpu_supports("avx"))
		clear_upper_halves();
	for (n = 0; n < LANES; n++)
		begin(&messages[n], prefix, &data[n]);
	hash_two(&messages[0], &messages[1]);
	for (n = 0; n < LANES; n++)
		end(&messages[n], (size_t)(prefix->len + data[n].len), digests + n * DIGEST);
}

#else

static int find_instructions(void)
{
	return 0;
}

static void hash_messages(const Py_buffer *prefix, const Py_buffer *data, uint8_t *digests)
{
	(void)prefix, (void)data, (void)digests;
}

#endif

/* The same in each interpreter. */
static int available;

static PyObject *hashed(const Py_buffer *prefix, const Py_buffer *data)
{
	uint8_t digests[LANES * DIGEST];

	if (!available || prefix->len > BLOCK || data[0].len < BLOCK || data[1].len < BLOCK) {
		PyErr_SetString(PyExc_ValueError,
				"not available, a message is too short, or the prefix too long");
		return NULL;
	}
	Py_BEGIN_ALLOW_THREADS
	hash_messages(prefix, data, digests);
	Py_END_ALLOW_THREADS
	return Py_BuildValue("y#y#", digests, (Py_ssize_t)DIGEST, digests + DIGEST, (Py_ssize_t)DIGEST);
}

static PyObject *two(PyObject *module, PyObject *args)
{
	Py_buffer prefix, data[LANES];
	PyObject *result;

	(void)module;
	if (!PyArg_ParseTuple(args, "y*y*y*", &prefix, &data[0], &data[1]))
		return NULL;
	result = hashed(&prefix, data);
	PyBuffer_Release(&prefix);
	PyBuffer_Release(&data[0]);
	PyBuffer_Release(&data[1]);
	return result;
}

static PyMethodDef methods[] = {
	{"two", two, METH_VARARGS,
	 "two(prefix, first, second): return the SHA-256 of prefix and first, and of prefix and "
	 "second, without the GIL. The prefix has 64 bytes at most, the others at least."},
	{NULL, NULL, 0, NULL},
};

static int execute(PyObject *module)
{
	available = find_instructions();
	return PyModule_AddObjectRef(module, "AVAILABLE", available ? Py_True : Py_False);
}

static PyModuleDef_Slot slots[] = {
	{Py_mod_exec, execute},
	{0, NULL},
};

static struct PyModuleDef definition = {
	.m_base = PyModuleDef_HEAD_INIT,
	.m_name = "_sha256",
	.m_doc = "SHA-256 of two messages at once.",
	.m_methods = methods,
	.m_slots = slots,
};

PyMODINIT_FUNC PyInit__sha256(void)
{
	return PyModuleDef_Init(&definition);
}
