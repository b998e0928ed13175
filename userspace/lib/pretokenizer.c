// SPDX-License-Identifier: GPL-2.0 OR MIT
/* pretokenizer.c - see pretokenizer.h */
#define PCRE2_CODE_UNIT_WIDTH 8

#include <errno.h>
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "pretokenizer.h"

#define MAX_STEPS	4
/*
 * Nothing below backtracks further than one run of white space; the limit is for what we
 * overlooked, and only bites where PCRE2 has no JIT, whose stack (32 KiB) is the limit elsewhere.
 */
#define MATCH_LIMIT	(1u << 26)

/* Unicode's White_Space. PCRE2's \s has U+180E too, which Unicode took out of it in 2013. */
#define SPACES	"\\t-\\r \\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}" \
		"\\x{205f}\\x{3000}"
#define GPT2_WORDS \
		"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^" SPACES "\\p{L}\\p{N}]+|" \
		"[" SPACES "]+(?![^" SPACES "])|[" SPACES "]+"
#define LLAMA3_WORDS(digits) \
		"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits "|" \
		" ?[^" SPACES "\\p{L}\\p{N}]+[\\r\\n]*|[" SPACES "]*[\\r\\n]+|" \
		"[" SPACES "]+(?![^" SPACES "])|[" SPACES "]+"

/*
 * Each step cuts the pieces of the step before into matches and what lies between them.
 *
 * falcon3 and falcon_e come from the same people with different regexes: upstream llama.cpp took
 * falcon3 as llama3's (its pull request 10883), bitnet.cpp's fork has three steps for falcon_e.
 * Each name means what its origin says.
 */
static const struct kind {
	const char *names[5];	/* main name, aliases */
	bool whole_words;
	const char *steps[MAX_STEPS];
} kinds[] = {
	{
		.names = { "llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1" },
		.whole_words = true,
		.steps = { LLAMA3_WORDS("\\p{N}{1,3}") },
	},
	{
		.names = { "qwen2" },
		.steps = { LLAMA3_WORDS("\\p{N}") },
	},
	{
		.names = { "gpt-2", "gpt2" },
		.steps = { GPT2_WORDS },
	},
	{
		.names = { "default" },
		.steps = {
			"[\\p{P}$+<=>^~|]+",
			GPT2_WORDS,
			"\\p{N}+",
			"[0-9][0-9][0-9]",
		},
	},
	{
		.names = { "falcon" },
		.steps = { "[\\p{P}$+<=>^~|`]+", GPT2_WORDS, "[0-9][0-9][0-9]" },
	},
	{
		.names = { "falcon_e" },
		.steps = { "[\\p{P}$+<=>^~|`]+", GPT2_WORDS, "[0-9]" },
	},
};

#define N_KINDS	(sizeof(kinds) / sizeof(kinds[0]))

struct bitnet_pretokenizer {
	const struct kind *kind;
	pcre2_match_context *context;
	size_t n_steps;
	pcre2_code *steps[MAX_STEPS];
};

/* struct split - one text being cut */
struct split {
	const struct bitnet_pretokenizer *p;
	pcre2_match_data *matches[MAX_STEPS];
	int (*word)(void *arg, const char *s, size_t len);
	void *arg;
	struct bitnet_error *err;
};

static const struct kind *find_kind(const char *name)
{
	for (size_t i = 0; i < N_KINDS; i++)
		for (size_t j = 0; j < 5 && kinds[i].names[j]; j++)
			if (!strcmp(kinds[i].names[j], name))
				return &kinds[i];
	return NULL;
}

static int unknown(const char *name, struct bitnet_error *err)
{
	char list[128] = "";

	for (size_t i = 0; i < N_KINDS; i++) {
		strcat(list, " ");
		strcat(list, kinds[i].names[0]);
	}
	bitnet_error_set(err, ENOTSUP, "unknown pre-tokenizer %s", name);
	return bitnet_error_hint(
		err, "If the model's authors say which one it is like, choose it:%s.", list);
}

