// SPDX-License-Identifier: GPL-2.0
/* cmd_load.c - shared models: load, unload, list */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "bitnetctl.h"
#include "interrupt.h"
#include "model.h"
#include "registry.h"

struct load_values {
	const char *name, *device;
	struct file_args file;
};

const struct arg load_args[] = {
	ARG("name", 0, ARG_STRING, struct load_values, name, "NAME",
	    "what others call it (the file's name without its ending)"),
	FILE_ARGS(struct load_values, file),
	ARG("device", 0, ARG_STRING, struct load_values, device, "PATH",
	    "the device (" BITNET_DEVICE_PATH ")", .completion = COMPLETE_FILE),
	{ 0 }
};

static void name_from_path(const char *path, char *name)
{
	const char *base = strrchr(path, '/');
	char *dot;

	registry_make_name(base ? base + 1 : path, name);
	dot = strrchr(name, '.');
	if (dot && dot != name)
		*dot = '\0';
}

static int open_device(const char *device, struct bitnet_engine **engine, struct bitnet_error *err)
{
	const struct bitnet_engine_options options = {
		.kind = BITNET_ENGINE_DEVICE,
		.device = device,
		.ring_entries = 2,
	};

	return bitnet_engine_open(&options, engine, err);
}

struct same_digest {
	uint64_t digest;
	char name[BITNET_NAME_BYTES];
};

static int find_digest(void *arg, const struct shared_model *s)
{
	struct same_digest *d = arg;

	if (!s->shared || s->digest != d->digest)
		return 0;
	snprintf(d->name, sizeof(d->name), "%s", s->name);
	return 1;
}

int cmd_load(const struct command *self, int argc, char **argv)
{
	struct load_values v = { 0 };
	struct bitnet_model_file_options file_options = { 0 };
	struct bitnet_model_file file = { 0 };
	struct bitnet_engine *engine = NULL;
	struct bitnet_error err = { 0 }, note_err;
	struct registry_note note = { 0 };
	struct same_digest same = { 0 };
	uint32_t id;
	bool noted;
	int code, ret;

	code = command_parse(self, argc, argv, &v, NULL);
	if (code >= 0)
		return code;
	if (v.name && !registry_valid_name(v.name)) {
		bitnet_error_set(&err, EINVAL, "--name: '%s' is not a name", v.name);
		bitnet_error_hint(&err,
				  "1 to %d of letters, digits, '.', '_' and '-'; not '.' first",
				  BITNET_NAME_BYTES - 1);
		return command_usage(self, &err);
	}
	if (v.name)
		strcpy(note.name, v.name);
	else
		name_from_path(argv[1], note.name);

	interrupt_catch(false);
	file_options.pre_tokenizer = v.file.pre_tokenizer;
	ret = bitnet_model_file_open(argv[1], &file_options, &file, &err);
	if (!ret)
		ret = open_device(v.device, &engine, &err);
	if (!ret)
		ret = registry_describe(argv[1], &note, &err);
	if (!ret)
		ret = model_image(&file, &v.file, "packing", NULL, &err);
	if (!ret) {
		if (v.file.activation || v.file.packing)
			note.ino = 0;	/* then the file alone does not tell what is loaded */
		same.digest = note.digest = file.image.header->digest;
		if (shared_models_each(find_digest, &same, NULL) > 0 &&
		    strcmp(same.name, note.name))
			out_note(
				"the same weights are loaded as '%s' already; this pins a second copy",
				same.name);
		ret = bitnet_engine_model_load(engine, &file.image, note.name,
					       BITNET_MODEL_F_SHARED, &id, &err);
	}
	if (ret) {
		code = out_error(&err);
		goto close;
	}

	/* the model is there for all; without the note they only have to name the file */
	noted = !registry_write(&note, &note_err);
	if (!noted)
		out_warn("warning: %s", note_err.msg);
	if (out.json)
		out_json(json_pack("{s:s, s:o, s:o, s:I}", "name", note.name, "digest",
				   out_hex64(note.digest), "path",
				   out_string(note.path, strlen(note.path)), "bytes",
				   (json_int_t)file.image.length));
	else
		printf("loaded '%s': %s pinned; use it with: bitnetctl run %s%s%s -p ...\n",
		       note.name, out_size(file.image.length), noted ? "" : argv[1],
		       noted ? "" : " --model-name ", note.name);
	code = OUT_OK;
close:
	bitnet_engine_close(engine);
	bitnet_model_file_close(&file);
	return code;
}

