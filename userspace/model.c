// SPDX-License-Identifier: GPL-2.0
/* model.c - see model.h */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <linux/bitnet_genl.h>

#include "interrupt.h"
#include "model.h"
#include "out.h"
#include "registry.h"

/*
 * Sessions without a length asked for: enough for a conversation, 300 MiB of cache for a 2B
 * model.
 */
#define DEFAULT_CTX	4096
#define ANSWER_CTX	1024	/* at least so much behind a long prompt */

const char *const engine_names[] = { "auto", "device", "local", NULL };
const char *const activation_names[] = { "file", "relu2", "silu", NULL };
const char *const packing_names[] = {
	[PACKING_FASTER] = "faster", [PACKING_T1] = "t1", [PACKING_T2] = "t2", NULL
};

struct bitnet_engine_options engine_options(const struct engine_args *args)
{
	return (struct bitnet_engine_options){
		.kind = args->kind,
		.device = args->device,
		.threads = args->threads,
		.variant = args->variant,
	};
}

/* ---- which file, which shared model --------------------------------------------------------- */

struct shared_walk {
	int (*fn)(void *arg, const struct shared_model *s);
	void *arg;
	int stop;
};

static int on_shared(void *arg, int cmd, const struct bitnet_nl_attrs *attrs)
{
	struct shared_walk *w = arg;
	struct shared_model s = {
		.name = bitnet_nl_string(attrs, BITNET_A_NAME),
		.digest = bitnet_nl_number(attrs, BITNET_A_DIGEST),
		.bytes = bitnet_nl_number(attrs, BITNET_A_MODEL_BYTES),
		.handles = bitnet_nl_number(attrs, BITNET_A_MODEL_HANDLES),
		.sessions = bitnet_nl_number(attrs, BITNET_A_MODEL_SESSIONS),
		.uid = bitnet_nl_number(attrs, BITNET_A_UID),
		.shared = bitnet_nl_number(attrs, BITNET_A_SHARED),
		.has_uid = bitnet_nl_has(attrs, BITNET_A_UID),
	};

	if (!w->stop)
		w->stop = w->fn(w->arg, &s);
	return 0;
}

int shared_models_each(int (*fn)(void *arg, const struct shared_model *s), void *arg,
		       struct bitnet_error *err)
{
	struct shared_walk w = { .fn = fn, .arg = arg };
	struct bitnet_nl *nl;
	int ret;

	ret = bitnet_nl_open(&nl, err);
	if (ret)
		return ret;
	ret = bitnet_nl_query(nl, BITNET_CMD_GET_MODELS, on_shared, &w, err);
	bitnet_nl_close(nl);
	return ret ? ret : w.stop;
}

static int has_name(void *arg, const struct shared_model *s)
{
	return s->shared && !strcmp(s->name, arg);
}

int model_find_file(const char *model, const struct file_args *args, struct bitnet_model_file *file,
		    char *name, struct bitnet_error *err)
{
	const struct bitnet_model_file_options options = {
		.pre_tokenizer = args ? args->pre_tokenizer : NULL,
		.chat_template = args ? args->template : NULL,
	};
	struct registry_note note;
	int ret;

	name[0] = '\0';
	/* a file wins over a name; "./x" or "x.gguf" is always there to tell them apart */
	if (strchr(model, '/') || !access(model, F_OK) || !registry_valid_name(model))
		return bitnet_model_file_open(model, &options, file, err);
	if (registry_read(model, &note)) {
		if (shared_models_each(has_name, (void *)model, NULL) > 0) {
			bitnet_error_set(
				err, ENOENT,
				"nothing says which file the shared model '%s' came from, and the device keeps no tokenizer",
				model);
			return bitnet_error_hint(err, "name the file: FILE --model-name %s", model);
		}
		bitnet_error_set(err, ENOENT,
				 "no file '%s', and no shared model of that name is known", model);
		bitnet_error_hint(
			err,
			"MODEL is a GGUF or image file, or a name that 'bitnetctl load' gave ('bitnetctl models')");
		return -ENOENT;
	}
	ret = bitnet_model_file_open(note.path, &options, file, err);
	if (!ret)
		strcpy(name, model);
	return ret;
}

struct search {
	const char *path;
	uint64_t digest;	/* 0: not known */
	char name[BITNET_NAME_BYTES];
};

