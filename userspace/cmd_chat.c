// SPDX-License-Identifier: GPL-2.0
/*
 * cmd_chat.c - a conversation
 *
 * Before each answer the whole conversation is rendered to tokens; what the session's cache holds
 * already is a prefix of that, mostly, and only the rest is computed.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bitnetctl.h"
#include "generate.h"
#include "interrupt.h"
#include "model.h"

struct chat_values {
	struct engine_args engine;
	struct sampler_args sampler;
	struct class_args job_class;
	const char *system, *model_name;
	struct file_args file;
	bool stats;
};

const struct arg chat_args[] = {
	ARG("system", 0, ARG_STRING, struct chat_values, system, "TEXT", "system prompt"),
	SAMPLER_ARGS(struct chat_values, sampler),
	CLASS_ARGS(struct chat_values, job_class),
	ENGINE_ARGS(struct chat_values, engine),
	ARG("model-name", 0, ARG_STRING, struct chat_values, model_name, "NAME",
	    "use the shared model NAME; MODEL gives the tokenizer", .completion = COMPLETE_NAME),
	TEMPLATE_ARG(struct chat_values, file),
	FILE_ARGS(struct chat_values, file),
	ARG("stats", 0, ARG_FLAG, struct chat_values, stats, NULL,
	    "tell speed and latency of each answer on standard error"),
	{ 0 }
};

/**
 * struct chat - a conversation
 * @messages:	turns; contents are owned. The first may be the system prompt
 * @cache:	tokens that the session's cache holds
 */
struct chat {
	struct chat_values v;
	struct model model;
	uint32_t session, n_ctx;
	struct bitnet_chat_message *messages;
	size_t n;
	struct bitnet_tokens cache;
	bool tty;
};

static int push(struct chat *c, const char *role, const char *text, size_t len)
{
	struct bitnet_chat_message *bigger;
	char *copy;

	bigger = realloc(c->messages, (c->n + 1) * sizeof(*bigger));
	if (!bigger)
		return -ENOMEM;
	c->messages = bigger;
	copy = malloc(len + 1);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, text, len);
	copy[len] = '\0';
	c->messages[c->n++] = (struct bitnet_chat_message){ role, copy, len };
	return 0;
}

static void drop(struct chat *c, size_t at)
{
	free((char *)c->messages[at].content);
	memmove(&c->messages[at], &c->messages[at + 1], (c->n - at - 1) * sizeof(*c->messages));
	c->n--;
}

static size_t first_turn(const struct chat *c)
{
	return c->n && !strcmp(c->messages[0].role, "system");
}

static void reset(struct chat *c)
{
	while (c->n > first_turn(c))
		drop(c, c->n - 1);
}

static int set_system(struct chat *c, const char *text)
{
	reset(c);
	if (c->n)
		drop(c, 0);
	return *text ? push(c, "system", text, strlen(text)) : 0;
}

/*
 * Render; while it does not fit with some room for an answer, forget the oldest question and
 * answer.
 */
static int render(struct chat *c, struct bitnet_tokens *tokens, struct bitnet_error *err)
{
	uint32_t want = c->v.sampler.max_tokens ? c->v.sampler.max_tokens : 256;
	size_t oldest = first_turn(c);
	bool forgot = false;
	int ret;

	if (want > c->n_ctx / 2)
		want = c->n_ctx / 2;
	for (;;) {
		tokens->n = 0;
		ret = bitnet_chat_render(c->model.file.tokenizer, c->model.file.chat, c->messages,
					 c->n, true, tokens, err);
		if (ret)
			return ret;
		if (tokens->n + want <= c->n_ctx || c->n - oldest < 3)
			break;
		drop(c, oldest);
		drop(c, oldest);
		forgot = true;
	}
	if (forgot)
		out_note("the context of %u tokens is full: the oldest turns are forgotten",
			 c->n_ctx);
	if (!tokens->n)
		return bitnet_error_set(err, EINVAL, "nothing to say");
	if (tokens->n > c->n_ctx) {
		bitnet_error_set(err, ERANGE, "%zu tokens do not fit into the context of %u",
				 tokens->n, c->n_ctx);
		return bitnet_error_hint(err, "a shorter message, or a longer context (--ctx)");
	}
	return 0;
}

