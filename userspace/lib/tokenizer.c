// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * tokenizer.c - see tokenizer.h
 *
 * Both kinds of vocabulary are turned into plain bytes when loaded: a token is the text it stands
 * for, not the printable alphabet of GPT-2 nor SentencePiece's U+2581 for a space. From there on
 * they share one merge loop, which repeatedly joins the best pair of neighbours; they differ in
 * what makes a pair good (its rank in the list of merges, or the score of the token it forms).
 *
 * A symbol is a string that takes part in merges: tokens come first, with their id, behind them the
 * rare strings that occur in merges without being tokens.
 */
#define _GNU_SOURCE 1

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "pretokenizer.h"
#include "tokenizer.h"
#include "utf8.h"

#define NONE			BITNET_TOKEN_NONE
#define LLAMA3_VOCAB		128256
#define MAX_STOPS		16
#define MAX_TEXT_BYTES		INT32_MAX
/* Looking for control tokens in a text costs up to this per byte. */
#define MAX_SPECIAL_BYTES	512

/* Key of neighbours that do not merge. */
#define KEY_NEVER		UINT32_MAX

/* struct symbol - bytes [@off, @off + @len) of the pool */
struct symbol {
	uint32_t off;
	uint32_t len;
};

/* struct merge - how @left and @right become @result; @key: smaller goes first */
struct merge {
	uint32_t left;		/* NONE: empty slot */
	uint32_t right;
	uint32_t key;
	uint32_t result;
};

/*
 * struct special_set - tokens to be found in a text as they are written
 * @ids:   sorted by their bytes
 * @first: bytes that one of them starts with
 */
struct special_set {
	uint32_t *ids;
	size_t n;
	bool first[256];
};

struct bitnet_tokenizer {
	bool sentencepiece;
	bool add_bos;
	bool add_eos;
	bool add_space_prefix;
	bool split_at_spaces;	/* no token has a space behind a letter */
	uint32_t bos;
	uint32_t eos;
	uint32_t eot;
	uint32_t unk;
	uint32_t stops[MAX_STOPS];
	size_t n_stops;
	struct bitnet_pretokenizer *pre;
	char *warning;

	uint32_t n_tokens;
	uint8_t *kinds;		/* of tokens */
	uint32_t *score_keys;	/* of tokens: key of a merge that forms it; sentencepiece only */
	uint32_t longest;	/* bytes of the longest token */

	uint32_t n_symbols;
	uint32_t cap_symbols;
	struct symbol *symbols;
	char *pool;
	size_t pool_len;
	size_t pool_cap;

	/* Open addressing: the upper half of a slot is a hash, the lower half a symbol + 1. */
	uint64_t *slots;
	uint32_t n_slots;
	uint32_t n_used;
	/* Keys hashes, so that no model file can be made to collide. */
	uint64_t seed;

	struct merge *merges;	/* hash table by (left, right) */
	uint32_t n_merge_slots;
	uint32_t byte_symbol[256];
	uint32_t byte_token[256];	/* NONE: no token stands for this byte alone */

	struct special_set specials;	/* control and user-defined tokens */
	struct special_set user_defined;
};

/* ---- lists and tables ---- */

/* Make room for one more element; doubling keeps the cost per element constant. */
static int grow(void *array, size_t *cap, size_t n, size_t elem_bytes)
{
	size_t new_cap = *cap ? *cap : 16;
	void **p = array;
	void *bigger;

	while (new_cap <= n)
		new_cap *= 2;
	if (new_cap == *cap)
		return 0;
	bigger = reallocarray(*p, new_cap, elem_bytes);
	if (!bigger)
		return -ENOMEM;
	*p = bigger;
	*cap = new_cap;
	return 0;
}

int bitnet_tokens_push(struct bitnet_tokens *t, uint32_t id)
{
	if (grow(&t->ids, &t->cap, t->n, sizeof(*t->ids)))
		return -ENOMEM;
	t->ids[t->n++] = id;
	return 0;
}

void bitnet_tokens_free(struct bitnet_tokens *t)
{
	free(t->ids);
	memset(t, 0, sizeof(*t));
}

static uint64_t mix(uint64_t h)
{
	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93u;	/* an odd constant with good avalanche */
	h ^= h >> 32;
	return h;
}

static uint32_t hash_bytes(uint64_t seed, const char *s, size_t len)
{
	uint64_t h = seed ^ len;
	uint64_t w;

	for (; len > 8; s += 8, len -= 8) {
		memcpy(&w, s, 8);
		h = mix(h ^ w) + seed;
	}
	w = 0;
	memcpy(&w, s, len);
	return mix(mix(h ^ w) + seed) >> 32;
}

static uint32_t hash_pair(uint64_t seed, uint32_t left, uint32_t right)
{
	return mix(mix(seed ^ ((uint64_t)left << 32 | right)) + seed) >> 32;
}

static const char *symbol_bytes(const struct bitnet_tokenizer *tok, uint32_t id)
{
	return tok->pool + tok->symbols[id].off;
}

/* The slot that holds the string, or the empty one where it belongs. */
static uint64_t *find_slot(const struct bitnet_tokenizer *tok, uint32_t hash, const char *s,
			   size_t len)
{
	for (uint32_t i = hash;; i++) {
		uint64_t *slot = &tok->slots[i & (tok->n_slots - 1)];
		uint32_t id = (uint32_t)*slot - 1;

		if (!*slot)
			return slot;
		if (*slot >> 32 == hash && tok->symbols[id].len == len &&
		    !memcmp(symbol_bytes(tok, id), s, len))
			return slot;
	}
}

/* The symbol with these bytes, or NONE. */
static uint32_t find_symbol(const struct bitnet_tokenizer *tok, const char *s, size_t len)
{
	uint64_t slot = *find_slot(tok, hash_bytes(tok->seed, s, len), s, len);

	return (uint32_t)slot - 1;	/* an empty slot, 0, gives NONE */
}

