// SPDX-License-Identifier: GPL-2.0
/* prompt.c - see prompt.h */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "out.h"
#include "prompt.h"

/* No context holds more text than this. */
#define MAX_PROMPT_BYTES	(16 << 20)

static int no_prompt(struct bitnet_error *err)
{
	bitnet_error_set(err, EINVAL, "no prompt given");
	return bitnet_error_hint(err, "-p TEXT, -f FILE, or - to read standard input");
}

int prompt_check_args(const struct prompt_args *a, int operands, char **argv,
		      struct bitnet_error *err)
{
	bool dash = operands > 1;

	if (dash && strcmp(argv[2], "-")) {
		bitnet_error_set(err, EINVAL, "unexpected '%s'", argv[2]);
		return bitnet_error_hint(err, "give the prompt with -p");
	}
	if (!!a->prompt + !!a->file + dash > 1)
		return bitnet_error_set(err, EINVAL, "-p, -f and - exclude each other");
	if (!a->prompt && !a->file && !dash && isatty(STDIN_FILENO))
		return no_prompt(err);
	if (a->raw && a->chat)
		return bitnet_error_set(err, EINVAL, "--raw and --chat exclude each other");
	if (a->raw && a->system)
		return bitnet_error_set(err, EINVAL, "--system goes with --chat");
	for (unsigned int i = 0; i < a->sampler.stop.n; i++)
		if (!*a->sampler.stop.s[i])
			return bitnet_error_set(err, EINVAL, "--stop: the text is empty");
	return class_check(&a->job_class, err);
}

static int read_all(int fd, const char *name, char **text, size_t *len, struct bitnet_error *err)
{
	size_t cap = 0;
	char *bigger;
	ssize_t n;

	*text = NULL;
	*len = 0;
	for (;;) {
		if (cap - *len < 2) {
			cap = cap ? 2 * cap : 4096;
			bigger = realloc(*text, cap);
			if (!bigger) {
				bitnet_error_set(err, ENOMEM, "out of memory");
				goto fail;
			}
			*text = bigger;
		}
		n = read(fd, *text + *len, cap - *len - 1);
		if (n < 0) {
			bitnet_error_set(err, errno, "%s: %s", name, strerror(errno));
			goto fail;
		}
		if (!n)
			break;
		*len += n;
		if (*len > MAX_PROMPT_BYTES) {
			bitnet_error_set(err, EFBIG, "%s: more than %s of prompt", name,
					 out_size(MAX_PROMPT_BYTES));
			goto fail;
		}
	}
	/* the newline that ends a line of text is not part of the prompt */
	if (*len && (*text)[*len - 1] == '\n')
		--*len;
	(*text)[*len] = '\0';
	return 0;
fail:
	free(*text);
	*text = NULL;
	return -err->code;
}

int prompt_read(const struct prompt_args *a, bool dash, char **text, size_t *len,
		struct bitnet_error *err)
{
	int fd, ret;

	if (a->prompt) {
		*text = strdup(a->prompt);
		*len = strlen(a->prompt);
		return *text ? 0 : bitnet_error_set(err, ENOMEM, "out of memory");
	}
	if (!a->file) {
		ret = read_all(STDIN_FILENO, "standard input", text, len, err);
		if (ret || *len || dash)
			return ret;
		free(*text);
		*text = NULL;
		return no_prompt(err);
	}
	fd = open(a->file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return bitnet_error_set(err, errno, "%s: %s", a->file, strerror(errno));
	ret = read_all(fd, a->file, text, len, err);
	close(fd);
	return ret;
}

static int tokenize(const struct prompt_args *a, struct prompt *p, struct bitnet_error *err)
{
	const struct bitnet_model_file *f = &p->model.file;
	struct bitnet_chat_message messages[2];
	size_t n = 0;

	p->chat = a->chat || (!a->raw && f->chat != BITNET_CHAT_RAW);
	if (!p->chat)
		return bitnet_tokenizer_encode(f->tokenizer, p->text, p->len,
					       BITNET_ENCODE_F_ADD_SPECIAL, &p->tokens, err);
	if (a->system)
		messages[n++] =
			(struct bitnet_chat_message){ "system", a->system, strlen(a->system) };
	messages[n++] = (struct bitnet_chat_message){ "user", p->text, p->len };
	return bitnet_chat_render(f->tokenizer, f->chat, messages, n, true, &p->tokens, err);
}

int prompt_open(const struct prompt_args *a, const char *model, struct prompt *p,
		struct bitnet_error *err)
{
	const struct model_request rq = {
		.model = model,
		.shared_name = a->model_name,
		.engine = &a->engine,
		.file = &a->model,
	};
	int ret;

	ret = model_open(&rq, &p->model, err);
	if (ret)
		return ret;
	ret = tokenize(a, p, err);
	if (!ret && !p->tokens.n) {
		/* with a BOS in front even an empty prompt has a token */
		ret = bitnet_error_set(err, EINVAL, "the prompt is empty");
	}
	if (ret)
		goto close;
	p->n_ctx =
		model_context(&p->model, a->sampler.ctx, p->tokens.n, a->sampler.max_tokens, err);
	ret = p->n_ctx ? 0 : -err->code;
	if (!ret)
		ret = bitnet_engine_session_open(p->model.engine, p->model.id, p->n_ctx,
						 &p->session, err);
	if (!ret)
		return 0;
close:
	prompt_close(p);
	return ret;
}

struct generation prompt_generation(const struct prompt_args *a, const struct prompt *p)
{
	uint32_t room = p->n_ctx - p->tokens.n + 1;

	return (struct generation){
		.engine = p->model.engine,
		.tokenizer = p->model.file.tokenizer,
		.session = p->session,
		.sampler = &a->sampler,
		.job_class = &a->job_class,
		.seed = sampler_seed(&a->sampler),
		.prompt = p->tokens.ids,
		.n_prompt = p->tokens.n,
		/* one more than there is room for, so that "context" is the reason given */
		.max_tokens = a->sampler.max_tokens && a->sampler.max_tokens <= room ?
			      a->sampler.max_tokens : room + 1,
		.decode_flags = p->chat ? BITNET_DECODE_F_START : 0,
	};
}

json_t *prompt_json(const struct prompt *p, const struct generation *g)
{
	json_t *j = generation_json(g), *engine = model_engine_json(&p->model);

	json_object_set_new(j, "mode", json_string(p->chat ? "chat" : "raw"));
	json_object_set_new(j, "model", model_json(&p->model));
	if (g->run_inline)
		json_object_set_new(engine, "inline", json_true());
	json_object_set_new(j, "engine", engine);
	return j;
}

void prompt_close(struct prompt *p)
{
	model_close(&p->model);
	bitnet_tokens_free(&p->tokens);
	free(p->text);
	p->text = NULL;
}
