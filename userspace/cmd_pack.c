// SPDX-License-Identifier: GPL-2.0
/* cmd_pack.c - a model as a packed image file */
#include <errno.h>
#include <string.h>

#include "bitnet.h"
#include "bitnetctl.h"
#include "interrupt.h"
#include "model.h"

struct pack_values {
	const char *output, *name;
	struct file_args file;
};

const struct arg pack_args[] = {
	ARG("output", 'o', ARG_STRING, struct pack_values, output, "FILE",
	    "the image to write (required)", .completion = COMPLETE_FILE),
	ARG("name", 0, ARG_STRING, struct pack_values, name, "TEXT",
	    "name of the model inside the image (the model's own)"),
	FILE_ARGS(struct pack_values, file),
	{ 0 }
};

/*
 * Read back what was written: the page cache does not hide a lying disk, but a wrong length or
 * byte shows.
 */
static int check_written(const char *path, uint64_t digest, struct bitnet_error *err)
{
	struct bitnet_image image = { 0 };
	struct bitnet_gguf *meta = NULL;
	int ret;

	ret = bitnet_image_map(path, &image, &meta, err);
	if (ret)
		return ret;
	ret = model_check_image(&image, path, err);
	if (!ret && image.header->digest != digest)
		ret = bitnet_error_set(err, EBADMSG,
				       "%s: what was read back is not what was written", path);
	bitnet_image_free(&image);
	bitnet_gguf_close(meta);
	return ret;
}

int cmd_pack(const struct command *self, int argc, char **argv)
{
	struct pack_values v = { 0 };
	struct bitnet_model_file_options file_options = { 0 };
	struct bitnet_image_options options = {
		.progress = out_progress,
		.progress_arg = "writing",
	};
	struct bitnet_model_file file = { 0 };
	struct bitnet_error err = { 0 };
	int code, ret;

	code = command_parse(self, argc, argv, &v, NULL);
	if (code >= 0)
		return code;
	if (!v.output) {
		bitnet_error_set(&err, EINVAL, "pack: no output file given (-o FILE)");
		return command_usage(self, &err);
	}
	interrupt_catch(true);
	file_options.pre_tokenizer = v.file.pre_tokenizer;
	ret = bitnet_model_file_open(argv[1], &file_options, &file, &err);
	if (!ret)
		ret = model_image(&file, &v.file, "packing", v.name, &err);
	if (!ret)
		ret = bitnet_image_write(&file.image, file.gguf, v.output, &options, &err);
	out_progress_end();
	if (!ret)
		ret = check_written(v.output, file.image.header->digest, &err);
	if (ret) {
		code = out_error(&err);
	} else if (out.json) {
		out_json(json_pack("{s:o, s:o, s:I}", "path",
				   out_string(v.output, strlen(v.output)), "digest",
				   out_hex64(file.image.header->digest), "image_bytes",
				   (json_int_t)file.image.length));
		code = OUT_OK;
	} else {
		printf("%s: %s packed, digest 0x%016llx, checked\n", v.output,
		       out_size(file.image.length),
		       (unsigned long long)file.image.header->digest);
		code = OUT_OK;
	}
	bitnet_model_file_close(&file);
	return code;
}