/* The token with these bytes that plain text may become, or NONE. */
static uint32_t find_token(const struct bitnet_tokenizer *tok, const char *s, size_t len)
{
	uint32_t id = find_symbol(tok, s, len);

	return id < tok->n_tokens ? id : NONE;
}

/*
 * Append a symbol that find_symbol() does not find yet. Numbers and offsets fit into 32 bits: all
 * strings come from a header of at most BITNET_GGUF_MAX_HEADER_BYTES, and none is used three times.
 */
static int append_symbol(struct bitnet_tokenizer *tok, const char *s, size_t len)
{
	size_t cap = tok->cap_symbols;
	size_t pool_cap = tok->pool_cap;

	if (grow(&tok->symbols, &cap, tok->n_symbols, sizeof(*tok->symbols)))
		return -ENOMEM;
	tok->cap_symbols = cap;
	if (grow(&tok->pool, &pool_cap, tok->pool_len + len, 1))
		return -ENOMEM;
	tok->pool_cap = pool_cap;
	if (len)
		memcpy(tok->pool + tok->pool_len, s, len);
	tok->symbols[tok->n_symbols].off = tok->pool_len;
	tok->symbols[tok->n_symbols].len = len;
	tok->pool_len += len;
	tok->n_symbols++;
	return 0;
}

/* Twice the slots. */
static int grow_slots(struct bitnet_tokenizer *tok)
{
	uint32_t n = tok->n_slots ? 2 * tok->n_slots : 1024;
	uint64_t *slots = calloc(n, sizeof(*slots));

	if (!slots)
		return -ENOMEM;
	for (uint32_t i = 0; i < tok->n_slots; i++) {
		uint32_t j = tok->slots[i] >> 32;

		if (!tok->slots[i])
			continue;
		while (slots[j & (n - 1)])
			j++;
		slots[j & (n - 1)] = tok->slots[i];
	}
	free(tok->slots);
	tok->slots = slots;
	tok->n_slots = n;
	return 0;
}

/* Let find_symbol() find symbol @id. The first of two with the same bytes stays. */
static int index_symbol(struct bitnet_tokenizer *tok, uint32_t id)
{
	const char *s = symbol_bytes(tok, id);
	size_t len = tok->symbols[id].len;
	uint64_t *slot;
	uint32_t hash;

	if (!len)
		return 0;
	if (2 * tok->n_used >= tok->n_slots && grow_slots(tok))
		return -ENOMEM;
	hash = hash_bytes(tok->seed, s, len);
	slot = find_slot(tok, hash, s, len);
	if (!*slot) {
		*slot = (uint64_t)hash << 32 | (id + 1);
		tok->n_used++;
	}
	return 0;
}

/* The symbol with these bytes, a new one if there is none. */
static int intern(struct bitnet_tokenizer *tok, const char *s, size_t len, uint32_t *id)
{
	int ret;

	*id = find_symbol(tok, s, len);
	if (*id != NONE)
		return 0;
	*id = tok->n_symbols;
	ret = append_symbol(tok, s, len);
	return ret ? ret : index_symbol(tok, *id);
}

static struct merge *find_merge(const struct bitnet_tokenizer *tok, uint32_t left, uint32_t right)
{
	for (uint32_t i = hash_pair(tok->seed, left, right);; i++) {
		struct merge *m = &tok->merges[i & (tok->n_merge_slots - 1)];

		if (m->left == NONE || (m->left == left && m->right == right))
			return m;
	}
}

/* ---- loading a vocabulary ---- */

/*
 * struct loader - what loading needs besides the result
 * @buf: space for the bytes of one token or merge
 */
struct loader {
	const struct bitnet_gguf *g;
	struct bitnet_tokenizer *tok;
	struct bitnet_error *err;
	char *buf;
	size_t buf_cap;
};

/* The vocabulary is inconsistent: say so, with the file's name in front. */
#define bad_vocabulary(l, fmt, ...) \
	bitnet_error_set((l)->err, EBADMSG, "%s: " fmt, bitnet_gguf_name((l)->g), ##__VA_ARGS__)

static int no_memory(struct loader *l)
{
	return bitnet_error_set(l->err, ENOMEM, "%s: no memory for the tokenizer",
				bitnet_gguf_name(l->g));
}

/* Code point of GPT-2's printable alphabet to byte, or -1. */
static int alphabet_byte(uint32_t cp)
{
	if ((cp >= 0x21 && cp <= 0x7e) || (cp >= 0xa1 && cp <= 0xac) || (cp >= 0xae && cp <= 0xff))
		return cp;
	/* the others are numbered from 0x100 on, in order: 00-20, 7f-a0, ad */
	if (cp >= 0x100 && cp <= 0x120)
		return cp - 0x100;
	if (cp >= 0x121 && cp <= 0x142)
		return cp - 0x121 + 0x7f;
	return cp == 0x143 ? 0xad : -1;
}

/* Write the bytes that @s spells in GPT-2's alphabet to @out; -1 if it is not written in it. */
static ssize_t decode_alphabet(const char *s, size_t len, char *out)
{
	ssize_t n = 0;
	uint32_t cp;
	int byte, used;

	for (size_t i = 0; i < len; i += used) {
		used = bitnet_utf8_scan(s + i, len - i, &cp);
		byte = used > 0 ? alphabet_byte(cp) : -1;
		if (byte < 0)
			return -1;
		out[n++] = byte;
	}
	return n;
}

/* Copy @s to @out with a space for each U+2581. */
static size_t decode_spaces(const char *s, size_t len, char *out)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		if (len - i >= 3 && !memcmp(s + i, "\xe2\x96\x81", 3)) {
			out[n++] = ' ';
			i += 2;
		} else {
			out[n++] = s[i];
		}
	}
	return n;
}

