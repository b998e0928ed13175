// SPDX-License-Identifier: GPL-2.0 OR MIT
/* engine.c - opens one of the two engines and calls through its table; see engine.h */
#include <errno.h>
#include <stdio.h>

#include "engine.h"

/**
 * bitnet_engine_open() - open the engine that @options ask for
 * @options: NULL: all defaults, that is AUTO
 * @engine:  the engine, for bitnet_engine_close()
 * @err:     reason of a failure
 *
 * AUTO takes the device, and the local engine if the device cannot be opened for whatever reason;
 * the reason is kept for bitnet_engine_fallback(), because a caller must be able to say which
 * engine ran.
 *
 * Return: 0 or a negative errno; -ENODEV and -EACCES mean the device, see bitnet_device_ops.
 */
int bitnet_engine_open(const struct bitnet_engine_options *options, struct bitnet_engine **engine,
		       struct bitnet_error *err)
{
	static const struct bitnet_engine_options defaults;
	struct bitnet_error why = { 0 };
	struct bitnet_engine_options o;
	int ret;

	o = options ? *options : defaults;
	*engine = NULL;
	switch (o.kind) {
	case BITNET_ENGINE_DEVICE:
		return bitnet_device_ops.open(&o, engine, err);
	case BITNET_ENGINE_LOCAL:
		return bitnet_local_ops.open(&o, engine, err);
	case BITNET_ENGINE_AUTO:
		break;
	default:
		return bitnet_error_set(err, EINVAL, "no such kind of engine: %d", o.kind);
	}

	o.kind = BITNET_ENGINE_DEVICE;
	if (!bitnet_device_ops.open(&o, engine, &why))
		return 0;
	o.kind = BITNET_ENGINE_LOCAL;
	ret = bitnet_local_ops.open(&o, engine, err);
	if (!ret)
		snprintf((*engine)->fallback, sizeof((*engine)->fallback), "%s", why.msg);
	return ret;
}

void bitnet_engine_close(struct bitnet_engine *engine)
{
	if (engine)
		engine->ops->close(engine);
}

enum bitnet_engine_kind bitnet_engine_kind(const struct bitnet_engine *engine)
{
	return engine->kind;
}

const char *bitnet_engine_fallback(const struct bitnet_engine *engine)
{
	return engine->fallback[0] ? engine->fallback : NULL;
}

int bitnet_engine_info(struct bitnet_engine *engine, struct bitnet_info *info,
		       struct bitnet_error *err)
{
	return engine->ops->info(engine, info, err);
}

int bitnet_engine_stats(struct bitnet_engine *engine, struct bitnet_stats *stats,
			struct bitnet_error *err)
{
	return engine->ops->stats(engine, 0, 0, stats, err);
}

int bitnet_engine_stats_of(struct bitnet_engine *engine, uint32_t flags, uint32_t session_id,
			   struct bitnet_stats *stats, struct bitnet_error *err)
{
	return engine->ops->stats(engine, flags, session_id, stats, err);
}

int bitnet_engine_model_load(struct bitnet_engine *engine, const struct bitnet_image *image,
			     const char *name, uint32_t flags, uint32_t *model_id,
			     struct bitnet_error *err)
{
	return engine->ops->model_load(engine, image, name, flags, model_id, err);
}

int bitnet_engine_model_open(struct bitnet_engine *engine, const char *name, uint32_t *model_id,
			     struct bitnet_error *err)
{
	return engine->ops->model_open(engine, name, model_id, err);
}

int bitnet_engine_model_close(struct bitnet_engine *engine, uint32_t model_id,
			      struct bitnet_error *err)
{
	return engine->ops->model_close(engine, model_id, err);
}

int bitnet_engine_model_unload(struct bitnet_engine *engine, const char *name,
			       struct bitnet_error *err)
{
	return engine->ops->model_unload(engine, name, err);
}

int bitnet_engine_model_info(struct bitnet_engine *engine, uint32_t model_id,
			     struct bitnet_model_info *info, struct bitnet_error *err)
{
	return engine->ops->model_info(engine, model_id, info, err);
}

int bitnet_engine_session_open(struct bitnet_engine *engine, uint32_t model_id, uint32_t n_ctx,
			       uint32_t *session_id, struct bitnet_error *err)
{
	return engine->ops->session_open(engine, model_id, n_ctx, session_id, err);
}

int bitnet_engine_session_rewind(struct bitnet_engine *engine, uint32_t session_id,
				 uint32_t n_tokens, struct bitnet_error *err)
{
	return engine->ops->session_rewind(engine, session_id, n_tokens, err);
}

int bitnet_engine_session_close(struct bitnet_engine *engine, uint32_t session_id,
				struct bitnet_error *err)
{
	return engine->ops->session_close(engine, session_id, err);
}

int bitnet_engine_submit(struct bitnet_engine *engine, const struct bitnet_job *jobs,
			 unsigned int count, unsigned int *accepted, struct bitnet_error *err)
{
	return engine->ops->submit(engine, jobs, count, accepted, err);
}

int bitnet_engine_run(struct bitnet_engine *engine, const struct bitnet_job *job,
		      struct bitnet_ring_entry *entries, unsigned int n_entries, unsigned int *made,
		      struct bitnet_error *err)
{
	return engine->ops->run(engine, job, entries, n_entries, made, err);
}

int bitnet_engine_cancel(struct bitnet_engine *engine, uint64_t user_data)
{
	return engine->ops->cancel(engine, user_data);
}

int bitnet_engine_wait(struct bitnet_engine *engine, unsigned int min_entries, int64_t timeout_ns)
{
	return engine->ops->wait(engine, min_entries, timeout_ns);
}

bool bitnet_engine_next(struct bitnet_engine *engine, struct bitnet_ring_entry *entry)
{
	return engine->ops->next(engine, entry);
}

void *bitnet_engine_data(struct bitnet_engine *engine)
{
	return engine->ops->data(engine);
}

int bitnet_engine_fd(struct bitnet_engine *engine)
{
	return engine->ops->fd(engine);
}