int bitnet_pretokenizer_new(const char *name, struct bitnet_pretokenizer **out,
			    struct bitnet_error *err)
{
	const struct kind *kind = find_kind(name);
	struct bitnet_pretokenizer *p;
	PCRE2_SIZE offset;
	int code;

	if (!kind)
		return unknown(name, err);
	p = calloc(1, sizeof(*p));
	if (!p)
		goto no_memory;
	p->kind = kind;
	p->context = pcre2_match_context_create(NULL);
	if (!p->context)
		goto no_memory;
	pcre2_set_match_limit(p->context, MATCH_LIMIT);
	for (; p->n_steps < MAX_STEPS && kind->steps[p->n_steps]; p->n_steps++) {
		p->steps[p->n_steps] = pcre2_compile((PCRE2_SPTR)kind->steps[p->n_steps],
						     PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP,
						     &code, &offset, NULL);
		if (!p->steps[p->n_steps])
			goto no_memory;
		/* where there is no JIT, pcre2_match() interprets: slower, same result */
		pcre2_jit_compile(p->steps[p->n_steps], PCRE2_JIT_COMPLETE);
	}
	*out = p;
	return 0;

no_memory:
	bitnet_pretokenizer_free(p);
	return bitnet_error_set(err, ENOMEM, "no memory for pre-tokenizer %s", name);
}

void bitnet_pretokenizer_free(struct bitnet_pretokenizer *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n_steps; i++)
		pcre2_code_free(p->steps[i]);
	pcre2_match_context_free(p->context);
	free(p);
}

const char *bitnet_pretokenizer_name(const struct bitnet_pretokenizer *p)
{
	return p->kind->names[0];
}

bool bitnet_pretokenizer_whole_words(const struct bitnet_pretokenizer *p)
{
	return p->kind->whole_words;
}

static int split_step(struct split *s, size_t step, const char *text, size_t len);

static int next_step(struct split *s, size_t step, const char *text, size_t len)
{
	if (!len)
		return 0;
	if (step == s->p->n_steps)
		return s->word(s->arg, text, len);
	return split_step(s, step, text, len);
}

static int split_step(struct split *s, size_t step, const char *text, size_t len)
{
	size_t *match = pcre2_get_ovector_pointer(s->matches[step]);
	size_t pos = 0;
	int ret = 0;
	int code;

	while (!ret && pos < len) {
		code = pcre2_match(s->p->steps[step], (PCRE2_SPTR)text, len, pos,
				   PCRE2_NO_UTF_CHECK, s->matches[step], s->p->context);
		if (code == PCRE2_ERROR_NOMATCH)
			return next_step(s, step + 1, text + pos, len - pos);
		if (code < 0)
			return bitnet_error_set(s->err, EIO, "pre-tokenizer: PCRE2 error %d", code);
		ret = next_step(s, step + 1, text + pos, match[0] - pos);
		if (!ret)
			ret = next_step(s, step + 1, text + match[0], match[1] - match[0]);
		pos = match[1];
	}
	return ret;
}

int bitnet_pretokenizer_split(const struct bitnet_pretokenizer *p, const char *text, size_t len,
			      int (*word)(void *arg, const char *s, size_t len), void *arg,
			      struct bitnet_error *err)
{
	struct split s = { .p = p, .word = word, .arg = arg, .err = err };
	int ret = 0;

	for (size_t i = 0; i < p->n_steps; i++) {
		s.matches[i] = pcre2_match_data_create(1, NULL);
		if (!s.matches[i])
			ret = bitnet_error_set(err, ENOMEM, "no memory for the pre-tokenizer");
	}
	if (!ret)
		ret = next_step(&s, 0, text, len);
	for (size_t i = 0; i < p->n_steps; i++)
		pcre2_match_data_free(s.matches[i]);
	return ret;
}