/* The byte of a token named like <0x0A>, or -1. */
static int named_byte(const struct bitnet_gguf_str *s)
{
	char digits[3];

	if (s->len != 6 || memcmp(s->s, "<0x", 3) || s->s[5] != '>' ||
	    !isxdigit((unsigned char)s->s[3]) || !isxdigit((unsigned char)s->s[4]))
		return -1;
	memcpy(digits, s->s + 3, 2);
	digits[2] = '\0';
	return strtol(digits, NULL, 16);
}

static bool looks_like_control(const struct bitnet_gguf_str *s)
{
	return s->len > 4 && !memcmp(s->s, "<|", 2) && !memcmp(s->s + s->len - 2, "|>", 2);
}

static bool is_special(uint32_t kind)
{
	return kind == BITNET_TOKEN_CONTROL || kind == BITNET_TOKEN_UNKNOWN ||
	       kind == BITNET_TOKEN_USER_DEFINED;
}

/* Add the next token, of @kind, in the form described at the top of this file. */
static int add_token(struct loader *l, const struct bitnet_gguf_str *s, uint32_t kind)
{
	struct bitnet_tokenizer *tok = l->tok;
	uint32_t id = tok->n_symbols;
	const char *bytes = s->s;
	ssize_t len = -1;
	int byte = -1;
	int ret;

	if (grow(&l->buf, &l->buf_cap, s->len, 1))
		return -ENOMEM;
	if (kind == BITNET_TOKEN_USER_DEFINED && looks_like_control(s))
		kind = BITNET_TOKEN_CONTROL;
	if (tok->sentencepiece && (!is_special(kind) || kind == BITNET_TOKEN_USER_DEFINED)) {
		byte = is_special(kind) ? -1 : named_byte(s);
		if (byte >= 0) {
			kind = BITNET_TOKEN_BYTE;
			l->buf[0] = byte;
			len = 1;
		} else {
			len = decode_spaces(s->s, s->len, l->buf);
		}
		bytes = l->buf;
	} else if (!is_special(kind)) {
		len = decode_alphabet(s->s, s->len, l->buf);
		if (len >= 0)
			bytes = l->buf;
	}
	if (len < 0)
		len = s->len;
	if (is_special(kind) && len > MAX_SPECIAL_BYTES)
		return bad_vocabulary(l, "special token %u has %zd bytes, at most %d are allowed",
				      id, len, MAX_SPECIAL_BYTES);
	tok->kinds[id] = kind;
	if (byte >= 0)
		tok->byte_token[byte] = id;
	if ((uint32_t)len > tok->longest)
		tok->longest = len;
	ret = append_symbol(tok, bytes, len);
	/* plain text never becomes a control token, however it is spelled */
	if (!ret && (kind == BITNET_TOKEN_NORMAL || kind == BITNET_TOKEN_USER_DEFINED ||
		     kind == BITNET_TOKEN_UNUSED))
		ret = index_symbol(tok, id);
	return ret;
}

/* An array of one number for each token; absent: -ENOENT. */
static int get_token_array(struct loader *l, const char *key, struct bitnet_gguf_array *a)
{
	int ret = bitnet_gguf_get_array(l->g, key, a);

	if (ret == -ENOENT)
		return ret;
	if (ret || a->count != l->tok->n_tokens)
		return bad_vocabulary(l, "%s is no array of %u numbers", key, l->tok->n_tokens);
	return 0;
}

static int load_tokens(struct loader *l)
{
	struct bitnet_tokenizer *tok = l->tok;
	struct bitnet_gguf_array tokens, kinds;
	struct bitnet_gguf_str s;
	int64_t kind = BITNET_TOKEN_NORMAL;
	bool has_kinds;
	int ret;

	ret = bitnet_gguf_get_array(l->g, "tokenizer.ggml.tokens", &tokens);
	if (ret || tokens.type != BITNET_GGUF_STRING || !tokens.count)
		return bad_vocabulary(l, "tokenizer.ggml.tokens is no array of strings");
	tok->n_tokens = tokens.count;
	ret = get_token_array(l, "tokenizer.ggml.token_type", &kinds);
	if (ret && ret != -ENOENT)
		return ret;
	has_kinds = !ret;
	tok->kinds = calloc(tok->n_tokens, sizeof(*tok->kinds));
	if (!tok->kinds || grow_slots(tok))
		return no_memory(l);
	for (uint32_t i = 0; i < tok->n_tokens; i++) {
		bitnet_gguf_array_next_str(&tokens, &s);
		if (has_kinds && (bitnet_gguf_array_i64(&kinds, i, &kind) ||
				  kind < BITNET_TOKEN_NORMAL || kind > BITNET_TOKEN_BYTE))
			return bad_vocabulary(l, "token %u is of no known type", i);
		ret = add_token(l, &s, kind);
		if (ret == -ENOMEM)
			return no_memory(l);
		if (ret)
			return ret;
	}
	return 0;
}

/* Turn scores into keys: unsigned integers in falling order of the floats. */
static int load_scores(struct loader *l)
{
	struct bitnet_tokenizer *tok = l->tok;
	struct bitnet_gguf_array scores;
	uint32_t bits;
	double v;
	float f;
	int ret;

	ret = get_token_array(l, "tokenizer.ggml.scores", &scores);
	if (ret == -ENOENT)
		return bad_vocabulary(l, "llama vocabulary without tokenizer.ggml.scores");
	if (ret)
		return ret;
	tok->score_keys = calloc(tok->n_tokens, sizeof(*tok->score_keys));
	if (!tok->score_keys)
		return no_memory(l);
	for (uint32_t i = 0; i < tok->n_tokens; i++) {
		if (bitnet_gguf_array_f64(&scores, i, &v) || v != v)
			return bad_vocabulary(l, "the score of token %u is no number", i);
		f = (float)v + 0.0f;	/* no negative zero */
		memcpy(&bits, &f, sizeof(bits));
		bits = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
		tok->score_keys[i] = ~bits;
	}
	return 0;
}

