/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * local.h - limits of the local engine; those of one open file of the device
 */
#ifndef BITNET_LIB_LOCAL_H
#define BITNET_LIB_LOCAL_H

#define BITNET_LOCAL_MODELS	16
#define BITNET_LOCAL_SESSIONS	64
#define BITNET_LOCAL_JOBS	256
#define BITNET_LOCAL_RING_ENTRIES 65536
#define BITNET_LOCAL_DATA_BYTES	(64ULL << 20)
#define BITNET_LOCAL_KV_BYTES	(64ULL << 30)

#endif /* BITNET_LIB_LOCAL_H */
