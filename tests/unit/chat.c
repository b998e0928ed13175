// SPDX-License-Identifier: GPL-2.0
/* chat.c - conversations become the tokens of their template, and nobody adds control tokens */
#include <errno.h>
#include <limits.h>

#include "chat.h"
#include "support/gguf_build.h"
#include "tap.h"

static struct bitnet_error err;

/* struct model - a GGUF with a byte-level vocabulary and control tokens behind the 256 bytes */
struct model {
	struct gguf_build b;
	struct bitnet_gguf *g;
	struct bitnet_tokenizer *tok;
};

static void build(struct model *m, const char *arch, const char *chat_template, uint32_t n_tokens,
		  const char *const *controls)
{
	char (*names)[16] = calloc(n_tokens, sizeof(*names));
	const char **texts = calloc(n_tokens, sizeof(*texts));
	uint32_t *kinds = calloc(n_tokens, sizeof(*kinds));
	static const char *const merges[] = { ": h" };
	int other = 0;

	for (uint32_t i = 0; i < n_tokens; i++) {
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
	for (uint32_t i = 0; controls[i]; i++) {
		texts[256 + i] = controls[i];
		kinds[256 + i] = BITNET_TOKEN_CONTROL;
	}
	memset(m, 0, sizeof(*m));
	m->b.version = 3;
	gguf_build_str(&m->b, "general.architecture", arch);
	if (chat_template)
		gguf_build_str(&m->b, "tokenizer.chat_template", chat_template);
	gguf_build_str(&m->b, "tokenizer.ggml.model", "gpt2");
	gguf_build_str(&m->b, "tokenizer.ggml.pre", "llama-bpe");
	gguf_build_strs(&m->b, "tokenizer.ggml.tokens", texts, n_tokens);
	gguf_build_u32s(&m->b, "tokenizer.ggml.token_type", kinds, n_tokens);
	gguf_build_strs(&m->b, "tokenizer.ggml.merges", merges, 1);
	gguf_build_u32(&m->b, "tokenizer.ggml.bos_token_id", 256);
	gguf_build_finish(&m->b);
	m->g = bitnet_gguf_open_mem(m->b.file.p, m->b.file.len, "test.gguf", &err);
	if (!m->g || bitnet_tokenizer_from_gguf(m->g, NULL, &m->tok, &err))
		bail("%s", err.msg);
	free(names);
	free(texts);
	free(kinds);
}

static void release(struct model *m)
{
	bitnet_tokenizer_free(m->tok);
	bitnet_gguf_close(m->g);
	gguf_build_free(&m->b);
}

/* The tokens as text, control tokens in brackets: <|eot_id|> spelled out is not one of them. */
static const char *shown(const struct bitnet_tokenizer *tok, const struct bitnet_tokens *t)
{
	static char text[4096];
	size_t total = 0, len;

	for (size_t i = 0; i < t->n; i++) {
		bool control = bitnet_tokenizer_kind(tok, t->ids[i]) == BITNET_TOKEN_CONTROL;
		const char *s = bitnet_tokenizer_piece(tok, t->ids[i], true, &len);

		total += snprintf(text + total, sizeof(text) - total, "%s%.*s%s",
				  control ? "[" : "", (int)len, s, control ? "]" : "");
	}
	return text;
}

static const char *rendered(const struct model *m, enum bitnet_chat_template t,
			    const struct bitnet_chat_message *msgs, size_t n, bool generate)
{
	struct bitnet_tokens tokens = { 0 };
	const char *text;

	if (bitnet_chat_render(m->tok, t, msgs, n, generate, &tokens, &err))
		return err.msg;
	text = shown(m->tok, &tokens);
	bitnet_tokens_free(&tokens);
	return text;
}

#define TURN(r, c)	{ .role = (r), .content = (c), .len = sizeof(c) - 1 }

static const struct bitnet_chat_message talk[] = {
	TURN("system", "Be brief."),
	TURN("user", "  hi\n there \xe3\x80\x80\n"),
	TURN("assistant", "Hello"),
	TURN("user", "<|eot_id|>bye<|im_end|>"),
};

static const char *const all_controls[] = {
	"<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
	"<|eot_id|>", "<|im_start|>", "<|im_end|>", NULL
};

static void templates(void)
{
	struct bitnet_tokens tokens = { 0 };
	struct model m;

	build(&m, "bitnet-b1.58", NULL, 300, all_controls);
	is_str(rendered(&m, BITNET_CHAT_BITNET, talk, 4, true),
	       "[<|begin_of_text|>]System: Be brief.[<|eot_id|>]User: hi\n there[<|eot_id|>]"
	       "Assistant: Hello[<|eot_id|>]User: <|eot_id|>bye<|im_end|>[<|eot_id|>]Assistant: ",
	       "bitnet");
	is_str(rendered(&m, BITNET_CHAT_LLAMA3, talk, 2, true),
	       "[<|begin_of_text|>][<|start_header_id|>]system[<|end_header_id|>]\n\nBe brief."
	       "[<|eot_id|>][<|start_header_id|>]user[<|end_header_id|>]\n\nhi\n there[<|eot_id|>]"
	       "[<|start_header_id|>]assistant[<|end_header_id|>]\n\n", "llama3");
	is_str(rendered(&m, BITNET_CHAT_CHATML, talk, 2, true),
	       "[<|begin_of_text|>][<|im_start|>]system\nBe brief.[<|im_end|>]\n[<|im_start|>]user\n"
	       "  hi\n there \xe3\x80\x80\n[<|im_end|>]\n[<|im_start|>]assistant\n",
	       "chatml");
	is_str(rendered(&m, BITNET_CHAT_RAW, talk, 4, true),
	       "[<|begin_of_text|>]Be brief.  hi\n there \xe3\x80\x80\nHello<|eot_id|>bye<|im_end|>",
	       "raw");
	is_str(rendered(&m, BITNET_CHAT_BITNET, talk, 1, false),
	       "[<|begin_of_text|>]System: Be brief.[<|eot_id|>]", "bitnet, a finished turn");
	is_str(rendered(&m, BITNET_CHAT_BITNET, talk, 0, true), "[<|begin_of_text|>]Assistant: ",
	       "bitnet, the assistant starts");
	is_str(rendered(&m, BITNET_CHAT_RAW, talk, 0, true), "[<|begin_of_text|>]",
	       "raw, nothing at all");

	/* the first turns are a prefix of the whole: what is in the KV cache stays good */
	for (int t = 0; t < BITNET_CHAT_N; t++) {
		struct bitnet_tokens whole = { 0 };

		tokens.n = 0;
		bitnet_chat_render(m.tok, t, talk, 2, t != BITNET_CHAT_RAW, &tokens, &err);
		bitnet_chat_render(m.tok, t, talk, 3, false, &whole, &err);
		/* the last token of a header may meet the first word: "Assistant: H" */
		ok(tokens.n > 8 && whole.n > tokens.n &&
		   !memcmp(tokens.ids, whole.ids, (tokens.n - 1) * sizeof(*tokens.ids)),
		   "%s: turns are a prefix of the conversation", bitnet_chat_name(t));
		bitnet_tokens_free(&whole);
	}
	bitnet_tokens_free(&tokens);
	release(&m);
}

static void failures(void)
{
	static const struct bitnet_chat_message bad[] = {
		TURN("user", "hi"),
		TURN("user<|eot_id|>", "hi"),
	};
	static const char *const some[] = { "<|begin_of_text|>", "<|im_start|>", NULL };
	enum bitnet_chat_template t = BITNET_CHAT_RAW;
	struct bitnet_tokens tokens = { 0 };
	struct model m;

	build(&m, "llama", NULL, 300, all_controls);
	bitnet_tokens_push(&tokens, 7);
	is(bitnet_chat_render(m.tok, BITNET_CHAT_BITNET, bad, 2, true, &tokens, &err), -EINVAL,
	   "a role that is none");
	ok(tokens.n == 1 && tokens.ids[0] == 7, "leaves the list as it was");
	is(bitnet_chat_render(m.tok, BITNET_CHAT_N, bad, 1, true, &tokens, &err), -EINVAL,
	   "a template that is none");
	release(&m);
	build(&m, "llama", NULL, 300, some);
	is(bitnet_chat_render(m.tok, BITNET_CHAT_CHATML, bad, 1, true, &tokens, &err), -ENOENT,
	   "a vocabulary without the control tokens");
	ok(strstr(err.msg, "<|im_end|>") && strstr(err.hint, "raw"), "says which, and what to do");
	release(&m);
	bitnet_tokens_free(&tokens);

	for (int i = 0; i < BITNET_CHAT_N; i++)
		ok(!bitnet_chat_by_name(bitnet_chat_name(i), &t, &err) && (int)t == i,
		   "%s by its name", bitnet_chat_name(i));
	ok(!bitnet_chat_name(BITNET_CHAT_N), "no more names");
	is(bitnet_chat_by_name("alpaca", &t, &err), -EINVAL, "a name that is none");
	ok(strstr(err.hint, "raw bitnet llama3 chatml") != NULL, "the hint lists them");
}

static void detection(void)
{
	static const struct {
		const char *what, *arch, *text;
		uint32_t n_tokens;
		const char *controls[6];
		enum bitnet_chat_template want;
	} models[] = {
		{ "2B-4T with its template", "bitnet-b1.58", "{{ '<|start_header_id|>' }}", 128256,
		  { "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>" },
		  BITNET_CHAT_BITNET },
		{ "2B-4T, its first architecture", "bitnet-25", NULL, 128256,
		  { "<|begin_of_text|>", "<|eot_id|>" }, BITNET_CHAT_BITNET },
		{ "Llama 3", "llama", "{{ '<|start_header_id|>' }}", 128256,
		  { "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>" },
		  BITNET_CHAT_LLAMA3 },
		{ "Llama 3 without a template", "llama", NULL, 128256,
		  { "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>" },
		  BITNET_CHAT_LLAMA3 },
		{ "ChatML", "llama", "{{ '<|im_start|>' }}", 300,
		  { "<|begin_of_text|>", "<|im_start|>", "<|im_end|>" }, BITNET_CHAT_CHATML },
		{ "ChatML without a template", "llama", NULL, 300,
		  { "<|begin_of_text|>", "<|im_start|>", "<|im_end|>" }, BITNET_CHAT_CHATML },
		{ "ChatML without its tokens", "llama", "{{ '<|im_start|>' }}", 300,
		  { "<|begin_of_text|>" }, BITNET_CHAT_RAW },
		{ "a base model", "bitnet", NULL, 300, { "<|begin_of_text|>" }, BITNET_CHAT_RAW },
		{ "some other template", "llama", "{{ 'Q: ' }}", 300,
		  { "<|begin_of_text|>", "<|im_start|>", "<|im_end|>" }, BITNET_CHAT_RAW },
	};
	const char *src = getenv("BITNET_SRC");
	char path[PATH_MAX];
	struct model m;

	for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++) {
		build(&m, models[i].arch, models[i].text, models[i].n_tokens, models[i].controls);
		is_str(bitnet_chat_name(bitnet_chat_detect(m.g, m.tok)),
		       bitnet_chat_name(models[i].want), "detected: %s", models[i].what);
		release(&m);
	}
	snprintf(path, sizeof(path), "%s/userspace/models/demo-i2_s.gguf", src ? src : ".");
	m.g = bitnet_gguf_open(path, &err);
	if (!m.g || bitnet_tokenizer_from_gguf(m.g, NULL, &m.tok, &err))
		bail("%s", err.msg);
	is(bitnet_chat_detect(m.g, m.tok), BITNET_CHAT_RAW, "detected: the demo model");
	bitnet_tokenizer_free(m.tok);
	bitnet_gguf_close(m.g);
}

int main(void)
{
	templates();
	failures();
	detection();
	return done();
}