static int match_note(void *arg, const struct registry_note *note)
{
	struct search *s = arg;

	if (!(s->digest ? note->digest == s->digest : registry_same_file(note, s->path)))
		return 0;
	strcpy(s->name, note->name);
	s->digest = note->digest;
	return 1;
}

static int match_shared(void *arg, const struct shared_model *m)
{
	struct search *s = arg;

	if (!m->shared || m->digest != s->digest || strlen(m->name) >= sizeof(s->name))
		return 0;
	strcpy(s->name, m->name);
	return 1;
}

/*
 * Name of a shared model with the same weights as the file. The digest of a GGUF is known only
 * after packing it, which takes seconds; before that the registry tells by file identity.
 */
static bool find_shared(struct search *s, const struct bitnet_model_file *file)
{
	s->path = file->path;
	if (file->image.header)
		s->digest = file->image.header->digest;
	if (registry_each(match_note, s) > 0)
		return true;
	return s->digest && shared_models_each(match_shared, s, NULL) > 0;
}

/* ---- getting the model into the engine ------------------------------------------------------- */

int model_image(struct bitnet_model_file *file, const struct file_args *args, const char *doing,
		const char *name, struct bitnet_error *err)
{
	struct bitnet_image_options options = {
		.name = name,
		.activation = args && args->activation ? activation_names[args->activation] : NULL,
		.packing = args && args->packing ? packing_names[args->packing] : NULL,
		.progress = out_progress,
		.progress_arg = (void *)doing,
	};
	int ret = 0;

	if (!file->image.base)
		ret = bitnet_model_file_image(file, &options, err);
	out_progress_end();
	return ret;
}

int model_check_image(const struct bitnet_image *image, const char *path, struct bitnet_error *err)
{
	struct bitnet_error why = { 0 };
	int ret = bitnet_image_check(image, &why);

	if (!ret)
		return 0;
	bitnet_error_set(err, ret, "%s: %s", path, why.msg);
	return bitnet_error_hint(err, "%s", why.hint);
}

uint64_t model_huge_bytes(const struct bitnet_image *image)
{
	uint64_t from = (uintptr_t)image->base, to = from + image->map_bytes, bytes = 0;
	unsigned long long start, end, kib, page_kib = 4;
	FILE *f = fopen("/proc/self/smaps", "re");
	bool inside = false;
	char line[512];

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%llx-%llx ", &start, &end) == 2)
			inside = start < to && end > from;
		else if (inside && sscanf(line, "KernelPageSize: %llu kB", &kib) == 1)
			page_kib = kib;
		/* of a mapping of hugetlbfs, none of the counters of transparent ones count */
		else if (inside && page_kib > 4 && sscanf(line, "Private_Hugetlb: %llu kB", &kib) == 1)
			bytes += kib << 10;
		else if (inside && (sscanf(line, "AnonHugePages: %llu kB", &kib) == 1 ||
				    sscanf(line, "FilePmdMapped: %llu kB", &kib) == 1))
			bytes += kib << 10;
	}
	if (f)
		fclose(f);
	/* a mapping may reach beyond the image */
	return bytes < image->length ? bytes : image->length;
}

/* Open the shared model @name and see that it is what the file says. */
static int use_shared(struct model *m, const struct file_args *args, const char *name,
		      struct bitnet_error *err)
{
	struct file_args same = args ? *args : (struct file_args){ 0 };
	struct registry_note note;
	int ret;

	ret = bitnet_engine_model_open(m->engine, name, &m->id, err);
	if (ret)
		return ret;
	ret = bitnet_engine_model_info(m->engine, m->id, &m->info, err);
	if (ret)
		goto close;
	/* a file read in another way than it says is not what its note says either */
	if (same.activation || same.packing || registry_read(name, &note) ||
	    note.digest != m->info.out_digest || !registry_same_file(&note, m->file.path)) {
		/* not known to be the same, so compare what is inside */
		if (!same.packing)
			same.packing = m->info.out_packing == BITNET_IMAGE_FMT_T1 ? PACKING_T1 :
										    PACKING_T2;
		ret = model_image(&m->file, &same, "packing", NULL, err);
		if (ret)
			goto close;
		if (m->file.image.header->digest != m->info.out_digest) {
			bitnet_error_set(err, EINVAL,
					 "%s does not hold the weights that are loaded as '%s'",
					 m->file.path, name);
			bitnet_error_hint(
				err,
				"give the file that was loaded, or load this one under another name");
			ret = -EINVAL;
			goto close;
		}
	}
	snprintf(m->shared, sizeof(m->shared), "%s", name);
	return 0;
close:
	bitnet_engine_model_close(m->engine, m->id, NULL);
	return ret;
}

