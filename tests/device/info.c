// SPDX-License-Identifier: GPL-2.0
/* info.c - INFO and MODEL_INFO tell what the module is, what it allows and what a model looks like
 */
#include "device.h"

static void check_info(const struct bitnet_info *info)
{
	static const char *const variants[] = { "ref", "avx2", "avxvnni", "avx512vnni",
						"avx512vbmi" };
	const uint64_t features = BITNET_FEATURE_GENERATE | BITNET_FEATURE_SCORE |
				  BITNET_FEATURE_LINEAR | BITNET_FEATURE_SHARED |
				  BITNET_FEATURE_EVENTFD | BITNET_FEATURE_RUN;
	bool known = false;
	unsigned int i;

	is(info->out_abi_version, BITNET_ABI_VERSION, "ABI version");
	ok((info->out_features & features) == features, "features 0x%llx have all of version 1",
	   (unsigned long long)info->out_features);
	ok(memchr(info->out_variant, 0, sizeof(info->out_variant)), "variant is NUL-terminated");
	for (i = 0; i < ARRAY_SIZE(variants); i++)
		known |= !strcmp(info->out_variant, variants[i]);
	ok(known, "variant '%s' is a known one", info->out_variant);
	ok(info->out_workers >= 1 &&
		   info->out_workers <= (unsigned int)sysconf(_SC_NPROCESSORS_CONF),
	   "%u workers, no more than CPUs", info->out_workers);
	ok(info->out_max_model_bytes >= 64ULL << 20, "models of %llu bytes",
	   (unsigned long long)info->out_max_model_bytes);
	ok(info->out_max_pinned_bytes, "%llu bytes may be pinned",
	   (unsigned long long)info->out_max_pinned_bytes);
	ok(info->out_max_kv_bytes >= 64ULL << 20, "caches of %llu bytes",
	   (unsigned long long)info->out_max_kv_bytes);
	ok(info->out_max_data_bytes >= T_PAGE, "data areas of %llu bytes",
	   (unsigned long long)info->out_max_data_bytes);
	ok(info->out_max_models && info->out_max_sessions && info->out_max_jobs,
	   "a file may have %u models, %u sessions, %u jobs", info->out_max_models,
	   info->out_max_sessions, info->out_max_jobs);
	ok(info->out_max_ring_entries >= 2 &&
	   !(info->out_max_ring_entries & (info->out_max_ring_entries - 1)),
	   "%u ring entries are a power of two", info->out_max_ring_entries);
	ok(info->out_max_rows >= 1, "%u rows in a step", info->out_max_rows);
	is(info->__resv, 0, "reserved field");
}

static void check_model_info(int fd, const struct t_image *image, uint32_t id, const char *name)
{
	const struct bitnet_image_header *h = image->header;
	struct bitnet_model_info info;

	if (!is(t_model_info(fd, id, &info), 0, "MODEL_INFO"))
		return;
	is(info.out_flags, 0, "flags: not shared");
	is(info.out_packing, BITNET_IMAGE_FMT_T2, "packing");
	is(info.out_digest, h->digest, "digest is the writer's");
	is(info.out_image_bytes, image->length, "image bytes");
	is(info.out_n_layers, h->n_layers, "layers");
	is(info.out_hidden, h->hidden, "hidden");
	is(info.out_ffn, h->ffn, "ffn");
	is(info.out_n_heads, h->n_heads, "heads");
	is(info.out_n_kv_heads, h->n_kv_heads, "key/value heads");
	is(info.out_head_dim, h->head_dim, "width of a head");
	is(info.out_vocab, h->vocab, "vocabulary");
	is(info.out_max_ctx, h->max_ctx, "context");
	ok(info.out_kv_bytes_per_token >= 2ULL * 2 * h->n_layers * h->n_kv_heads * h->head_dim,
	   "%llu cache bytes a token hold keys and values as f16",
	   (unsigned long long)info.out_kv_bytes_per_token);
	is_str(info.out_name, name, "name");
}

int main(void)
{
	struct t_image image = t_image_demo();
	struct t_leaks before = t_leaks_start();
	int fd = t_open(), second = t_open();
	struct bitnet_info info = t_info(fd), again = t_info(second);
	struct bitnet_model_info model_info;
	uint32_t id;

	check_info(&info);
	is_mem(&again, &info, sizeof(info), "another file is told the same");

	if (is(t_model_load(fd, &image, 0, "a.label-1_x", &id), 0, "MODEL_LOAD")) {
		check_model_info(fd, &image, id, "a.label-1_x");
		is(t_model_info(second, id, &model_info), -ENOENT,
		   "the id means nothing in another file");
		is(t_model_info(fd, id + 1, &model_info), -ENOENT, "an id that nobody got");
		is(t_model_info(fd, 0xffffffff, &model_info), -ENOENT, "the largest id");
		is(t_model_close(fd, id), 0, "MODEL_CLOSE");
		is(t_model_info(fd, id, &model_info), -ENOENT,
		   "the id means nothing after MODEL_CLOSE");
	}
	close(fd);
	close(second);
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}