/* May a text be cut in front of every space that follows something else, with the same result? */
static bool can_split_at_spaces(const struct bitnet_tokenizer *tok)
{
	for (uint32_t id = 0; id < tok->n_tokens; id++) {
		const char *s = symbol_bytes(tok, id);

		if (tok->kinds[id] != BITNET_TOKEN_NORMAL &&
		    tok->kinds[id] != BITNET_TOKEN_UNUSED &&
		    tok->kinds[id] != BITNET_TOKEN_USER_DEFINED)
			continue;
		for (uint32_t i = 1; i < tok->symbols[id].len; i++)
			if (s[i] == ' ' && s[i - 1] != ' ')
				return false;
	}
	return true;
}

static int bad_merge(struct loader *l, uint64_t rank)
{
	return bad_vocabulary(l, "merge %llu is not two words of GPT-2's alphabet",
			      (unsigned long long)rank);
}

/* Enter "A B", merge number @rank, into the table. The first of two equal ones counts. */
static int add_merge(struct loader *l, const struct bitnet_gguf_str *s, uint32_t rank)
{
	struct bitnet_tokenizer *tok = l->tok;
	const char *space = s->len ? memchr(s->s + 1, ' ', s->len - 1) : NULL;
	uint32_t left, right, result;
	ssize_t n_left, n_right;
	struct merge *m;
	int ret;

	if (!space)
		return bad_merge(l, rank);
	if (grow(&l->buf, &l->buf_cap, s->len, 1))
		return -ENOMEM;
	n_left = decode_alphabet(s->s, space - s->s, l->buf);
	if (n_left <= 0)
		return bad_merge(l, rank);
	n_right = decode_alphabet(space + 1, s->s + s->len - space - 1, l->buf + n_left);
	if (n_right <= 0)
		return bad_merge(l, rank);
	ret = intern(tok, l->buf, n_left, &left);
	if (!ret)
		ret = intern(tok, l->buf + n_left, n_right, &right);
	if (!ret)
		ret = intern(tok, l->buf, n_left + n_right, &result);
	if (ret)
		return ret;
	m = find_merge(tok, left, right);
	if (m->left == NONE)
		*m = (struct merge){ .left = left, .right = right, .key = rank, .result = result };
	return 0;
}

static int load_merges(struct loader *l)
{
	struct bitnet_tokenizer *tok = l->tok;
	struct bitnet_gguf_array merges;
	struct bitnet_gguf_str s;
	uint32_t rank = 0;
	int ret;

	ret = bitnet_gguf_get_array(l->g, "tokenizer.ggml.merges", &merges);
	if (ret || merges.type != BITNET_GGUF_STRING)
		return bad_vocabulary(l, "gpt2 vocabulary without tokenizer.ggml.merges");
	for (tok->n_merge_slots = 16; tok->n_merge_slots < 2 * merges.count;)
		tok->n_merge_slots *= 2;
	tok->merges = malloc(tok->n_merge_slots * sizeof(*tok->merges));
	if (!tok->merges)
		return no_memory(l);
	memset(tok->merges, 0xff, tok->n_merge_slots * sizeof(*tok->merges));
	while (bitnet_gguf_array_next_str(&merges, &s)) {
		ret = add_merge(l, &s, rank++);
		if (ret == -ENOMEM)
			return no_memory(l);
		if (ret)
			return ret;
	}
	for (int b = 0; b < 256; b++) {
		char c = b;

		if (intern(tok, &c, 1, &tok->byte_symbol[b]))
			return no_memory(l);
		tok->byte_token[b] = find_token(tok, &c, 1);
	}
	return 0;
}

static int compare_specials(const void *a, const void *b, void *arg)
{
	const struct bitnet_tokenizer *tok = arg;
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	uint32_t len_x = tok->symbols[x].len, len_y = tok->symbols[y].len;
	int d = memcmp(symbol_bytes(tok, x), symbol_bytes(tok, y), len_x < len_y ? len_x : len_y);

	if (d)
		return d;
	if (len_x != len_y)
		return len_x < len_y ? -1 : 1;
	return x < y ? -1 : 1;
}

static int fill_set(struct bitnet_tokenizer *tok, struct special_set *set, bool control)
{
	size_t cap = 0;

	for (uint32_t id = 0; id < tok->n_tokens; id++) {
		if (!tok->symbols[id].len || !is_special(tok->kinds[id]) ||
		    (!control && tok->kinds[id] != BITNET_TOKEN_USER_DEFINED))
			continue;
		if (grow(&set->ids, &cap, set->n, sizeof(*set->ids)))
			return -ENOMEM;
		set->ids[set->n++] = id;
		set->first[(unsigned char)*symbol_bytes(tok, id)] = true;
	}
	if (set->n)
		qsort_r(set->ids, set->n, sizeof(*set->ids), compare_specials, tok);
	return 0;
}

static unsigned char byte_at(const struct bitnet_tokenizer *tok, uint32_t id, size_t k)
{
	return symbol_bytes(tok, id)[k];
}

/*
 * The longest token of @set that the text starts with, or NONE. [lo, hi) are the tokens that share
 * the first k bytes with the text; sorted, those that end there come first.
 */
static uint32_t match_special(const struct bitnet_tokenizer *tok, const struct special_set *set,
			      const char *s, size_t len)
{
	size_t lo = 0, hi = set->n;
	uint32_t best = NONE;

	for (size_t k = 0; lo < hi; k++) {
		unsigned char c;
		size_t end, mid;

		if (tok->symbols[set->ids[lo]].len == k) {
			best = set->ids[lo];
			while (lo < hi && tok->symbols[set->ids[lo]].len == k)
				lo++;
		}
		if (k == len)
			break;
		c = s[k];
		for (end = hi; lo < end;) {
			mid = lo + (end - lo) / 2;
			if (byte_at(tok, set->ids[mid], k) < c)
				lo = mid + 1;
			else
				end = mid;
		}
		for (end = lo; end < hi;) {
			mid = end + (hi - end) / 2;
			if (byte_at(tok, set->ids[mid], k) > c)
				hi = mid;
			else
				end = mid + 1;
		}
	}
	return best;
}

