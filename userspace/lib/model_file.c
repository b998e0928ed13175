// SPDX-License-Identifier: GPL-2.0 OR MIT
/* model_file.c - a path that may be a GGUF or a packed image, as weights, tokenizer and metadata */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bitnet.h"

#define MAGIC_BYTES	8

/* The file's first bytes, for telling what it is, and for telling a person what it is not. */
static int read_magic(const char *path, uint8_t *magic, struct bitnet_error *err)
{
	struct stat st;
	ssize_t n;
	int fd;

	/* O_NONBLOCK: a FIFO would otherwise wait for a writer. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return bitnet_error_set(err, errno, "%s: %s", path, strerror(errno));
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		close(fd);
		return bitnet_error_set(err, S_ISDIR(st.st_mode) ? EISDIR : EINVAL, "%s: %s", path,
					S_ISDIR(st.st_mode) ? "is a directory, not a model file" :
							      "not a regular file");
	}
	n = pread(fd, magic, MAGIC_BYTES, 0);
	if (n < 0) {
		int error = errno;

		close(fd);
		return bitnet_error_set(err, error, "%s: %s", path, strerror(error));
	}
	close(fd);
	if (!n)
		return bitnet_error_set(err, EINVAL, "%s: the file is empty", path);
	memset(magic + n, 0, MAGIC_BYTES - n);
	return 0;
}

static int not_a_model(const char *path, const uint8_t *magic, struct bitnet_error *err)
{
	static const char hex[] = "0123456789abcdef";
	char text[2 * MAGIC_BYTES + 1], bytes[3 * MAGIC_BYTES + 1];

	for (int i = 0; i < MAGIC_BYTES; i++) {
		text[i] = magic[i] >= ' ' && magic[i] <= '~' ? magic[i] : '.';
		bytes[3 * i] = hex[magic[i] >> 4];
		bytes[3 * i + 1] = hex[magic[i] & 15];
		bytes[3 * i + 2] = ' ';
	}
	text[MAGIC_BYTES] = '\0';
	bytes[3 * MAGIC_BYTES - 1] = '\0';
	bitnet_error_set(err, EINVAL, "%s: not a GGUF or bitnet image (starts with \"%s\", %s)",
			 path, text, bytes);
	if (!memcmp(magic, "version ", 8))
		return bitnet_error_hint(
			err, "This is a Git LFS pointer: fetch the file with git lfs pull.");
	if (!memcmp(magic, "<!", 2) || !memcmp(magic, "<html", 5))
		return bitnet_error_hint(err, "This is a web page: the download went wrong.");
	return bitnet_error_hint(err, "GGUF files start with \"GGUF\", images with \"%s\".",
				 BITNET_IMAGE_MAGIC);
}

static int error_of(const struct bitnet_error *err, int otherwise)
{
	return err && err->code ? -err->code : otherwise;
}

int bitnet_model_file_open(const char *path, const struct bitnet_model_file_options *options,
			   struct bitnet_model_file *file, struct bitnet_error *err)
{
	uint8_t magic[MAGIC_BYTES];
	struct bitnet_error ignored = { 0 };
	int ret;

	if (!err)
		err = &ignored;
	memset(file, 0, sizeof(*file));
	ret = read_magic(path, magic, err);
	if (ret)
		return ret;
	file->path = strdup(path);
	if (!file->path)
		return bitnet_error_set(err, ENOMEM, "no memory");
	if (!memcmp(magic, BITNET_IMAGE_MAGIC, sizeof(magic))) {
		file->packed = true;
		ret = bitnet_image_map(path, &file->image, &file->gguf, err);
		if (!ret && !file->gguf) {
			bitnet_error_set(err, EINVAL, "%s: the image has no metadata", path);
			ret = bitnet_error_hint(
				err, "Pack it again: the tokenizer belongs behind the weights.");
		}
	} else if (!memcmp(magic, "GGUF", 4)) {
		file->gguf = bitnet_gguf_open(path, err);
		if (!file->gguf)
			ret = error_of(err, -EINVAL);
	} else {
		ret = not_a_model(path, magic, err);
	}
	if (!ret)
		ret = bitnet_tokenizer_from_gguf(
			file->gguf, options ? options->pre_tokenizer : NULL, &file->tokenizer, err);
	if (!ret && options && options->chat_template)
		ret = bitnet_chat_by_name(options->chat_template, &file->chat, err);
	else if (!ret)
		file->chat = bitnet_chat_detect(file->gguf, file->tokenizer);
	if (ret)
		bitnet_model_file_close(file);
	return ret;
}

/* Token ids of the tokenizer index the embedding: one too many would be an error much later. */
static int check_vocabulary(const struct bitnet_model_file *file, struct bitnet_error *err)
{
	uint32_t tokens = bitnet_tokenizer_n_tokens(file->tokenizer);

	if (tokens <= file->image.header->vocab)
		return 0;
	return bitnet_error_set(err, EINVAL, "%s: the tokenizer has %u tokens, the embedding %u",
				file->path, tokens, file->image.header->vocab);
}

int bitnet_model_file_image(struct bitnet_model_file *file,
			    const struct bitnet_image_options *options, struct bitnet_error *err)
{
	int ret = 0;

	if (!file->image.base)
		ret = bitnet_image_build(file->gguf, options, &file->image, err);
	return ret ? ret : check_vocabulary(file, err);
}

void bitnet_model_file_close(struct bitnet_model_file *file)
{
	bitnet_tokenizer_free(file->tokenizer);
	/* Of an image it lies in the image's mapping. */
	bitnet_gguf_close(file->gguf);
	bitnet_image_free(&file->image);
	free(file->path);
	memset(file, 0, sizeof(*file));
}