static int load_own(struct model *m, struct bitnet_error *err)
{
	char label[BITNET_NAME_BYTES];
	int ret;

	registry_make_name(m->file.image.header->name, label);
	m->image_bytes = m->file.image.length;
	m->huge_bytes = model_huge_bytes(&m->file.image);
	ret = bitnet_engine_model_load(m->engine, &m->file.image, label, 0, &m->id, err);
	if (ret)
		return ret;
	return bitnet_engine_model_info(m->engine, m->id, &m->info, err);
}

static int put_model(const struct model_request *rq, struct model *m, const char *name,
		     struct bitnet_error *err)
{
	bool device = bitnet_engine_kind(m->engine) == BITNET_ENGINE_DEVICE;
	bool as_it_says = !rq->file->activation && !rq->file->packing;
	struct search search = { 0 };
	int ret;

	if (device && rq->shared_name)
		return use_shared(m, rq->file, rq->shared_name, err);
	if (device && name[0])
		return use_shared(m, rq->file, name, err);

	if (m->file.packed) {
		ret = model_image(&m->file, rq->file, "packing", NULL, err);
		if (ret)
			return ret;
	}
	if (device && as_it_says && find_shared(&search, &m->file) &&
	    !use_shared(m, rq->file, search.name, NULL))
		return 0;
	if (!m->file.image.base) {
		ret = model_image(&m->file, rq->file, "packing", NULL, err);
		if (ret)
			return ret;
		memset(&search, 0, sizeof(search));
		if (device && as_it_says && find_shared(&search, &m->file) &&
		    !use_shared(m, rq->file, search.name, NULL))
			return 0;
	}
	ret = load_own(m, err);
	if (!ret && device)
		bitnet_image_free(&m->file.image);	/* the pins keep it, see MODEL_LOAD */
	return ret;
}

int model_open(const struct model_request *rq, struct model *m, struct bitnet_error *err)
{
	struct bitnet_engine_options options = engine_options(rq->engine);
	char name[BITNET_NAME_BYTES];
	struct bitnet_error why;
	const char *warning;
	int ret;

	memset(m, 0, sizeof(*m));
	ret = model_find_file(rq->model, rq->file, &m->file, name, err);
	if (ret)
		return ret;
	warning = bitnet_tokenizer_warning(m->file.tokenizer);
	if (warning)
		out_warn("warning: %s", warning);

	options.data_bytes = rq->data_bytes;
	ret = bitnet_engine_open(&options, &m->engine, err);
	if (ret)
		goto close;
	if (bitnet_engine_fallback(m->engine))
		snprintf(m->fallback, sizeof(m->fallback), "%s", bitnet_engine_fallback(m->engine));

	if ((options.threads || options.variant) && !m->fallback[0] &&
	    bitnet_engine_kind(m->engine) == BITNET_ENGINE_DEVICE)
		out_note(
			"--threads and --variant are for the local engine; the device has its own");

	ret = put_model(rq, m, name, &why);
	if ((ret == -ENOMEM || ret == -EDQUOT || ret == -EOPNOTSUPP) && m->file.image.base &&
	    options.kind == BITNET_ENGINE_AUTO &&
	    bitnet_engine_kind(m->engine) == BITNET_ENGINE_DEVICE) {
		/*
		 * a device that cannot take the model is as good as none, but the user must learn
		 * why
		 */
		snprintf(m->fallback, sizeof(m->fallback), "%s", why.msg);
		out_hint(why.hint);
		bitnet_engine_close(m->engine);
		m->engine = NULL;
		options.kind = BITNET_ENGINE_LOCAL;
		ret = bitnet_engine_open(&options, &m->engine, &why);
		if (!ret)
			ret = load_own(m, &why);
	}
	if (!ret)
		ret = bitnet_engine_info(m->engine, &m->engine_info, &why);
	if (!ret)
		return 0;
	if (err)
		*err = why;
close:
	model_close(m);
	return ret;
}