uint32_t bitnet_tokenizer_find(const struct bitnet_tokenizer *tok, const char *name)
{
	size_t len = strlen(name);
	uint32_t id = match_special(tok, &tok->specials, name, len);

	return id != NONE && tok->symbols[id].len == len ? id : NONE;
}

/* A token id that the file names; *@id is the default if it does not. */
static int load_id(struct loader *l, const char *key, uint32_t *id)
{
	int ret = bitnet_gguf_get_u32(l->g, key, id);

	if (ret == -ENOENT)
		return 0;
	if (ret || *id >= l->tok->n_tokens)
		return bad_vocabulary(l, "%s is no token of the %u there are", key,
				      l->tok->n_tokens);
	return 0;
}

static int load_flag(struct loader *l, const char *key, bool *flag)
{
	int ret = bitnet_gguf_get_bool(l->g, key, flag);

	if (ret == -ENOENT)
		return 0;
	if (ret)
		return bad_vocabulary(l, "%s is neither true nor false", key);
	return 0;
}

static void add_stop(struct bitnet_tokenizer *tok, uint32_t id)
{
	if (id == NONE)
		return;
	for (size_t i = 0; i < tok->n_stops; i++)
		if (tok->stops[i] == id)
			return;
	tok->stops[tok->n_stops++] = id;
}

static void find_stops(struct bitnet_tokenizer *tok)
{
	static const char *const turn_ends[] = { "<|eot_id|>", "<|im_end|>", "<end_of_turn>" };
	static const char *const text_ends[] = { "<|end_of_text|>", "<|endoftext|>", "<|eom_id|>" };

	for (size_t i = 0; i < 3 && tok->eot == NONE; i++)
		tok->eot = bitnet_tokenizer_find(tok, turn_ends[i]);
	add_stop(tok, tok->eos);
	add_stop(tok, tok->eot);
	for (size_t i = 0; i < 3; i++) {
		add_stop(tok, bitnet_tokenizer_find(tok, turn_ends[i]));
		add_stop(tok, bitnet_tokenizer_find(tok, text_ends[i]));
	}
}

/* Tokens and flags with a meaning; llama.cpp's defaults for what the file leaves open. */
static int load_meanings(struct loader *l)
{
	struct bitnet_tokenizer *tok = l->tok;
	bool defaults = tok->sentencepiece && tok->n_tokens > 2;
	int ret;

	tok->unk = defaults ? 0 : NONE;
	tok->bos = defaults ? 1 : NONE;
	tok->eos = defaults ? 2 : NONE;
	tok->eot = NONE;
	tok->add_space_prefix = tok->sentencepiece;
	ret = load_id(l, "tokenizer.ggml.bos_token_id", &tok->bos);
	if (!ret)
		ret = load_id(l, "tokenizer.ggml.eos_token_id", &tok->eos);
	if (!ret)
		ret = load_id(l, "tokenizer.ggml.eot_token_id", &tok->eot);
	if (!ret)
		ret = load_id(l, "tokenizer.ggml.unknown_token_id", &tok->unk);
	if (!ret)
		ret = load_flag(l, "tokenizer.ggml.add_space_prefix", &tok->add_space_prefix);
	tok->add_bos = tok->bos != NONE &&
		       (tok->sentencepiece || bitnet_pretokenizer_whole_words(tok->pre));
	if (!ret)
		ret = load_flag(l, "tokenizer.ggml.add_bos_token", &tok->add_bos);
	if (!ret)
		ret = load_flag(l, "tokenizer.ggml.add_eos_token", &tok->add_eos);
	if (ret)
		return ret;
	if ((tok->add_bos && tok->bos == NONE) || (tok->add_eos && tok->eos == NONE))
		return bad_vocabulary(l, "wants a BOS or EOS that it does not name");
	if (fill_set(tok, &tok->specials, true) || fill_set(tok, &tok->user_defined, false))
		return no_memory(l);
	find_stops(tok);
	return 0;
}

static int load_pretokenizer(struct loader *l, const char *override)
{
	struct bitnet_gguf_str s = { .s = "default", .len = 7 };
	char name[64];
	int ret;

	ret = bitnet_gguf_get_str(l->g, "tokenizer.ggml.pre", &s);
	if (override) {
		s.s = override;
		s.len = strlen(override);
	} else if (ret == -ENOENT && l->tok->n_tokens == LLAMA3_VOCAB) {
		s.s = "llama-bpe";
		s.len = 9;
	} else if (ret == -ENOENT) {
		ret = asprintf(&l->tok->warning,
			       "%s names no pre-tokenizer: took \"default\", answers may be worse",
			       bitnet_gguf_name(l->g));
		if (ret < 0) {
			l->tok->warning = NULL;
			return no_memory(l);
		}
	} else if (ret) {
		return bad_vocabulary(l, "tokenizer.ggml.pre is no string");
	}
	snprintf(name, sizeof(name), "%.*s", (int)(s.len < sizeof(name) ? s.len : sizeof(name) - 1),
		 s.s);
	return bitnet_pretokenizer_new(name, &l->tok->pre, l->err);
}

