// SPDX-License-Identifier: GPL-2.0
/* cmd_info.c - what device and CPU can do */
#include <string.h>
#include <sys/utsname.h>

#include "bitnetctl.h"
#include "model.h"

struct info_values {
	struct engine_args engine;
};

const struct arg info_args[] = {
	ARG("engine", 0, ARG_CHOICE, struct info_values, engine.kind, "WHICH",
	    "device: fail if there is none (auto)", .choices = engine_names),
	ARG("device", 0, ARG_STRING, struct info_values, engine.device, "PATH",
	    "the device (" BITNET_DEVICE_PATH ")", .completion = COMPLETE_FILE),
	{ 0 }
};

static const struct {
	uint64_t bit;
	const char *name;
} features[] = {
	{ BITNET_FEATURE_GENERATE, "generate" },
	{ BITNET_FEATURE_SCORE, "score" },
	{ BITNET_FEATURE_LINEAR, "linear" },
	{ BITNET_FEATURE_SHARED, "shared" },
	{ BITNET_FEATURE_EVENTFD, "eventfd" },
	{ BITNET_FEATURE_CLASSES, "classes" },
	{ BITNET_FEATURE_RUN, "run" },
};

static json_t *device_json(const struct bitnet_info *i)
{
	json_t *names = json_array();

	for (size_t f = 0; f < sizeof(features) / sizeof(features[0]); f++)
		if (i->out_features & features[f].bit)
			json_array_append_new(names, json_string(features[f].name));
	return json_pack(
		"{s:i, s:s, s:i, s:o, s:{s:I, s:I, s:I, s:I, s:i, s:i, s:i, s:i, s:i}}", "abi",
		(int)i->out_abi_version, "variant", i->out_variant, "workers", (int)i->out_workers,
		"features", names, "limits", "model_bytes", (json_int_t)i->out_max_model_bytes,
		"pinned_bytes", (json_int_t)i->out_max_pinned_bytes, "kv_bytes",
		(json_int_t)i->out_max_kv_bytes, "data_bytes", (json_int_t)i->out_max_data_bytes,
		"models", (int)i->out_max_models, "sessions", (int)i->out_max_sessions, "jobs",
		(int)i->out_max_jobs, "ring_entries", (int)i->out_max_ring_entries, "rows",
		(int)i->out_max_rows);
}

static void print_device(const struct bitnet_info *i, const char *path)
{
	struct utsname u;

	printf("device       %s, interface %u, Linux %s\n", path, i->out_abi_version,
	       uname(&u) ? "?" : u.release);
	printf("engine       %s, %u worker%s, %u rows a step\n", i->out_variant, i->out_workers,
	       i->out_workers == 1 ? "" : "s", i->out_max_rows);
	printf("features    ");
	for (size_t f = 0; f < sizeof(features) / sizeof(features[0]); f++)
		if (i->out_features & features[f].bit)
			printf(" %s", features[f].name);
	printf("\nlimits       models: %s each, %s in all; context: %s\n",
	       out_size(i->out_max_model_bytes), out_size(i->out_max_pinned_bytes),
	       out_size(i->out_max_kv_bytes));
	printf("of a process %u models, %u sessions, %u jobs, %u ring entries, %s of data\n",
	       i->out_max_models, i->out_max_sessions, i->out_max_jobs, i->out_max_ring_entries,
	       out_size(i->out_max_data_bytes));
}

static json_t *variants_json(void)
{
	json_t *list = json_array();
	const char *name;
	bool usable;

	for (unsigned int i = 0; (name = bitnet_variant_name(i, &usable)); i++)
		json_array_append_new(list,
				      json_pack("{s:s, s:b}", "name", name, "usable", usable));
	return list;
}

int cmd_info(const struct command *self, int argc, char **argv)
{
	struct info_values v = { 0 };
	struct bitnet_engine_options options;
	struct bitnet_engine *engine = NULL;
	struct bitnet_error err = { 0 };
	struct bitnet_info info;
	const char *name;
	bool usable;
	json_t *j;
	int code, ret = 0;

	code = command_parse(self, argc, argv, &v, NULL);
	if (code >= 0)
		return code;

	options = engine_options(&v.engine);
	options.kind = BITNET_ENGINE_DEVICE;
	if (v.engine.kind != BITNET_ENGINE_LOCAL) {
		ret = bitnet_engine_open(&options, &engine, &err);
		if (!ret)
			ret = bitnet_engine_info(engine, &info, &err);
		if (ret && v.engine.kind == BITNET_ENGINE_DEVICE) {
			bitnet_engine_close(engine);
			return out_error(&err);
		}
	}

	if (out.json) {
		j = json_pack("{s:s, s:i, s:o, s:o}", "version", BITNET_VERSION, "abi",
			      BITNET_ABI_VERSION, "device",
			      engine && !ret ? device_json(&info) : json_null(), "variants",
			      variants_json());
		if (ret)
			json_object_set_new(j, "no_device", out_string(err.msg, strlen(err.msg)));
		out_json(j);
	} else {
		if (engine && !ret)
			print_device(&info, options.device ? options.device : BITNET_DEVICE_PATH);
		else if (ret)
			printf("device       none (%s)\n", err.msg);
		printf("this CPU    ");
		for (unsigned int i = 0; (name = bitnet_variant_name(i, &usable)); i++)
			printf(" %s%s", name, usable ? "" : "(no)");
		printf("\nbitnetctl    %s, interface %u\n", BITNET_VERSION, BITNET_ABI_VERSION);
		if (ret)
			out_hint(err.hint);
	}
	bitnet_engine_close(engine);
	return OUT_OK;
}