static bool print_text(void *arg, const char *text, size_t len, const struct bitnet_ring_entry *e)
{
	return !len || out_text(text, len);
}

/* Keep in the cache what @tokens begin with, at most all but one: a job needs input. */
static int rewind_cache(struct chat *c, const struct bitnet_tokens *tokens,
			struct bitnet_error *err)
{
	size_t keep = 0;
	int ret = 0;

	while (keep < c->cache.n && keep + 1 < tokens->n && c->cache.ids[keep] == tokens->ids[keep])
		keep++;
	if (keep < c->cache.n)
		ret = bitnet_engine_session_rewind(c->model.engine, c->session, keep, err);
	if (!ret)
		c->cache.n = keep;
	return ret;
}

static int answer(struct chat *c, struct bitnet_error *err)
{
	struct bitnet_tokens tokens = { 0 };
	struct generation g = { 0 };
	size_t keep;
	int ret;

	ret = render(c, &tokens, err);
	if (!ret)
		ret = rewind_cache(c, &tokens, err);
	if (ret)
		goto free;
	keep = c->cache.n;
	g = (struct generation){
		.engine = c->model.engine,
		.tokenizer = c->model.file.tokenizer,
		.session = c->session,
		.sampler = &c->v.sampler,
		.job_class = &c->v.job_class,
		.seed = sampler_seed(&c->v.sampler),
		.prompt = tokens.ids + keep,
		.n_prompt = tokens.n - keep,
		.max_tokens = c->v.sampler.max_tokens ? c->v.sampler.max_tokens :
			      c->n_ctx - tokens.n + 2,
		.decode_flags = BITNET_DECODE_F_START,
		.on_text = out.json ? NULL : print_text,
	};
	out_debug("%zu of %zu tokens are in the cache", keep, tokens.n);
	ret = generate(&g, err);

	/*
	 * what the cache holds now: input, then all that was made but the last, up to where it
	 * got
	 */
	for (size_t i = keep; !ret && i < tokens.n && i < g.cached; i++)
		ret = bitnet_tokens_push(&c->cache, tokens.ids[i]);
	for (size_t i = 0; !ret && i < g.n_tokens && tokens.n + i < g.cached; i++)
		ret = bitnet_tokens_push(&c->cache, g.tokens[i].token);
	if (ret)
		goto free;
	ret = push(c, "assistant", g.text, g.text_len);
	if (out.json) {
		out_json_line(generation_json(&g));
	} else {
		out_text("\n", 1);
		if (!strcmp(g.finish, "context"))
			out_note("the context is full; /reset starts anew");
	}
	if (c->v.stats)
		generation_say_speed(&g);
free:
	generation_free(&g);
	bitnet_tokens_free(&tokens);
	return ret;
}

static void print_commands(void)
{
	fputs("/help          this list\n"
	      "/reset         forget the conversation, keep the system prompt\n"
	      "/system TEXT   forget the conversation, set the system prompt (nothing: none)\n"
	      "/stats         tell speed after each answer, or stop telling\n"
	      "/quit          end (also Ctrl-D)\n"
	      "Ctrl-C ends an answer. A backslash at the end of a line continues the message.\n",
	      stderr);
}

/* Return: 1 if the line was a command, 0 if it is a message, -1 to quit. */
static int command(struct chat *c, const char *line)
{
	if (line[0] != '/')
		return 0;
	if (!strcmp(line, "/quit") || !strcmp(line, "/exit"))
		return -1;
	if (!strcmp(line, "/help") || !strcmp(line, "/?")) {
		print_commands();
	} else if (!strcmp(line, "/reset")) {
		reset(c);
		out_note("conversation forgotten");
	} else if (!strncmp(line, "/system", 7) && (!line[7] || line[7] == ' ')) {
		set_system(c, line[7] ? line + 8 : "");
		out_note("system prompt %s, conversation forgotten", line[7] ? "set" : "removed");
	} else if (!strcmp(line, "/stats")) {
		c->v.stats = !c->v.stats;
	} else {
		out_warn("no command '%s'; /help lists them", line);
	}
	return 1;
}

