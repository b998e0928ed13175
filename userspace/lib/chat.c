// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * chat.c - see chat.h
 *
 * Sources: chat_template of tokenizer_config.json of microsoft/bitnet-b1.58-2B-4T and of
 * meta-llama/Meta-Llama-3-8B-Instruct; ChatML as in Qwen's. Text between two control tokens is
 * tokenized in one go, as the Hugging Face tokenizers do with a rendered template: "User: " and the
 * content share a token where they meet.
 */
#define _GNU_SOURCE 1

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "chat.h"
#include "utf8.h"

#define LLAMA3_VOCAB	128256
#define MAX_CONTROLS	3

/*
 * What templates need: a name, control tokens (used by their place in the list), whether white
 * space around a content goes, and whether a BOS is part of the template.
 */
static const struct {
	const char *name;
	const char *controls[MAX_CONTROLS];
	bool trim;
	bool bos;
} templates[BITNET_CHAT_N] = {
	[BITNET_CHAT_RAW] = { "raw", { NULL }, false, false },
	[BITNET_CHAT_BITNET] = { "bitnet", { "<|eot_id|>" }, true, true },
	[BITNET_CHAT_LLAMA3] = {
		"llama3", { "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>" }, true, true
	},
	[BITNET_CHAT_CHATML] = { "chatml", { "<|im_start|>", "<|im_end|>" }, false, false },
};

/* struct renderer - @text is what has been written since the last control token */
struct renderer {
	const struct bitnet_tokenizer *tok;
	enum bitnet_chat_template template;
	uint32_t controls[MAX_CONTROLS];
	char *text;
	size_t len;
	size_t cap;
	struct bitnet_tokens *out;
	struct bitnet_error *err;
};

const char *bitnet_chat_name(enum bitnet_chat_template t)
{
	return t < BITNET_CHAT_N ? templates[t].name : NULL;
}

int bitnet_chat_by_name(const char *name, enum bitnet_chat_template *out, struct bitnet_error *err)
{
	for (int i = 0; i < BITNET_CHAT_N; i++) {
		if (!strcmp(templates[i].name, name)) {
			*out = i;
			return 0;
		}
	}
	bitnet_error_set(err, EINVAL, "unknown chat template %s", name);
	return bitnet_error_hint(err, "There are: raw bitnet llama3 chatml.");
}

static bool has_controls(const struct bitnet_tokenizer *tok, enum bitnet_chat_template t)
{
	for (int i = 0; i < MAX_CONTROLS && templates[t].controls[i]; i++)
		if (bitnet_tokenizer_find(tok, templates[t].controls[i]) == BITNET_TOKEN_NONE)
			return false;
	return true;
}

static bool contains(const struct bitnet_gguf_str *s, const char *word)
{
	return memmem(s->s, s->len, word, strlen(word)) != NULL;
}

enum bitnet_chat_template bitnet_chat_detect(const struct bitnet_gguf *g,
					     const struct bitnet_tokenizer *tok)
{
	struct bitnet_gguf_str arch = { .s = "", .len = 0 };
	struct bitnet_gguf_str text;

	bitnet_gguf_get_str(g, "general.architecture", &arch);
	if (arch.len >= 6 && !memcmp(arch.s, "bitnet", 6) &&
	    bitnet_tokenizer_n_tokens(tok) == LLAMA3_VOCAB && has_controls(tok, BITNET_CHAT_BITNET))
		return BITNET_CHAT_BITNET;
	/* without a template of its own, any whose tokens are there */
	if (bitnet_gguf_get_str(g, "tokenizer.chat_template", &text))
		text = (struct bitnet_gguf_str){ .s = "<|im_start|><|start_header_id|>",
						 .len = 31 };
	if (contains(&text, "<|start_header_id|>") && has_controls(tok, BITNET_CHAT_LLAMA3))
		return BITNET_CHAT_LLAMA3;
	if (contains(&text, "<|im_start|>") && has_controls(tok, BITNET_CHAT_CHATML))
		return BITNET_CHAT_CHATML;
	return BITNET_CHAT_RAW;
}

static int write_bytes(struct renderer *r, const char *s, size_t len)
{
	size_t cap = r->cap ? r->cap : 256;
	char *text;

	while (cap - r->len < len)
		cap *= 2;
	if (cap > r->cap) {
		text = realloc(r->text, cap);
		if (!text)
			return bitnet_error_set(r->err, ENOMEM, "no memory for the conversation");
		r->text = text;
		r->cap = cap;
	}
	if (len)
		memcpy(r->text + r->len, s, len);
	r->len += len;
	return 0;
}

static int write_text(struct renderer *r, const char *s)
{
	return write_bytes(r, s, strlen(s));
}

/* What Python's str.strip() takes off. */
static bool is_space(uint32_t cp)
{
	return (cp >= 0x09 && cp <= 0x0d) || (cp >= 0x1c && cp <= 0x20) || cp == 0x85 ||
	       cp == 0xa0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 ||
	       cp == 0x2029 || cp == 0x202f || cp == 0x205f || cp == 0x3000;
}

