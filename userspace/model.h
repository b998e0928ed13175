/* SPDX-License-Identifier: GPL-2.0 */
/*
 * model.h - from what the user typed to an engine with a model in it and a tokenizer beside it
 *
 * MODEL is a file (GGUF or image), or the name of a shared model, whose file the registry knows. A
 * device that already holds a shared model with the same digest is used as it is: one pinned copy
 * serves all processes. Which engine runs, and why, is always said.
 */
#ifndef BITNETCTL_MODEL_H
#define BITNETCTL_MODEL_H

#include "args.h"
#include "bitnet.h"

#include <jansson.h>

struct engine_args {
	int kind;		/* enum bitnet_engine_kind */
	const char *device;
	uint32_t threads;
	const char *variant;
};

extern const char *const engine_names[];

/* How the file is read, where it is wrong or silent about itself. */
struct file_args {
	const char *pre_tokenizer, *template;
	int activation;		/* index into activation_names; 0: what the file says */
	int packing;		/* index into packing_names; 0: what is faster here */
};

enum { PACKING_FASTER, PACKING_T1, PACKING_T2 };

extern const char *const activation_names[], *const packing_names[];

/* The two parts are apart because not every verb renders conversations. */
#define FILE_ARGS(T, m)										\
	ARG("pre", 0, ARG_STRING, T, m.pre_tokenizer, "NAME",					\
	    "pre-tokenizer, where the file names none or a wrong one"),				\
	ARG("activation", 0, ARG_CHOICE, T, m.activation, "NAME",				\
	    "relu2 or silu, where the file's architecture is misleading",			\
	    .choices = activation_names),							\
	ARG("packing", 0, ARG_CHOICE, T, m.packing, "NAME",					\
	    "of a GGUF's weights: t1 (1.6 bits), t2 (2 bits), or the faster one here",		\
	    .choices = packing_names)

#define TEMPLATE_ARG(T, m)									\
	ARG("template", 0, ARG_STRING, T, m.template, "NAME",					\
	    "chat template: raw, bitnet, llama3 or chatml (the model's)")

#define ENGINE_ARGS(T, m)									\
	ARG("engine", 0, ARG_CHOICE, T, m.kind, "WHICH",					\
	    "auto, device or local; auto: the device if there is one", .choices = engine_names), \
	ARG("threads", 't', ARG_U32, T, m.threads, "N",						\
	    "local engine: threads (one per CPU)", .max = 1024),				\
	ARG("variant", 0, ARG_STRING, T, m.variant, "NAME",					\
	    "local engine: SIMD variant (the fastest)", .completion = COMPLETE_VARIANT),	\
	ARG("device", 0, ARG_STRING, T, m.device, "PATH",					\
	    "the device (" BITNET_DEVICE_PATH ")", .completion = COMPLETE_FILE)

struct model_request {
	const char *model;		/* file or name */
	const char *shared_name;	/* --model-name: MODEL is a file, this has the weights */
	const struct engine_args *engine;
	uint64_t data_bytes;		/* data area for LINEAR jobs */
	const struct file_args *file;
};

/**
 * struct model - an open model
 * @file:	tokenizer and metadata
 * @engine:	engine
 * @id:		model handle
 * @info:	its shape
 * @engine_info: what the engine is
 * @shared:	name of the shared model in use, or empty
 * @fallback:	why the local engine runs although auto was asked for, or empty
 * @image_bytes, @huge_bytes: memory of the image that is or was in this process, and how much of it
 *		is in huge pages; 0 if it was the device's from the start
 */
struct model {
	struct bitnet_model_file file;
	struct bitnet_engine *engine;
	uint32_t id;
	struct bitnet_model_info info;
	struct bitnet_info engine_info;
	char shared[BITNET_NAME_BYTES];
	char fallback[256];
	uint64_t image_bytes, huge_bytes;
};

/** engine_options() - as bitnet_engine_open() wants them */
struct bitnet_engine_options engine_options(const struct engine_args *args);

/**
 * model_find_file() - open the file that MODEL means
 * @args:	NULL: as the file says
 * @name:	out, BITNET_NAME_BYTES: the shared model's name if that was given, else empty
 */
int model_find_file(const char *model, const struct file_args *args, struct bitnet_model_file *file,
		    char *name, struct bitnet_error *err);

/** model_image() - have file->image, with a progress bar; @name: NULL or what to call it */
int model_image(struct bitnet_model_file *file, const struct file_args *args, const char *doing,
		const char *name, struct bitnet_error *err);

/** model_check_image() - all weights of an image, with the file's name in the error */
int model_check_image(const struct bitnet_image *image, const char *path, struct bitnet_error *err);

/** model_huge_bytes() - how much of an image in this process is in huge pages */
uint64_t model_huge_bytes(const struct bitnet_image *image);

int model_open(const struct model_request *request, struct model *m, struct bitnet_error *err);
void model_close(struct model *m);

/** model_say_engine() - one line on stderr: which engine runs, and why */
void model_say_engine(const struct model *m);
/** model_say_inline() - the same for a job in this thread */
void model_say_inline(const struct model *m);

/** model_json(), model_engine_json() - the same for programs */
json_t *model_json(const struct model *m);
json_t *model_engine_json(const struct model *m);

/**
 * model_context() - session length that serves @prompt tokens and @wanted new ones
 * @asked:	--ctx, or 0
 * @wanted:	0: as many as fit
 *
 * Return: tokens, or 0 with @err set if the prompt alone is too long.
 */
uint32_t model_context(const struct model *m, uint32_t asked, uint64_t prompt, uint32_t wanted,
		       struct bitnet_error *err);

/**
 * shared_models_each() - shared models on the device, through netlink
 * Return: what @fn returned if not 0, else 0; negative errno if netlink cannot be asked.
 */
struct shared_model {
	const char *name;
	uint64_t digest, bytes;
	uint32_t handles, sessions, uid;
	bool shared, has_uid;
};
int shared_models_each(int (*fn)(void *arg, const struct shared_model *s), void *arg,
		       struct bitnet_error *err);

#endif
