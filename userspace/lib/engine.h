/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * engine.h - what the two engines have in common, inside libbitnet
 *
 * engine.c checks nothing and computes nothing: it opens one implementation and calls through its
 * table. Each operation is documented at the function of bitnet.h that it serves.
 */
#ifndef BITNET_LIB_ENGINE_H
#define BITNET_LIB_ENGINE_H

#include "bitnet.h"

struct bitnet_engine_ops;

/**
 * struct bitnet_engine - first member of each implementation's own struct
 * @ops:	its table
 * @kind:	BITNET_ENGINE_DEVICE or BITNET_ENGINE_LOCAL; set by ops->open()
 * @fallback:	AUTO only: one line saying why there is no device, else empty; set by engine.c
 */
struct bitnet_engine {
	const struct bitnet_engine_ops *ops;
	enum bitnet_engine_kind kind;
	char fallback[256];
};

/**
 * struct bitnet_engine_ops - one implementation
 *
 * @open:	allocates its struct, fills @ops and @kind and leaves @fallback empty. @options is
 *		not NULL and its kind has been decided by the caller. Fails with no effect.
 * @next:	may not block, and makes no system call while the ring is neither empty nor stalled
 *
 * All are required. @err may be NULL everywhere.
 */
struct bitnet_engine_ops {
	int (*open)(const struct bitnet_engine_options *options, struct bitnet_engine **engine,
		    struct bitnet_error *err);
	void (*close)(struct bitnet_engine *engine);
	int (*info)(struct bitnet_engine *engine, struct bitnet_info *info,
		    struct bitnet_error *err);
	int (*stats)(struct bitnet_engine *engine, uint32_t flags, uint32_t session_id,
		     struct bitnet_stats *stats, struct bitnet_error *err);
	int (*model_load)(struct bitnet_engine *engine, const struct bitnet_image *image,
			  const char *name, uint32_t flags, uint32_t *model_id,
			  struct bitnet_error *err);
	int (*model_open)(struct bitnet_engine *engine, const char *name, uint32_t *model_id,
			  struct bitnet_error *err);
	int (*model_close)(struct bitnet_engine *engine, uint32_t model_id,
			   struct bitnet_error *err);
	int (*model_unload)(struct bitnet_engine *engine, const char *name,
			    struct bitnet_error *err);
	int (*model_info)(struct bitnet_engine *engine, uint32_t model_id,
			  struct bitnet_model_info *info, struct bitnet_error *err);
	int (*session_open)(struct bitnet_engine *engine, uint32_t model_id, uint32_t n_ctx,
			    uint32_t *session_id, struct bitnet_error *err);
	int (*session_rewind)(struct bitnet_engine *engine, uint32_t session_id, uint32_t n_tokens,
			      struct bitnet_error *err);
	int (*session_close)(struct bitnet_engine *engine, uint32_t session_id,
			     struct bitnet_error *err);
	int (*submit)(struct bitnet_engine *engine, const struct bitnet_job *jobs,
		      unsigned int count, unsigned int *accepted, struct bitnet_error *err);
	int (*run)(struct bitnet_engine *engine, const struct bitnet_job *job,
		   struct bitnet_ring_entry *entries, unsigned int n_entries, unsigned int *made,
		   struct bitnet_error *err);
	int (*cancel)(struct bitnet_engine *engine, uint64_t user_data);
	int (*wait)(struct bitnet_engine *engine, unsigned int min_entries, int64_t timeout_ns);
	bool (*next)(struct bitnet_engine *engine, struct bitnet_ring_entry *entry);
	void *(*data)(struct bitnet_engine *engine);
	int (*fd)(struct bitnet_engine *engine);
};

extern const struct bitnet_engine_ops bitnet_local_ops, bitnet_device_ops;

#endif /* BITNET_LIB_ENGINE_H */