static int write_content(struct renderer *r, const struct bitnet_chat_message *m)
{
	size_t start = 0, end = 0;
	bool started = false;
	uint32_t cp;
	int used;

	if (!templates[r->template].trim)
		return write_bytes(r, m->content, m->len);
	for (size_t i = 0; i < m->len; i += used) {
		used = bitnet_utf8_scan(m->content + i, m->len - i, &cp);
		if (used <= 0)
			used = 1;	/* cp is U+FFFD */
		if (is_space(cp))
			continue;
		if (!started)
			start = i;
		started = true;
		end = i + used;
	}
	return write_bytes(r, m->content + start, end - start);
}

/* Tokenize what has been written; control tokens are never read from it. */
static int flush_text(struct renderer *r)
{
	int ret = bitnet_tokenizer_encode(r->tok, r->text, r->len, 0, r->out, r->err);

	r->len = 0;
	return ret;
}

static int push(struct renderer *r, uint32_t id)
{
	if (bitnet_tokens_push(r->out, id))
		return bitnet_error_set(r->err, ENOMEM, "no memory for the conversation");
	return 0;
}

/* Control token number @i of the template. */
static int write_control(struct renderer *r, int i)
{
	int ret = flush_text(r);

	return ret ? ret : push(r, r->controls[i]);
}

/* What stands in front of a content. */
static int write_header(struct renderer *r, const char *role)
{
	char first[2] = { (char)toupper((unsigned char)role[0]), '\0' };
	int ret;

	switch (r->template) {
	case BITNET_CHAT_BITNET:
		ret = write_text(r, first);
		if (!ret)
			ret = write_text(r, role + 1);
		return ret ? ret : write_text(r, ": ");
	case BITNET_CHAT_LLAMA3:
		ret = write_control(r, 0);
		if (!ret)
			ret = write_text(r, role);
		if (!ret)
			ret = write_control(r, 1);
		return ret ? ret : write_text(r, "\n\n");
	case BITNET_CHAT_CHATML:
		ret = write_control(r, 0);
		if (!ret)
			ret = write_text(r, role);
		return ret ? ret : write_text(r, "\n");
	default:
		return 0;
	}
}

/* What stands behind a content. */
static int write_end(struct renderer *r)
{
	int ret;

	switch (r->template) {
	case BITNET_CHAT_BITNET:
		return write_control(r, 0);
	case BITNET_CHAT_LLAMA3:
		return write_control(r, 2);
	case BITNET_CHAT_CHATML:
		ret = write_control(r, 1);
		return ret ? ret : write_text(r, "\n");
	default:
		return 0;
	}
}

static int write_message(struct renderer *r, const struct bitnet_chat_message *m)
{
	int ret;

	if (strcmp(m->role, "system") && strcmp(m->role, "user") && strcmp(m->role, "assistant")) {
		bitnet_error_set(r->err, EINVAL, "unknown role %s", m->role);
		return bitnet_error_hint(r->err, "Roles are system, user and assistant.");
	}
	ret = write_header(r, m->role);
	if (!ret)
		ret = write_content(r, m);
	return ret ? ret : write_end(r);
}

static int render(struct renderer *r, const struct bitnet_chat_message *msgs, size_t n,
		  bool generate)
{
	uint32_t bos = bitnet_tokenizer_bos(r->tok);
	int ret = 0;

	if (bos != BITNET_TOKEN_NONE &&
	    (templates[r->template].bos || bitnet_tokenizer_add_bos(r->tok)))
		ret = push(r, bos);
	for (size_t i = 0; i < n && !ret; i++)
		ret = write_message(r, &msgs[i]);
	if (!ret && generate)
		ret = write_header(r, "assistant");
	return ret ? ret : flush_text(r);
}

int bitnet_chat_render(const struct bitnet_tokenizer *tok, enum bitnet_chat_template t,
		       const struct bitnet_chat_message *msgs, size_t n, bool generate,
		       struct bitnet_tokens *out, struct bitnet_error *err)
{
	struct renderer r = { .tok = tok, .template = t, .out = out, .err = err };
	size_t n_before = out->n;
	int ret;

	if (t >= BITNET_CHAT_N)
		return bitnet_error_set(err, EINVAL, "unknown chat template %d", (int)t);
	for (int i = 0; i < MAX_CONTROLS && templates[t].controls[i]; i++) {
		r.controls[i] = bitnet_tokenizer_find(tok, templates[t].controls[i]);
		if (r.controls[i] != BITNET_TOKEN_NONE)
			continue;
		bitnet_error_set(err, ENOENT,
				 "chat template %s needs %s, which the vocabulary lacks",
				 templates[t].name, templates[t].controls[i]);
		return bitnet_error_hint(err, "For a base model, use template raw.");
	}
	ret = render(&r, msgs, n, generate);
	if (ret)
		out->n = n_before;
	free(r.text);
	return ret;
}
