/* SPDX-License-Identifier: GPL-2.0 */
/*
 * prompt.h - what run and submit are asked for: model, engine, prompt, sampler; and doing it
 */
#ifndef BITNETCTL_PROMPT_H
#define BITNETCTL_PROMPT_H

#include "generate.h"
#include "model.h"

struct prompt_args {
	struct engine_args engine;
	struct sampler_args sampler;
	struct class_args job_class;
	const char *prompt, *file, *system;
	const char *model_name;
	struct file_args model;
	bool raw, chat;
};

#define PROMPT_DEFAULTS	{ .sampler = SAMPLER_DEFAULTS }

#define PROMPT_ARGS(T, m)									\
	ARG("prompt", 'p', ARG_STRING, T, m.prompt, "TEXT", "the prompt"),			\
	ARG("file", 'f', ARG_STRING, T, m.file, "FILE",						\
	    "read the prompt from FILE; a newline at its end does not count",			\
	    .completion = COMPLETE_FILE),							\
	ARG("raw", 0, ARG_FLAG, T, m.raw, NULL, "continue the text as it is"),			\
	ARG("chat", 0, ARG_FLAG, T, m.chat, NULL,						\
	    "take the prompt as a question (default of models with a chat template)"),		\
	ARG("system", 0, ARG_STRING, T, m.system, "TEXT", "system prompt of --chat"),		\
	SAMPLER_ARGS(T, m.sampler),								\
	CLASS_ARGS(T, m.job_class),								\
	ENGINE_ARGS(T, m.engine),								\
	ARG("model-name", 0, ARG_STRING, T, m.model_name, "NAME",				\
	    "use the shared model NAME; MODEL gives the tokenizer", .completion = COMPLETE_NAME), \
	TEMPLATE_ARG(T, m.model),								\
	FILE_ARGS(T, m.model)

/**
 * struct prompt - a prompt ready to run
 * @model:	open
 * @session:	open
 * @text:	what the user gave
 * @tokens:	what the model gets
 * @n_ctx:	length of the session
 * @chat:	is the chat template applied?
 */
struct prompt {
	struct model model;
	uint32_t session;
	char *text;
	size_t len;
	struct bitnet_tokens tokens;
	uint32_t n_ctx;
	bool chat;
};

/** prompt_check_args() - combinations that make no sense; -EINVAL is a usage error */
int prompt_check_args(const struct prompt_args *args, int operands, char **argv,
		      struct bitnet_error *err);

/**
 * prompt_read() - have the text: from the option, the file or standard input
 * @dash:	"-" was given: standard input, even if it is empty
 *
 * Return: 0; -EINVAL if nobody gave a prompt; or an errno of reading.
 */
int prompt_read(const struct prompt_args *args, bool dash, char **text, size_t *len,
		struct bitnet_error *err);

/** prompt_open() - open model and session and turn @p->text into tokens */
int prompt_open(const struct prompt_args *args, const char *model, struct prompt *p,
		struct bitnet_error *err);

/** prompt_generation() - the job for it; results as generate() leaves them */
struct generation prompt_generation(const struct prompt_args *args, const struct prompt *p);

/** prompt_json() - the whole result, as run and wait print it */
json_t *prompt_json(const struct prompt *p, const struct generation *g);

void prompt_close(struct prompt *p);

#endif