int cmd_unload(const struct command *self, int argc, char **argv)
{
	struct bitnet_engine *engine;
	struct bitnet_error err = { 0 };
	int code, ret;

	code = command_parse(self, argc, argv, NULL, NULL);
	if (code >= 0)
		return code;
	ret = open_device(NULL, &engine, &err);
	if (ret)
		return out_error(&err);
	ret = bitnet_engine_model_unload(engine, argv[1], &err);
	bitnet_engine_close(engine);
	/* a note without a model is stale: a module that was removed takes its models along */
	if (!ret || ret == -ENOENT)
		registry_remove(argv[1]);
	if (ret)
		return out_error(&err);
	if (out.json)
		out_json(json_pack("{s:o, s:b}", "name", out_string(argv[1], strlen(argv[1])),
				   "unloaded", 1));
	else
		printf("unloaded '%s'\n", argv[1]);
	return OUT_OK;
}

static int add_model(void *arg, const struct shared_model *s)
{
	json_t *list = arg, *j;
	struct registry_note note;

	j = json_pack("{s:o, s:b, s:I, s:o, s:I, s:I}", "name",
		      out_string(s->name, strlen(s->name)), "shared", s->shared, "bytes",
		      (json_int_t)s->bytes, "digest", out_hex64(s->digest), "handles",
		      (json_int_t)s->handles, "sessions", (json_int_t)s->sessions);
	if (s->has_uid)
		json_object_set_new(j, "uid", json_integer(s->uid));
	if (s->shared && !registry_read(s->name, &note) && note.digest == s->digest)
		json_object_set_new(j, "path", out_string(note.path, strlen(note.path)));
	json_array_append_new(list, j);
	return 0;
}

static const char *text_of(const json_t *object, const char *key, const char *none)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s && *s ? s : none;
}

int cmd_models(const struct command *self, int argc, char **argv)
{
	struct bitnet_error err = { 0 };
	json_t *list, *m;
	size_t i;
	int code, ret;

	code = command_parse(self, argc, argv, NULL, NULL);
	if (code >= 0)
		return code;
	list = json_array();
	ret = shared_models_each(add_model, list, &err);
	if (ret) {
		json_decref(list);
		return out_error(&err);
	}
	if (out.json) {
		out_json(json_pack("{s:o}", "models", list));
		return OUT_OK;
	}
	if (!json_array_size(list)) {
		out_note("no models; as root: bitnetctl load FILE");
		json_decref(list);
		return OUT_OK;
	}
	printf("%s%-20s %-7s %10s %8s %8s  %-18s  %s%s\n", out_style(STYLE_BOLD), "NAME", "KIND",
	       "SIZE", "HANDLES", "SESSIONS", "DIGEST", "FILE", out_style(STYLE_PLAIN));
	json_array_foreach(list, i, m)
		printf("%-20s %-7s %10s %8lld %8lld  %-18s  %s\n", text_of(m, "name", "-"),
		       json_is_true(json_object_get(m, "shared")) ? "shared" : "private",
		       out_size(json_integer_value(json_object_get(m, "bytes"))),
		       (long long)json_integer_value(json_object_get(m, "handles")),
		       (long long)json_integer_value(json_object_get(m, "sessions")),
		       text_of(m, "digest", "-"), text_of(m, "path", "-"));
	json_decref(list);
	return OUT_OK;
}