static int load(struct loader *l, const char *override_pre)
{
	struct bitnet_tokenizer *tok = l->tok;
	struct bitnet_gguf_str model;
	int ret;

	ret = bitnet_gguf_get_str(l->g, "tokenizer.ggml.model", &model);
	if (ret)
		return bitnet_error_set(l->err, ENOENT, "%s: no tokenizer", bitnet_gguf_name(l->g));
	tok->sentencepiece = model.len == 5 && !memcmp(model.s, "llama", 5);
	if (!tok->sentencepiece && !(model.len == 4 && !memcmp(model.s, "gpt2", 4)))
		return bitnet_error_set(
			l->err, ENOTSUP, "%s: tokenizer model %.*s, gpt2 and llama are supported",
			bitnet_gguf_name(l->g), model.len < 64 ? (int)model.len : 64, model.s);
	if (tok->sentencepiece && override_pre)
		return bitnet_error_set(l->err, ENOTSUP,
					"%s: a llama vocabulary takes no pre-tokenizer",
					bitnet_gguf_name(l->g));
	ret = load_tokens(l);
	if (ret)
		return ret;
	if (tok->sentencepiece) {
		ret = load_scores(l);
		tok->split_at_spaces = can_split_at_spaces(tok);
	} else {
		ret = load_merges(l);
		if (!ret)
			ret = load_pretokenizer(l, override_pre);
	}
	return ret ? ret : load_meanings(l);
}

int bitnet_tokenizer_from_gguf(const struct bitnet_gguf *g, const char *override_pre,
			       struct bitnet_tokenizer **out, struct bitnet_error *err)
{
	struct loader l = { .g = g, .err = err };
	int ret;

	l.tok = calloc(1, sizeof(*l.tok));
	if (!l.tok)
		return no_memory(&l);
	memset(l.tok->byte_token, 0xff, sizeof(l.tok->byte_token));
	/* without entropy so early in the boot, hashes are only not secret */
	if (getrandom(&l.tok->seed, sizeof(l.tok->seed), GRND_NONBLOCK) < 0)
		l.tok->seed = 0;
	ret = load(&l, override_pre);
	free(l.buf);
	if (ret) {
		bitnet_tokenizer_free(l.tok);
		return ret;
	}
	*out = l.tok;
	return 0;
}

void bitnet_tokenizer_free(struct bitnet_tokenizer *tok)
{
	if (!tok)
		return;
	bitnet_pretokenizer_free(tok->pre);
	free(tok->user_defined.ids);
	free(tok->specials.ids);
	free(tok->merges);
	free(tok->slots);
	free(tok->pool);
	free(tok->symbols);
	free(tok->score_keys);
	free(tok->kinds);
	free(tok->warning);
	free(tok);
}

/* ---- text to tokens ---- */

/*
 * struct node - one piece of the word being merged, in a list of what is left of it
 * @pos, @len:   its bytes in the word
 * @symbol:      its symbol; sentencepiece: its token, or NONE
 * @prev, @next: neighbours, NONE at the ends
 * @key:         how good it is to merge it with @next, KEY_NEVER if they do not merge
 * @merged:      symbol of the two together
 */
struct node {
	uint32_t pos;
	uint32_t len;
	uint32_t symbol;
	uint32_t prev;
	uint32_t next;
	uint32_t key;
	uint32_t merged;
};

/*
 * struct encoder - one text being encoded
 * @heap: pairs that merge, as key << 32 | left node, smallest on top. What became outdated stays in
 *        it and is recognised by a key that is not the node's; so there are never more than two
 *        entries for each node.
 * @buf:  sentencepiece: the text with spaces in their place
 */
struct encoder {
	const struct bitnet_tokenizer *tok;
	struct bitnet_tokens *out;
	struct bitnet_error *err;
	struct node *nodes;
	size_t cap_nodes;
	uint64_t *heap;
	size_t n_heap;
	size_t cap_heap;
	char *buf;
};

static int encoder_no_memory(struct encoder *e)
{
	return bitnet_error_set(e->err, ENOMEM, "no memory to tokenize the text");
}

static int emit(struct encoder *e, uint32_t id)
{
	return bitnet_tokens_push(e->out, id) ? encoder_no_memory(e) : 0;
}

/* Spell bytes that are no token. */
static int emit_bytes(struct encoder *e, const char *s, size_t len)
{
	int ret = 0;

	for (size_t i = 0; i < len; i++) {
		if (e->tok->byte_token[(unsigned char)s[i]] != NONE)
			continue;
		if (e->tok->unk != NONE)
			return emit(e, e->tok->unk);
		return bitnet_error_set(e->err, EILSEQ,
					"the vocabulary has no token for byte 0x%02x",
					(unsigned char)s[i]);
	}
	for (size_t i = 0; i < len && !ret; i++)
		ret = emit(e, e->tok->byte_token[(unsigned char)s[i]]);
	return ret;
}

