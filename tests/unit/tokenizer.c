// SPDX-License-Identifier: GPL-2.0
/*
 * tokenizer.c - text to tokens and back, against a second implementation and real stories
 *
 * tests/golden/tokenizer.json comes from make_tokenizer.py beside it, golden.json and val.bin from
 * the demo model's own tokenizer.
 */
#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <time.h>

#include "support/gguf_build.h"
#include "tap.h"
#include "tokenizer.h"
#include "utf8.h"

static struct bitnet_error err;

static const char *in_tree(const char *name)
{
	static char path[PATH_MAX];
	const char *src = getenv("BITNET_SRC");

	snprintf(path, sizeof(path), "%s/%s", src ? src : ".", name);
	return path;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static json_t *load_json(const char *name)
{
	json_error_t why;
	json_t *root = json_load_file(in_tree(name), JSON_ALLOW_NUL, &why);

	if (!root)
		bail("%s: %s", name, why.text);
	return root;
}

static struct bitnet_tokenizer *demo(const char *pre)
{
	struct bitnet_gguf *g = bitnet_gguf_open(in_tree("userspace/models/demo-i2_s.gguf"), &err);
	struct bitnet_tokenizer *tok;

	if (!g || bitnet_tokenizer_from_gguf(g, pre, &tok, &err))
		bail("%s", err.msg);
	bitnet_gguf_close(g);
	return tok;
}

/* Tokenizer of a file that was built; NULL and err if there is none. */
static struct bitnet_tokenizer *built(struct gguf_build *b, const char *pre)
{
	struct bitnet_tokenizer *tok = NULL;
	struct bitnet_gguf *g;

	gguf_build_finish(b);
	memset(&err, 0, sizeof(err));
	g = bitnet_gguf_open_mem(b->file.p, b->file.len, "test.gguf", &err);
	if (!g)
		bail("%s", err.msg);
	if (bitnet_tokenizer_from_gguf(g, pre, &tok, &err))
		tok = NULL;
	bitnet_gguf_close(g);
	gguf_build_free(b);
	return tok;
}

static void encode(const struct bitnet_tokenizer *tok, const char *s, size_t len,
		   unsigned int flags, struct bitnet_tokens *out)
{
	out->n = 0;
	if (bitnet_tokenizer_encode(tok, s, len, flags, out, &err))
		bail("%s", err.msg);
}

static bool same(const struct bitnet_tokens *t, const json_t *ids)
{
	if (t->n != json_array_size(ids))
		return false;
	for (size_t i = 0; i < t->n; i++)
		if (t->ids[i] != json_integer_value(json_array_get(ids, i)))
			return false;
	return true;
}

/* Is this what the text becomes? If not, show it. */
static bool encodes_to(const struct bitnet_tokenizer *tok, const json_t *text, const json_t *ids)
{
	struct bitnet_tokens t = { 0 };
	char *shown;
	bool good;

	encode(tok, json_string_value(text), json_string_length(text), 0, &t);
	good = same(&t, ids);
	if (!good) {
		shown = json_dumps(text, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
		diag("%s: text %s becomes %zu tokens, want %zu", bitnet_tokenizer_pre(tok), shown,
		     t.n, json_array_size(ids));
		free(shown);
	}
	bitnet_tokens_free(&t);
	return good;
}

/* Text of all the tokens; appended to @text, which has room. */
static size_t decode(const struct bitnet_tokenizer *tok, const uint32_t *ids, size_t n,
		     unsigned int flags, char *text)
{
	struct bitnet_decoder *d = bitnet_decoder_new(tok, flags);
	size_t len, total = 0;
	const char *s;

	for (size_t i = 0; i <= n; i++) {
		s = i < n ? bitnet_decoder_push(d, ids[i], &len) : bitnet_decoder_finish(d, &len);
		memcpy(text + total, s, len);
		total += len;
	}
	bitnet_decoder_free(d);
	return total;
}

static void golden_byte_level(const json_t *root)
{
	static const char *const names[] = {
		"llama-bpe", "qwen2", "gpt-2", "default", "falcon", "falcon_e"
	};
	struct bitnet_tokens t = { 0 };
	char text[4096];

	for (int i = 0; i < 6; i++) {
		struct bitnet_tokenizer *tok = demo(names[i]);
		size_t n = 0, bad = 0, bad_back = 0, index;
		json_t *one;

		json_array_foreach(json_object_get(root, "byte_level"), index, one) {
			json_t *s = json_object_get(one, "text");

			if (strcmp(json_string_value(json_object_get(one, "pre")), names[i]))
				continue;
			n++;
			bad += !encodes_to(tok, s, json_object_get(one, "ids"));
			encode(tok, json_string_value(s), json_string_length(s), 0, &t);
			bad_back += decode(tok, t.ids, t.n, 0, text) != json_string_length(s) ||
				    memcmp(text, json_string_value(s), json_string_length(s));
		}
		ok(n > 50 && !bad, "%s: %zu texts become the right tokens", names[i], n);
		is(bad_back, 0, "%s: and these become the texts again", names[i]);
		bitnet_tokenizer_free(tok);
	}
	bitnet_tokens_free(&t);
}

static void golden_sentencepiece(const json_t *root)
{
	size_t vocabulary, index;
	json_t *v, *one;

	json_array_foreach(json_object_get(root, "sentencepiece"), vocabulary, v) {
		const json_t *tokens = json_object_get(v, "tokens");
		size_t n = json_array_size(tokens), cases = 0, bad = 0, bad_back = 0;
		bool prefix = json_is_true(json_object_get(v, "add_space_prefix"));
		const char **texts = calloc(n, sizeof(*texts));
		float *scores = calloc(n, sizeof(*scores));
		uint32_t *kinds = calloc(n, sizeof(*kinds));
		struct gguf_build b = { .version = 3 };
		struct bitnet_tokens t = { 0 };
		struct bitnet_tokenizer *tok;
		char text[4096];

		json_array_foreach(tokens, index, one) {
			texts[index] = json_string_value(json_array_get(one, 0));
			scores[index] = json_real_value(json_array_get(one, 1));
			kinds[index] = json_integer_value(json_array_get(one, 2));
		}
		gguf_build_str(&b, "tokenizer.ggml.model", "llama");
		gguf_build_strs(&b, "tokenizer.ggml.tokens", texts, n);
		gguf_build_f32s(&b, "tokenizer.ggml.scores", scores, n);
		gguf_build_u32s(&b, "tokenizer.ggml.token_type", kinds, n);
		if (!prefix)
			gguf_build_bool(&b, "tokenizer.ggml.add_space_prefix", 0);
		tok = built(&b, NULL);
		if (!tok)
			bail("%s", err.msg);
		json_array_foreach(json_object_get(v, "cases"), index, one) {
			json_t *s = json_object_get(one, "text");
			const char *want = json_string_value(s);

			cases++;
			bad += !encodes_to(tok, s, json_object_get(one, "ids"));
			encode(tok, want, strlen(want), 0, &t);
			if (strstr(want, "\xe2\x96\x81") || strstr(want, "<tool>"))
				continue;	/* not one text for these tokens */
			bad_back += decode(tok, t.ids, t.n, BITNET_DECODE_F_START, text) !=
					    strlen(want) ||
				    memcmp(text, want, strlen(want));
		}
		ok(cases > 40 && !bad, "SentencePiece %zu: %zu texts become the right tokens",
		   vocabulary, cases);
		is(bad_back, 0, "SentencePiece %zu: and these become the texts again", vocabulary);
		if (!vocabulary) {
			is(bitnet_tokenizer_bos(tok), 1,
			   "SentencePiece: BOS is 1 if the file does not say");
			is(bitnet_tokenizer_eos(tok), 2,
			   "SentencePiece: EOS is 2 if the file does not say");
			ok(bitnet_tokenizer_add_bos(tok), "SentencePiece: wants a BOS");
			is(bitnet_tokenizer_kind(tok, 3), BITNET_TOKEN_BYTE,
			   "SentencePiece: byte tokens");
			is_str(bitnet_tokenizer_model(tok), "llama", "SentencePiece: model");
			is_str(bitnet_tokenizer_pre(tok), "none", "SentencePiece: pre-tokenizer");
			encode(tok, "\xff", 1, 0, &t);
			ok(t.n == 2 && t.ids[1] == 3 + 255,
			   "SentencePiece: an invalid byte is its byte token");
			encode(tok, "a</s>", 5, BITNET_ENCODE_F_PARSE_SPECIAL, &t);
			is(t.ids[t.n - 1], 2, "SentencePiece: </s> when asked for");
		}
		bitnet_tokenizer_free(tok);
		bitnet_tokens_free(&t);
		free(texts);
		free(scores);
		free(kinds);
	}
}

/* The prompts of golden.json, and the stories of val.bin: BOS, story, EOS, again and again. */
static void demo_texts(const struct bitnet_tokenizer *tok)
{
	json_t *root = load_json("tests/golden/golden.json");
	struct bitnet_tokens t = { 0 };
	static char text[1 << 20];
	static uint16_t val[1 << 20];
	static uint32_t ids[1 << 20];
	size_t index, n_val, stories = 0, bad = 0, bytes = 0;
	json_t *one;
	FILE *f;

	json_array_foreach(json_object_get(root, "cases"), index, one) {
		const char *prompt = json_string_value(json_object_get(one, "prompt"));

		encode(tok, prompt, strlen(prompt), BITNET_ENCODE_F_ADD_SPECIAL, &t);
		ok(same(&t, json_object_get(one, "ids")), "prompt %zu of golden.json", index);
	}
	json_decref(root);

	f = fopen(in_tree("tests/golden/val.bin"), "rb");
	n_val = f ? fread(val, 2, 1 << 20, f) : 0;
	if (f)
		fclose(f);
	for (size_t start = 0, end; start < n_val; start = end, stories++) {
		size_t len;

		for (end = start + 1; end < n_val && val[end] != 4094;)
			end++;
		for (size_t i = start; i < end; i++)
			ids[i - start] = val[i];
		len = decode(tok, ids, end - start, 0, text);
		bytes += len;
		encode(tok, text, len, BITNET_ENCODE_F_ADD_SPECIAL, &t);
		bitnet_tokens_push(&t, 4095);
		bad += t.n != end - start || memcmp(t.ids, ids, t.n * sizeof(*ids));
	}
	ok(stories > 100 && !bad, "%zu stories of %zu bytes become the tokens of val.bin", stories,
	   bytes);
	bitnet_tokens_free(&t);
}

static void special_tokens(const struct bitnet_tokenizer *tok)
{
	static const char text[] = "<|begin_of_text|>Hi<|end_of_text|><|end_of_tex";
	struct bitnet_tokens t = { 0 };
	const uint32_t *stops;
	const char *s;
	char out[256];
	size_t len;

	is(bitnet_tokenizer_n_tokens(tok), 4096, "size of the vocabulary");
	is(bitnet_tokenizer_bos(tok), 4094, "BOS");
	is(bitnet_tokenizer_eos(tok), 4095, "EOS");
	is(bitnet_tokenizer_eot(tok), BITNET_TOKEN_NONE, "no end of turn");
	ok(bitnet_tokenizer_add_bos(tok), "wants a BOS");
	ok(!bitnet_tokenizer_add_eos(tok), "wants no EOS");
	ok(bitnet_tokenizer_stops(tok, &stops) == 1 && stops[0] == 4095, "stops at EOS only");
	is(bitnet_tokenizer_kind(tok, 4094), BITNET_TOKEN_CONTROL, "BOS is a control token");
	is(bitnet_tokenizer_kind(tok, 0), BITNET_TOKEN_NORMAL, "a byte is a normal token");
	is(bitnet_tokenizer_kind(tok, 4096), 0, "no such token has no kind");
	is(bitnet_tokenizer_find(tok, "<|end_of_text|>"), 4095, "a control token by its name");
	is(bitnet_tokenizer_find(tok, "<|end_of_text|"), BITNET_TOKEN_NONE, "not by a part of it");
	is(bitnet_tokenizer_find(tok, " the"), BITNET_TOKEN_NONE, "not a normal token");
	ok(!bitnet_tokenizer_warning(tok), "nothing to warn of");
	is_str(bitnet_tokenizer_model(tok), "gpt2", "model");
	is_str(bitnet_tokenizer_pre(tok), "llama-bpe", "pre-tokenizer");

	encode(tok, text, strlen(text), BITNET_ENCODE_F_PARSE_SPECIAL, &t);
	ok(t.n > 4 && t.ids[0] == 4094 && t.ids[2] == 4095 && t.ids[t.n - 1] < 4094,
	   "control tokens in a text, when asked for");
	len = decode(tok, t.ids, t.n, BITNET_DECODE_F_SPECIAL, out);
	ok(len == strlen(text) && !memcmp(out, text, len), "and back, when asked for");
	len = decode(tok, t.ids, t.n, 0, out);
	ok(len == 14 && !memcmp(out, "Hi<|end_of_tex", len), "they are silent otherwise");
	encode(tok, text, strlen(text), 0, &t);
	for (size_t i = 0; i < t.n; i++)
		if (t.ids[i] >= 4094)
			t.n = 0;
	ok(t.n > 20, "without asking, no text becomes a control token");

	s = bitnet_tokenizer_piece(tok, 4095, true, &len);
	ok(s && len == 15 && !memcmp(s, "<|end_of_text|>", 15), "the bytes of a control token");
	ok(bitnet_tokenizer_piece(tok, 4095, false, &len) && !len, "none unless asked for");
	s = bitnet_tokenizer_piece(tok, 200, false, &len);
	ok(s && len == 1 && *s == (char)200, "a token of one byte");
	ok(!bitnet_tokenizer_piece(tok, 4096, true, &len), "no such token has no bytes");

	t.n = 0;
	is(bitnet_tokenizer_encode(tok, "x", 1, 4, &t, &err), -EINVAL, "an unknown flag");
	is(bitnet_tokenizer_encode(tok, "x", (size_t)INT_MAX, 0, &t, &err), -EINVAL,
	   "2 GiB of text");
	is(bitnet_tokenizer_encode(tok, NULL, 0, 0, &t, &err), 0, "no text at all");
	is(t.n, 0, "has no tokens");
	bitnet_tokens_free(&t);
}

/* Invalid UTF-8 survives the way to tokens; the decoder makes it valid like everyone else does. */
static void invalid_text(const struct bitnet_tokenizer *tok)
{
	static const struct {
		const char *bytes, *shown;
	} texts[] = {
		{ "a\xff" "b", "a\xef\xbf\xbd" "b" },
		{ "\xe2\x82", "\xef\xbf\xbd" },
		{ "\xe2\x82" "abc", "\xef\xbf\xbd" "abc" },
		{ "\xf0\x9f\x98", "\xef\xbf\xbd" },
		{ "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
		{ "\xc0\x80", "\xef\xbf\xbd\xef\xbf\xbd" },
		{ "\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
		{ "\x80\xf0\x9f\x98\x80\x80", "\xef\xbf\xbd\xf0\x9f\x98\x80\xef\xbf\xbd" },
		{ "\xf1\x80\x80\xf1\x80\x80\x80", "\xef\xbf\xbd\xf1\x80\x80\x80" },
	};
	struct bitnet_tokens t = { 0 };
	char out[64];

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		size_t n = strlen(texts[i].bytes), total = 0, len;

		encode(tok, texts[i].bytes, n, 0, &t);
		for (size_t j = 0; j < t.n; j++) {
			const char *s = bitnet_tokenizer_piece(tok, t.ids[j], false, &len);

			memcpy(out + total, s, len);
			total += len;
		}
		ok(total == n && !memcmp(out, texts[i].bytes, n),
		   "invalid text %zu keeps its bytes", i);
		len = decode(tok, t.ids, t.n, 0, out);
		ok(len == strlen(texts[i].shown) && !memcmp(out, texts[i].shown, len),
		   "invalid text %zu is shown with U+FFFD", i);
	}
	bitnet_tokens_free(&t);
}

static void streaming(const struct bitnet_tokenizer *tok)
{
	struct bitnet_decoder *d = bitnet_decoder_new(tok, 0);
	static const uint8_t smile[] = { 0xf0, 0x9f, 0x98, 0x80 };
	const char *s;
	size_t len;

	for (int i = 0; i < 3; i++) {
		s = bitnet_decoder_push(d, smile[i], &len);
		ok(s && !len, "byte %d of an emoji is held back", i);
	}
	s = bitnet_decoder_push(d, smile[3], &len);
	ok(s && len == 4 && !memcmp(s, smile, 4), "and it comes out whole");
	bitnet_decoder_push(d, smile[0], &len);
	s = bitnet_decoder_push(d, 4095, &len);
	ok(s && !len, "a silent token does not break a character");
	s = bitnet_decoder_push(d, 'x', &len);
	ok(len == 4 && !memcmp(s, "\xef\xbf\xbdx", 4), "a character that does not go on");
	s = bitnet_decoder_push(d, 999999, &len);
	ok(len == 3 && !memcmp(s, "\xef\xbf\xbd", 3), "no such token");
	bitnet_decoder_push(d, smile[0], &len);
	s = bitnet_decoder_finish(d, &len);
	ok(len == 3 && !memcmp(s, "\xef\xbf\xbd", 3), "the end inside a character");
	bitnet_decoder_finish(d, &len);
	is(len, 0, "nothing is left after the end");
	bitnet_decoder_free(d);
}

/* Words without end must not take quadratic time: at 1 MiB that is minutes. */
static void long_words(const struct bitnet_tokenizer *tok)
{
	static const char *const units[] = {
		"a", "the", " ", "\n", "=", "1", "\xe4\xbd\xa0", "\xff", "<|"
	};
	size_t len = 1 << 20;
	char *text = malloc(len);
	struct bitnet_tokens t = { 0 };

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		double start = now();

		for (size_t j = 0; j < len; j++)
			text[j] = units[i][j % strlen(units[i])];
		encode(tok, text, len, BITNET_ENCODE_F_PARSE_SPECIAL, &t);
		ok(t.n && now() - start < 10, "1 MiB of word %zu: %zu tokens in %.0f ms", i, t.n,
		   (now() - start) * 1e3);
	}
	free(text);
	bitnet_tokens_free(&t);
}

/* A byte-level vocabulary of @n tokens: the 256 bytes, then made-up words. */
static void start_vocabulary(struct gguf_build *b, uint32_t n, const char *pre)
{
	static const char *const merges[] = { "a b", "\xc4\xa0 ab" };	/* "ab", " ab" */
	char (*names)[16] = calloc(n, sizeof(*names));
	const char **texts = calloc(n, sizeof(*texts));
	uint32_t *kinds = calloc(n, sizeof(*kinds));
	int other = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t c = i;

		if (i < 256 && !((c >= 0x21 && c <= 0x7e) || (c >= 0xa1 && c <= 0xac) || c >= 0xae))
			c = 0x100 + other++;
		if (i >= 256)
			snprintf(names[i], sizeof(names[i]), "word%u", i);
		else if (c < 0x80)
			snprintf(names[i], sizeof(names[i]), "%c", (char)c);
		else
			snprintf(names[i], sizeof(names[i]), "%c%c", (char)(0xc0 | c >> 6),
				 (char)(0x80 | (c & 0x3f)));
		texts[i] = names[i];
		kinds[i] = BITNET_TOKEN_NORMAL;
	}
	texts[256] = "<|im_start|>";
	texts[257] = "<|im_end|>";
	texts[258] = "ab";
	texts[259] = "<tool>";
	texts[260] = "eos";
	kinds[256] = BITNET_TOKEN_USER_DEFINED;
	kinds[257] = BITNET_TOKEN_CONTROL;
	kinds[259] = BITNET_TOKEN_USER_DEFINED;
	kinds[260] = BITNET_TOKEN_CONTROL;
	*b = (struct gguf_build){ .version = 3 };
	gguf_build_str(b, "tokenizer.ggml.model", "gpt2");
	if (pre)
		gguf_build_str(b, "tokenizer.ggml.pre", pre);
	gguf_build_strs(b, "tokenizer.ggml.tokens", texts, n);
	gguf_build_u32s(b, "tokenizer.ggml.token_type", kinds, n);
	gguf_build_strs(b, "tokenizer.ggml.merges", merges, 2);
	free(names);
	free(texts);
	free(kinds);
}

static void guessed_pretokenizer(void)
{
	struct bitnet_tokens t = { 0 };
	struct bitnet_tokenizer *tok;
	const uint32_t *stops;
	struct gguf_build b;

	start_vocabulary(&b, 128256, NULL);
	gguf_build_u32(&b, "tokenizer.ggml.bos_token_id", 128000);
	tok = built(&b, NULL);
	ok(tok && !strcmp(bitnet_tokenizer_pre(tok), "llama-bpe") &&
		   !bitnet_tokenizer_warning(tok) && bitnet_tokenizer_add_bos(tok),
	   "128256 tokens and no name: llama-bpe, with BOS");
	bitnet_tokenizer_free(tok);

	start_vocabulary(&b, 300, NULL);
	tok = built(&b, NULL);
	ok(tok && !strcmp(bitnet_tokenizer_pre(tok), "default") && bitnet_tokenizer_warning(tok) &&
	   strstr(bitnet_tokenizer_warning(tok), "test.gguf"), "else default, with a warning");
	bitnet_tokenizer_free(tok);

	start_vocabulary(&b, 300, NULL);
	tok = built(&b, "qwen2");
	ok(tok && !strcmp(bitnet_tokenizer_pre(tok), "qwen2") && !bitnet_tokenizer_warning(tok),
	   "or as the user says");
	bitnet_tokenizer_free(tok);

	start_vocabulary(&b, 300, "falcon3");
	tok = built(&b, NULL);
	ok(tok && !strcmp(bitnet_tokenizer_pre(tok), "llama-bpe"), "falcon3 is llama-bpe");
	bitnet_tokenizer_free(tok);

	start_vocabulary(&b, 300, "gpt-2");
	gguf_build_u32(&b, "tokenizer.ggml.eos_token_id", 260);
	tok = built(&b, NULL);
	if (!tok)
		bail("%s", err.msg);
	is(bitnet_tokenizer_kind(tok, 256), BITNET_TOKEN_CONTROL,
	   "<|im_start|> is control, whatever its type");
	ok(bitnet_tokenizer_stops(tok, &stops) == 2 && stops[0] == 260 && stops[1] == 257,
	   "stops at EOS and <|im_end|>");
	is(bitnet_tokenizer_eot(tok), 257, "which ends a turn");
	encode(tok, "eos", 3, 0, &t);
	is(t.n, 3, "a word that is a control token's name is spelled");
	encode(tok, "a<tool>eos<|im_end|>", 20, 0, &t);
	ok(t.n == 15 && t.ids[1] == 259,
	   "user-defined tokens are always found, control tokens are not");
	encode(tok, "a<tool>eos<|im_end|>", 20, BITNET_ENCODE_F_PARSE_SPECIAL, &t);
	ok(t.n == 4 && t.ids[1] == 259 && t.ids[2] == 260 && t.ids[3] == 257, "all when asked for");
	encode(tok, "ab ab", 5, 0, &t);
	ok(t.n == 4 && t.ids[0] == 258 && t.ids[1] == ' ' && t.ids[2] == 'a' && t.ids[3] == 'b',
	   "a merge that is no token is spelled in bytes");
	bitnet_tokens_free(&t);
	bitnet_tokenizer_free(tok);
}

static void refused(struct gguf_build *b, const char *pre, int code, const char *words)
{
	struct bitnet_tokenizer *tok = built(b, pre);

	if (!ok(!tok && err.code == code && strstr(err.msg, words), "refused: %s", words))
		diag("code %d, message \"%s\"", err.code, err.msg);
	bitnet_tokenizer_free(tok);
}

static void hostile_vocabularies(void)
{
	static const char *const one[] = { "x" };
	static const char *const three[] = { "<unk>", "<s>", "</s>" };
	static const char *const bad_merges[] = { "nospace" };
	static const char *const odd_merges[] = { "a \xe4\xbd\xa0" };
	static const uint32_t bad_kind[] = { 7 };
	static const float bad_score[] = { 0, NAN, 0 };
	struct bitnet_tokens t = { .n = 0 };
	struct bitnet_tokenizer *tok;
	char *special = malloc(600);
	const char *long_special[] = { special };
	static const uint32_t control[] = { BITNET_TOKEN_CONTROL };
	struct gguf_build b = { .version = 3 };

	memset(special, 's', 599);
	special[599] = '\0';
	gguf_build_u32(&b, "other", 1);
	refused(&b, NULL, ENOENT, "no tokenizer");
	b = (struct gguf_build){ .version = 3 };
	gguf_build_str(&b, "tokenizer.ggml.model", "bert");
	refused(&b, NULL, ENOTSUP, "tokenizer model bert");
	b = (struct gguf_build){ .version = 3 };
	gguf_build_str(&b, "tokenizer.ggml.model", "gpt2");
	refused(&b, NULL, EBADMSG, "tokenizer.ggml.tokens");
	b = (struct gguf_build){ .version = 3 };
	gguf_build_str(&b, "tokenizer.ggml.model", "gpt2");
	gguf_build_strs(&b, "tokenizer.ggml.tokens", one, 0);
	refused(&b, NULL, EBADMSG, "tokenizer.ggml.tokens");
	b = (struct gguf_build){ .version = 3 };
	gguf_build_str(&b, "tokenizer.ggml.model", "gpt2");
	gguf_build_strs(&b, "tokenizer.ggml.tokens", one, 1);
	refused(&b, NULL, EBADMSG, "without tokenizer.ggml.merges");
	b = (struct gguf_build){ .version = 3 };
	gguf_build_str(&b, "tokenizer.ggml.model", "gpt2");
	gguf_build_strs(&b, "tokenizer.ggml.tokens", one, 1);
	gguf_build_u32s(&b, "tokenizer.ggml.token_type", bad_kind, 1);
	refused(&b, NULL, EBADMSG, "token 0 is of no known type");
	b = (struct gguf_build){ .version = 3 };
	gguf_build_str(&b, "tokenizer.ggml.model", "gpt2");
	gguf_build_strs(&b, "tokenizer.ggml.tokens", one, 1);
	gguf_build_u32s(&b, "tokenizer.ggml.token_type", bad_kind, 0);
	refused(&b, NULL, EBADMSG, "token_type is no array of 1");
	b = (struct gguf_build){ .version = 3 };
	gguf_build_str(&b, "tokenizer.ggml.model", "gpt2");
	gguf_build_strs(&b, "tokenizer.ggml.tokens", one, 1);
	gguf_build_strs(&b, "tokenizer.ggml.merges", bad_merges, 1);
	refused(&b, NULL, EBADMSG, "merge 0");
	b = (struct gguf_build){ .version = 3 };
	gguf_build_str(&b, "tokenizer.ggml.model", "gpt2");
	gguf_build_strs(&b, "tokenizer.ggml.tokens", one, 1);
	gguf_build_strs(&b, "tokenizer.ggml.merges", odd_merges, 1);
	refused(&b, NULL, EBADMSG, "merge 0");
	b = (struct gguf_build){ .version = 3 };
	gguf_build_str(&b, "tokenizer.ggml.model", "gpt2");
	gguf_build_strs(&b, "tokenizer.ggml.tokens", long_special, 1);
	gguf_build_u32s(&b, "tokenizer.ggml.token_type", control, 1);
	refused(&b, NULL, EBADMSG, "special token 0 has 599 bytes");
	start_vocabulary(&b, 300, "unheard-of");
	refused(&b, NULL, ENOTSUP, "unknown pre-tokenizer unheard-of");
	ok(strstr(err.hint, "llama-bpe") != NULL, "and the hint lists them");
	start_vocabulary(&b, 300, "default");
	refused(&b, "unheard-of", ENOTSUP, "unknown pre-tokenizer unheard-of");
	start_vocabulary(&b, 300, "default");
	gguf_build_u32(&b, "tokenizer.ggml.bos_token_id", 300);
	refused(&b, NULL, EBADMSG, "bos_token_id is no token of the 300");
	start_vocabulary(&b, 300, "default");
	gguf_build_bool(&b, "tokenizer.ggml.add_bos_token", 1);
	refused(&b, NULL, EBADMSG, "wants a BOS");
	start_vocabulary(&b, 300, "default");
	gguf_build_str(&b, "tokenizer.ggml.add_bos_token", "yes");
	refused(&b, NULL, EBADMSG, "neither true nor false");
	b = (struct gguf_build){ .version = 3 };
	gguf_build_str(&b, "tokenizer.ggml.model", "llama");
	gguf_build_strs(&b, "tokenizer.ggml.tokens", three, 3);
	refused(&b, NULL, EBADMSG, "without tokenizer.ggml.scores");
	b = (struct gguf_build){ .version = 3 };
	gguf_build_str(&b, "tokenizer.ggml.model", "llama");
	gguf_build_strs(&b, "tokenizer.ggml.tokens", three, 3);
	gguf_build_f32s(&b, "tokenizer.ggml.scores", bad_score, 3);
	refused(&b, NULL, EBADMSG, "the score of token 1 is no number");
	b = (struct gguf_build){ .version = 3 };
	gguf_build_str(&b, "tokenizer.ggml.model", "llama");
	gguf_build_strs(&b, "tokenizer.ggml.tokens", three, 3);
	refused(&b, "gpt-2", ENOTSUP, "takes no pre-tokenizer");

	b = (struct gguf_build){ .version = 3 };
	gguf_build_str(&b, "tokenizer.ggml.model", "gpt2");
	gguf_build_str(&b, "tokenizer.ggml.pre", "gpt-2");
	gguf_build_strs(&b, "tokenizer.ggml.tokens", one, 1);
	gguf_build_strs(&b, "tokenizer.ggml.merges", one, 0);
	tok = built(&b, NULL);
	if (!tok)
		bail("%s", err.msg);
	bitnet_tokens_push(&t, 77);
	is(bitnet_tokenizer_encode(tok, "xxy", 3, 0, &t, &err), -EILSEQ, "a byte without a token");
	ok(t.n == 1 && t.ids[0] == 77, "leaves the list as it was");
	is(bitnet_tokenizer_encode(tok, "xx", 2, 0, &t, &err), 0, "other bytes have one");
	is(t.n, 3, "and are appended");
	bitnet_tokens_free(&t);
	bitnet_tokenizer_free(tok);
	free(special);
}

static void utf8(void)
{
	uint32_t cp, bad = 0;
	char s[4];

	for (uint32_t c = 0; c < 0x110000; c++) {
		int n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

		for (int i = n - 1, v = c; i >= 0; i--, v >>= 6)
			s[i] = i ? 0x80 | (v & 0x3f) : n == 1 ? v : (0xf0 << (4 - n)) | v;
		if (c >= 0xd800 && c < 0xe000)
			bad += bitnet_utf8_scan(s, n, &cp) != -1;
		else
			bad += bitnet_utf8_scan(s, n, &cp) != n || cp != c;
		for (int i = 1; i < n && (c < 0xd800 || c > 0xdfff); i++)
			bad += bitnet_utf8_scan(s, i, NULL) != 0;
	}
	is(bad, 0, "every character is read, every part of one is incomplete");
}

int main(void)
{
	json_t *root = load_json("tests/golden/tokenizer.json");
	struct bitnet_tokenizer *tok;

	utf8();
	golden_byte_level(root);
	golden_sentencepiece(root);
	json_decref(root);
	tok = demo(NULL);
	demo_texts(tok);
	special_tokens(tok);
	invalid_text(tok);
	streaming(tok);
	long_words(tok);
	bitnet_tokenizer_free(tok);
	guessed_pretokenizer();
	hostile_vocabularies();
	return done();
}