void model_close(struct model *m)
{
	bitnet_engine_close(m->engine);
	bitnet_model_file_close(&m->file);
	memset(m, 0, sizeof(*m));
}

/* ---- telling --------------------------------------------------------------------------------- */

static const char *kernel_release(void)
{
	static struct utsname u;

	return uname(&u) ? "?" : u.release;
}

void model_say_engine(const struct model *m)
{
	const struct bitnet_info *i = &m->engine_info;

	if (bitnet_engine_kind(m->engine) == BITNET_ENGINE_DEVICE) {
		out_note("running in the kernel: Linux %s, %s, %u worker%s%s%s%s", kernel_release(),
			 i->out_variant, i->out_workers, i->out_workers == 1 ? "" : "s",
			 m->shared[0] ? ", shared model '" : "", m->shared,
			 m->shared[0] ? "'" : "");
		return;
	}
	out_note("running in this process, not on the device: %s, %u thread%s%s%s%s",
		 i->out_variant, i->out_workers, i->out_workers == 1 ? "" : "s",
		 m->fallback[0] ? " (" : "", m->fallback, m->fallback[0] ? ")" : "");
}

void model_say_inline(const struct model *m)
{
	if (bitnet_engine_kind(m->engine) == BITNET_ENGINE_DEVICE)
		out_note("running in the kernel, inline in this thread: Linux %s, %s%s%s%s",
			 kernel_release(), m->engine_info.out_variant,
			 m->shared[0] ? ", shared model '" : "", m->shared,
			 m->shared[0] ? "'" : "");
	else
		out_note("running in this process, inline in this thread, not on the device: %s%s%s%s",
			 m->engine_info.out_variant, m->fallback[0] ? " (" : "", m->fallback,
			 m->fallback[0] ? ")" : "");
}

json_t *model_engine_json(const struct model *m)
{
	bool device = bitnet_engine_kind(m->engine) == BITNET_ENGINE_DEVICE;
	json_t *j;

	j = json_pack("{s:s, s:s, s:i}", "kind", device ? "device" : "local", "variant",
		      m->engine_info.out_variant, device ? "workers" : "threads",
		      (int)m->engine_info.out_workers);
	if (device)
		json_object_set_new(j, "kernel", json_string(kernel_release()));
	if (m->fallback[0])
		json_object_set_new(j, "fallback", out_string(m->fallback, strlen(m->fallback)));
	return j;
}

json_t *model_json(const struct model *m)
{
	json_t *j;

	j = json_pack("{s:o, s:o, s:s, s:o}", "path",
		      out_string(m->file.path, strlen(m->file.path)), "digest",
		      out_hex64(m->info.out_digest), "chat_template",
		      bitnet_chat_name(m->file.chat), "name",
		      out_string(m->info.out_name, strnlen(m->info.out_name, BITNET_NAME_BYTES)));
	if (m->shared[0])
		json_object_set_new(j, "shared", json_string(m->shared));
	return j;
}

uint32_t model_context(const struct model *m, uint32_t asked, uint64_t prompt, uint32_t wanted,
		       struct bitnet_error *err)
{
	uint64_t max = m->info.out_max_ctx, per = m->info.out_kv_bytes_per_token, n;
	const char *limit = "the model's context holds";

	if (per && m->engine_info.out_max_kv_bytes && max > m->engine_info.out_max_kv_bytes / per) {
		max = m->engine_info.out_max_kv_bytes / per;
		limit = "the device allows a context of";
	}
	if (asked > max) {
		bitnet_error_set(err, EINVAL, "--ctx %u: %s %llu tokens", asked, limit,
				 (unsigned long long)max);
		return 0;
	}
	if (asked) {
		n = asked;
		limit = "--ctx allows";
	} else {
		n = prompt + (wanted ? wanted : ANSWER_CTX);
		if (!wanted && n < DEFAULT_CTX)
			n = DEFAULT_CTX;
		if (n > max)
			n = max;
	}
	if (prompt > n) {
		bitnet_error_set(err, ERANGE, "the prompt has %llu tokens, %s %llu",
				 (unsigned long long)prompt, limit, (unsigned long long)n);
		return 0;
	}
	return n;
}