/* One message, of several lines if they end in a backslash. Return: NULL at the end. */
static char *read_message(struct chat *c)
{
	char *line = NULL, *message = NULL, *bigger;
	size_t cap = 0, len = 0;
	ssize_t n;
	bool more;

	do {
		if (c->tty) {
			fputs(message ? ". " : "> ", stderr);
			fflush(stderr);
		}
		n = getline(&line, &cap, stdin);
		if (n < 0)
			break;
		if (n && line[n - 1] == '\n')
			n--;
		more = n && line[n - 1] == '\\';
		if (more)
			line[n - 1] = '\n';
		bigger = realloc(message, len + n + 1);
		if (!bigger)
			break;
		message = bigger;
		memcpy(message + len, line, n);
		len += n;
		message[len] = '\0';
	} while (more);
	free(line);
	return message;
}

static int converse(struct chat *c)
{
	struct bitnet_error err = { 0 };
	int code, what;
	char *message;

	while (!out_broken() && (message = read_message(c))) {
		what = command(c, message);
		if (what || !message[strspn(message, " \t\n")]) {
			free(message);
			if (what < 0)
				break;
			continue;
		}
		if (push(c, "user", message, strlen(message))) {
			free(message);
			bitnet_error_set(&err, ENOMEM, "out of memory");
			return out_error(&err);
		}
		free(message);
		if (!answer(c, &err)) {
			/*
			 * Ctrl-C of a person ended the answer; anything else ends the
			 * conversation
			 */
			if (interrupt_pending() && (interrupt_pending() != SIGINT || !c->tty))
				break;
			interrupt_clear();
			continue;
		}
		code = out_error(&err);
		if (!c->tty || err.code != ERANGE)
			return code;
		drop(c, c->n - 1);
	}
	if (c->tty)
		fputc('\n', stderr);
	return interrupt_pending() ? 128 + interrupt_pending() : OUT_OK;
}

int cmd_chat(const struct command *self, int argc, char **argv)
{
	struct chat c = { .v = { .sampler = SAMPLER_DEFAULTS } };
	struct bitnet_error err = { 0 };
	struct model_request rq;
	int code, ret;

	code = command_parse(self, argc, argv, &c.v, NULL);
	if (code >= 0)
		return code;
	if (class_check(&c.v.job_class, &err))
		return command_usage(self, &err);
	interrupt_catch(false);
	c.tty = isatty(STDIN_FILENO) && !out.quiet;
	rq = (struct model_request){
		.model = argv[1],
		.shared_name = c.v.model_name,
		.engine = &c.v.engine,
		.file = &c.v.file,
	};
	ret = model_open(&rq, &c.model, &err);
	if (ret)
		return out_error(&err);
	c.n_ctx = model_context(&c.model, c.v.sampler.ctx, 0, 0, &err);
	ret = c.n_ctx ? 0 : -err.code;
	if (!ret)
		ret = bitnet_engine_session_open(c.model.engine, c.model.id, c.n_ctx, &c.session,
						 &err);
	if (!ret && c.v.system && set_system(&c, c.v.system))
		ret = bitnet_error_set(&err, ENOMEM, "out of memory");
	if (ret) {
		code = out_error(&err);
	} else {
		model_say_engine(&c.model);
		if (c.model.file.chat == BITNET_CHAT_RAW)
			out_note("this model has no chat template: it continues the text");
		if (c.tty)
			out_note("context %u tokens; /help lists commands", c.n_ctx);
		code = converse(&c);
	}
	while (c.n)
		drop(&c, c.n - 1);
	free(c.messages);
	bitnet_tokens_free(&c.cache);
	model_close(&c.model);
	return code;
}
