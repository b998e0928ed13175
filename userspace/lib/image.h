/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * image.h - packed images inside libbitnet: memory for one, and the view that the engine computes
 * with
 */
#ifndef BITNET_LIB_IMAGE_H
#define BITNET_LIB_IMAGE_H

#include "bitnet.h"
#include "bn_image.h"

/**
 * bitnet_image_alloc() - zeroed, page-aligned memory, in huge pages where there are some
 * @image:  gets @base, @length and @map_bytes
 * @length: bytes
 * @err:    reason of a failure
 *
 * Return: 0 or -ENOMEM.
 */
int bitnet_image_alloc(struct bitnet_image *image, uint64_t length, struct bitnet_error *err);

/**
 * bitnet_image_parse() - check an image's structure and get the engine's view of it
 * @base:   the image; only header and tensor table are read, once, and copied
 * @length: bytes mapped
 * @what:   name of the file or image, for messages
 * @model:  the view; model->layers is to be freed. NULL: check only
 * @err:    reason of a failure
 *
 * Return: 0; -ENOEXEC, -EBADMSG as MODEL_LOAD; -ENOMEM.
 */
int bitnet_image_parse(const void *base, uint64_t length, const char *what, struct bn_model *model,
		       struct bitnet_error *err);

/**
 * bitnet_image_digest() - what names an image: a hash of all of it, the digest's own field taken as 0
 * @hdr:  its header
 * @base: the image; what lies at the header's place is not looked at
 */
uint64_t bitnet_image_digest(const struct bitnet_image_header *hdr, const void *base);

#endif /* BITNET_LIB_IMAGE_H */