static void heap_push(struct encoder *e, uint64_t v)
{
	size_t i = e->n_heap++;

	while (i && e->heap[(i - 1) / 2] > v) {
		e->heap[i] = e->heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	e->heap[i] = v;
}

static uint64_t heap_pop(struct encoder *e)
{
	uint64_t top = e->heap[0];
	uint64_t v = e->heap[--e->n_heap];
	size_t i = 0, child;

	while ((child = 2 * i + 1) < e->n_heap) {
		if (child + 1 < e->n_heap && e->heap[child + 1] < e->heap[child])
			child++;
		if (e->heap[child] >= v)
			break;
		e->heap[i] = e->heap[child];
		i = child;
	}
	e->heap[i] = v;
	return top;
}

/* Find out whether node @i and its successor merge, and how urgently. */
static void rate_pair(struct encoder *e, const char *s, uint32_t i)
{
	const struct bitnet_tokenizer *tok = e->tok;
	struct node *a = &e->nodes[i];
	const struct node *b;
	const struct merge *m;

	a->key = KEY_NEVER;
	if (a->next == NONE)
		return;
	b = &e->nodes[a->next];
	if (!tok->sentencepiece) {
		m = find_merge(tok, a->symbol, b->symbol);
		a->key = m->key;	/* an empty slot has KEY_NEVER */
		a->merged = m->result;
	} else if (a->len + b->len <= tok->longest) {
		a->merged = find_token(tok, s + a->pos, a->len + b->len);
		if (a->merged != NONE)
			a->key = tok->score_keys[a->merged];
	}
	if (a->key != KEY_NEVER)
		heap_push(e, (uint64_t)a->key << 32 | i);
}

/* Cut a word into what merging starts from: bytes, or characters. Returns how many. */
static uint32_t cut_word(struct encoder *e, const char *s, size_t len)
{
	const struct bitnet_tokenizer *tok = e->tok;
	uint32_t n = 0;
	int used = 1;

	for (size_t pos = 0; pos < len; pos += used, n++) {
		struct node *node = &e->nodes[n];

		if (tok->sentencepiece) {
			used = bitnet_utf8_scan(s + pos, len - pos, NULL);
			if (used <= 0)
				used = 1;
			node->symbol = find_token(tok, s + pos, used);
		} else {
			node->symbol = tok->byte_symbol[(unsigned char)s[pos]];
		}
		node->pos = pos;
		node->len = used;
		node->prev = n - 1;	/* NONE for the first */
		node->next = n + 1;
	}
	e->nodes[n - 1].next = NONE;
	return n;
}

/* Merge a word, best pair first and the leftmost of equals, and emit what is left. */
static int merge_word(struct encoder *e, const char *s, size_t len)
{
	const struct bitnet_tokenizer *tok = e->tok;
	uint32_t n;
	int ret = 0;

	if (grow(&e->nodes, &e->cap_nodes, len, sizeof(*e->nodes)) ||
	    grow(&e->heap, &e->cap_heap, 2 * len, sizeof(*e->heap)))
		return encoder_no_memory(e);
	n = cut_word(e, s, len);
	e->n_heap = 0;
	for (uint32_t i = 0; i < n; i++)
		rate_pair(e, s, i);
	while (e->n_heap) {
		uint64_t top = heap_pop(e);
		uint32_t i = (uint32_t)top;
		struct node *a = &e->nodes[i];
		struct node *b;

		if (a->key != top >> 32)
			continue;
		b = &e->nodes[a->next];
		a->symbol = a->merged;
		a->len += b->len;
		a->next = b->next;
		b->key = KEY_NEVER;
		if (a->next != NONE)
			e->nodes[a->next].prev = i;
		rate_pair(e, s, i);
		if (a->prev != NONE)
			rate_pair(e, s, a->prev);
	}
	for (uint32_t i = 0; i != NONE && !ret; i = e->nodes[i].next) {
		const struct node *a = &e->nodes[i];

		ret = a->symbol < tok->n_tokens ? emit(e, a->symbol) :
						  emit_bytes(e, s + a->pos, a->len);
	}
	return ret;
}

/* A word of a byte-level vocabulary. */
static int encode_word(void *arg, const char *s, size_t len)
{
	struct encoder *e = arg;
	uint32_t id = NONE;

	if (bitnet_pretokenizer_whole_words(e->tok->pre))
		id = find_token(e->tok, s, len);
	return id != NONE ? emit(e, id) : merge_word(e, s, len);
}

/* Text without special tokens, byte-level: regular expressions want valid UTF-8. */
static int encode_bytelevel(struct encoder *e, const char *s, size_t len)
{
	size_t start = 0, pos = 0;
	int used;
	int ret = 0;

	while (pos < len && !ret) {
		used = bitnet_utf8_scan(s + pos, len - pos, NULL);
		if (used > 0) {
			pos += used;
			continue;
		}
		ret = bitnet_pretokenizer_split(e->tok->pre, s + start, pos - start, encode_word, e,
						e->err);
		if (!ret)
			ret = encode_word(e, s + pos, 1);
		start = ++pos;
	}
	return ret ? ret
		   : bitnet_pretokenizer_split(e->tok->pre, s + start, len - start, encode_word, e,
					       e->err);
}

/* Text without special tokens, SentencePiece. */
static int encode_sentencepiece(struct encoder *e, const char *s, size_t len)
{
	size_t start = 0;
	size_t n = 0;
	int ret = 0;

	if (e->tok->add_space_prefix)
		e->buf[n++] = ' ';
	n += decode_spaces(s, len, e->buf + n);
	for (size_t i = 1; i < n && e->tok->split_at_spaces && !ret; i++) {
		if (e->buf[i] != ' ' || e->buf[i - 1] == ' ')
			continue;
		ret = merge_word(e, e->buf + start, i - start);
		start = i;
	}
	return ret ? ret : merge_word(e, e->buf + start, n - start);
}

static int encode_plain(struct encoder *e, const char *s, size_t len)
{
	if (!len)
		return 0;
	return e->tok->sentencepiece ? encode_sentencepiece(e, s, len)
				     : encode_bytelevel(e, s, len);
}

static int encode_text(struct encoder *e, const char *s, size_t len, const struct special_set *set)
{
	size_t start = 0, pos = 0;
	uint32_t id;
	int ret;

	while (pos < len) {
		id = set->first[(unsigned char)s[pos]]
			     ? match_special(e->tok, set, s + pos, len - pos)
			     : NONE;
		if (id == NONE) {
			pos++;
			continue;
		}
		ret = encode_plain(e, s + start, pos - start);
		if (!ret)
			ret = emit(e, id);
		if (ret)
			return ret;
		pos += e->tok->symbols[id].len;
		start = pos;
	}
	return encode_plain(e, s + start, len - start);
}

int bitnet_tokenizer_encode(const struct bitnet_tokenizer *tok, const char *text, size_t len,
			    unsigned int flags, struct bitnet_tokens *out,
			    struct bitnet_error *err)
{
	struct encoder e = { .tok = tok, .out = out, .err = err };
	bool special = flags & BITNET_ENCODE_F_ADD_SPECIAL;
	size_t n_before = out->n;
	int ret = 0;

	if (flags & ~(BITNET_ENCODE_F_ADD_SPECIAL | BITNET_ENCODE_F_PARSE_SPECIAL))
		return bitnet_error_set(err, EINVAL, "unknown flag for tokenizing: 0x%x", flags);
	if (len >= MAX_TEXT_BYTES)
		return bitnet_error_set(err, EINVAL, "text of %zu bytes is too long", len);
	if (!len)
		text = "";
	if (tok->sentencepiece) {
		e.buf = malloc(len + 1);
		if (!e.buf)
			return encoder_no_memory(&e);
	}
	if (special && tok->add_bos)
		ret = emit(&e, tok->bos);
	if (!ret)
		ret = encode_text(&e, text, len, flags & BITNET_ENCODE_F_PARSE_SPECIAL ?
						 &tok->specials : &tok->user_defined);
	if (!ret && special && tok->add_eos)
		ret = emit(&e, tok->eos);
	if (ret)
		out->n = n_before;
	free(e.nodes);
	free(e.heap);
	free(e.buf);
	return ret;
}

/* ---- tokens to text ---- */

const char *bitnet_tokenizer_piece(const struct bitnet_tokenizer *tok, uint32_t id, bool special,
				   size_t *len)
{
	if (id >= tok->n_tokens)
		return NULL;
	*len = tok->symbols[id].len;
	if (!special && (tok->kinds[id] == BITNET_TOKEN_CONTROL ||
			 tok->kinds[id] == BITNET_TOKEN_UNKNOWN))
		*len = 0;
	return symbol_bytes(tok, id);
}

/*
 * struct bitnet_decoder
 * @held: start of a character that is not complete yet
 * @buf:  the text given out last
 */
struct bitnet_decoder {
	const struct bitnet_tokenizer *tok;
	unsigned int flags;
	bool drop_space;
	char held[4];
	size_t n_held;
	char *buf;
	size_t cap;
};

struct bitnet_decoder *bitnet_decoder_new(const struct bitnet_tokenizer *tok, unsigned int flags)
{
	struct bitnet_decoder *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->tok = tok;
	d->flags = flags;
	d->drop_space = flags & BITNET_DECODE_F_START && tok->add_space_prefix;
	return d;
}

void bitnet_decoder_free(struct bitnet_decoder *d)
{
	if (!d)
		return;
	free(d->buf);
	free(d);
}

const char *bitnet_decoder_push(struct bitnet_decoder *d, uint32_t id, size_t *len)
{
	const char *piece;
	size_t n_piece, n_in, n_out = 0, pos = 0;
	char *in;
	int used;

	piece = bitnet_tokenizer_piece(d->tok, id, d->flags & BITNET_DECODE_F_SPECIAL, &n_piece);
	if (!piece) {
		piece = "\xff";		/* never part of a character */
		n_piece = 1;
	}
	if (d->drop_space && n_piece) {
		d->drop_space = false;
		n_piece -= *piece == ' ';
		piece += *piece == ' ';
	}
	/* input at the end of the buffer, output grows from its start: 3 bytes for one at most */
	n_in = d->n_held + n_piece;
	if (grow(&d->buf, &d->cap, 4 * n_in, 1))
		return NULL;
	in = d->buf + 3 * n_in;
	memcpy(in, d->held, d->n_held);
	memcpy(in + d->n_held, piece, n_piece);
	d->n_held = 0;
	while (pos < n_in) {
		used = bitnet_utf8_scan(in + pos, n_in - pos, NULL);
		if (used > 0) {
			memmove(d->buf + n_out, in + pos, used);
			n_out += used;
			pos += used;
		} else if (used < 0) {
			memcpy(d->buf + n_out, "\xef\xbf\xbd", 3);
			n_out += 3;
			pos -= used;
		} else {
			d->n_held = n_in - pos;
			memcpy(d->held, in + pos, d->n_held);
			break;
		}
	}
	*len = n_out;
	return d->buf;
}

const char *bitnet_decoder_finish(struct bitnet_decoder *d, size_t *len)
{
	*len = d->n_held ? 3 : 0;
	d->n_held = 0;
	d->drop_space = d->flags & BITNET_DECODE_F_START && d->tok->add_space_prefix;
	return "\xef\xbf\xbd";
}

/* ---- properties ---- */

const char *bitnet_tokenizer_warning(const struct bitnet_tokenizer *tok)
{
	return tok->warning;
}

const char *bitnet_tokenizer_model(const struct bitnet_tokenizer *tok)
{
	return tok->sentencepiece ? "llama" : "gpt2";
}

const char *bitnet_tokenizer_pre(const struct bitnet_tokenizer *tok)
{
	return tok->pre ? bitnet_pretokenizer_name(tok->pre) : "none";
}

uint32_t bitnet_tokenizer_n_tokens(const struct bitnet_tokenizer *tok)
{
	return tok->n_tokens;
}

uint32_t bitnet_tokenizer_kind(const struct bitnet_tokenizer *tok, uint32_t id)
{
	return id < tok->n_tokens ? tok->kinds[id] : 0;
}

uint32_t bitnet_tokenizer_bos(const struct bitnet_tokenizer *tok)
{
	return tok->bos;
}

uint32_t bitnet_tokenizer_eos(const struct bitnet_tokenizer *tok)
{
	return tok->eos;
}

uint32_t bitnet_tokenizer_eot(const struct bitnet_tokenizer *tok)
{
	return tok->eot;
}

bool bitnet_tokenizer_add_bos(const struct bitnet_tokenizer *tok)
{
	return tok->add_bos;
}

bool bitnet_tokenizer_add_eos(const struct bitnet_tokenizer *tok)
{
	return tok->add_eos;
}

size_t bitnet_tokenizer_stops(const struct bitnet_tokenizer *tok, const uint32_t **ids)
{
	*ids = tok->stops;
	return tok->n_stops;
}
