// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * device.c - the engine behind /dev/bitnet: ioctls, the mapped ring, and errnos made into sentences
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "engine.h"
#include "refusal.h"
#include "ring.h"

#define DEFAULT_RING_ENTRIES	1024

struct device {
	struct bitnet_engine engine;
	int fd;
	struct bitnet_ring ring;
	void *ring_map;
	size_t ring_bytes;
	void *data;
	size_t data_bytes;
	char path[128];
};

static struct device *to_device(struct bitnet_engine *engine)
{
	return (struct device *)engine;
}

static int do_ioctl(const struct device *d, unsigned long nr, void *arg)
{
	return ioctl(d->fd, nr, arg) < 0 ? -errno : 0;
}

/* What every ioctl can fail with, whatever the object. */
static int describe(const struct device *d, struct bitnet_error *err, int ret, const char *doing)
{
	bitnet_error_set(err, ret, "%s: %s: %s", d->path, doing, bitnet_strerror(ret));
	if (ret == -ENOTTY || ret == -E2BIG || ret == -EOPNOTSUPP)
		bitnet_error_hint(
			err,
			"module and tool may be of different versions: compare 'bitnetctl version' and 'modinfo bitnet'");
	return ret;
}

/* Bytes for people; buffers rotate so that one message can have several. */
static const char *size_text(uint64_t bytes)
{
	static const char *const unit[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	static __thread char text[4][24];
	static __thread unsigned int next;
	char *s = text[next++ % 4];
	unsigned int u = 0;
	double v = bytes;

	while (v >= 1024 && u < 4) {
		v /= 1024;
		u++;
	}
	snprintf(s, sizeof(text[0]), u && v < 100 ? "%.1f %s" : "%.0f %s", v, unit[u]);
	return s;
}

static int describe_open(struct bitnet_error *err, const char *path)
{
	int code = errno;

	switch (code) {
	case ENOENT:
		/* -ENODEV, so that callers can tell it from a model or a file that is not there */
		bitnet_error_set(err, ENODEV, "no device: %s does not exist", path);
		bitnet_error_hint(err, "load the module (as root): modprobe bitnet");
		return -ENODEV;
	case ENXIO:
	case ENODEV:
		bitnet_error_set(err, ENODEV, "no device: nothing serves %s", path);
		bitnet_error_hint(err, "load the module (as root): modprobe bitnet");
		return -ENODEV;
	case EACCES:
	case EPERM:
		bitnet_error_set(err, EACCES, "no permission to open %s", path);
		bitnet_error_hint(
			err, "join its group and log in again (as root): usermod -aG bitnet USER");
		return -EACCES;
	default:
		return bitnet_error_set(err, code, "cannot open %s: %s", path, strerror(code));
	}
}

static int check_abi(struct device *d, struct bitnet_info *info, struct bitnet_error *err)
{
	int ret;

	memset(info, 0, sizeof(*info));
	info->size = sizeof(*info);
	ret = do_ioctl(d, BITNET_IOC_INFO, info);
	if (ret == -ENOTTY)
		return bitnet_error_set(err, ENODEV, "%s is not a bitnet device", d->path);
	if (ret)
		return describe(d, err, ret, "asking for its properties");
	if (info->out_abi_version != BITNET_ABI_VERSION) {
		bitnet_error_set(err, EOPNOTSUPP, "%s has interface version %u, this program %u",
				 d->path, info->out_abi_version, BITNET_ABI_VERSION);
		bitnet_error_hint(err, "install module and tools of the same release");
		return -EOPNOTSUPP;
	}
	info->out_variant[sizeof(info->out_variant) - 1] = '\0';
	return 0;
}

static int map_ring(struct device *d, const struct bitnet_engine_options *o,
		    const struct bitnet_info *info, struct bitnet_error *err)
{
	size_t page = sysconf(_SC_PAGESIZE);
	struct bitnet_ring_setup setup = {
		.size = sizeof(setup),
		.entries = o->ring_entries ? o->ring_entries : DEFAULT_RING_ENTRIES,
		.eventfd = -1,
		.data_bytes = (o->data_bytes + page - 1) / page * page,
	};
	int ret;

	if (!o->ring_entries && info->out_max_ring_entries &&
	    setup.entries > info->out_max_ring_entries)
		setup.entries = info->out_max_ring_entries;
	ret = do_ioctl(d, BITNET_IOC_RING_SETUP, &setup);
	if (ret)
		return describe(d, err, ret, "setting up the completion ring");

	d->ring_bytes = setup.out_ring_bytes;
	d->ring_map = mmap(NULL, d->ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, d->fd,
			   BITNET_MMAP_RING);
	if (d->ring_map == MAP_FAILED) {
		d->ring_map = NULL;
		return describe(d, err, -errno, "mapping the completion ring");
	}
	ret = bitnet_ring_attach(&d->ring, d->ring_map, d->ring_bytes);
	if (ret)
		return bitnet_error_set(
			err, ret, "%s: the completion ring's header is inconsistent", d->path);

	if (!setup.data_bytes)
		return 0;
	d->data_bytes = setup.data_bytes;
	d->data = mmap(NULL, d->data_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, d->fd,
		       BITNET_MMAP_DATA);
	if (d->data == MAP_FAILED) {
		d->data = NULL;
		return describe(d, err, -errno, "mapping the data area");
	}
	return 0;
}

static void device_close(struct bitnet_engine *engine)
{
	struct device *d = to_device(engine);

	if (d->data)
		munmap(d->data, d->data_bytes);
	if (d->ring_map)
		munmap(d->ring_map, d->ring_bytes);
	/* cancels the jobs and frees sessions and models: all belong to the file */
	close(d->fd);
	free(d);
}

static int device_open(const struct bitnet_engine_options *o, struct bitnet_engine **engine,
		       struct bitnet_error *err)
{
	struct bitnet_info info;
	struct device *d;
	int ret;

	d = calloc(1, sizeof(*d));
	if (!d)
		return bitnet_error_set(err, ENOMEM, "out of memory");
	d->engine.ops = &bitnet_device_ops;
	d->engine.kind = BITNET_ENGINE_DEVICE;
	snprintf(d->path, sizeof(d->path), "%s", o->device ? o->device : BITNET_DEVICE_PATH);

	d->fd = open(o->device ? o->device : BITNET_DEVICE_PATH, O_RDWR | O_CLOEXEC | O_NOCTTY);
	if (d->fd < 0) {
		ret = describe_open(err, d->path);
		free(d);
		return ret;
	}
	ret = check_abi(d, &info, err);
	if (!ret)
		ret = map_ring(d, o, &info, err);
	if (ret) {
		device_close(&d->engine);
		return ret;
	}
	*engine = &d->engine;
	return 0;
}

static int device_info(struct bitnet_engine *engine, struct bitnet_info *info,
		       struct bitnet_error *err)
{
	return check_abi(to_device(engine), info, err);
}

static int device_stats(struct bitnet_engine *engine, uint32_t flags, uint32_t session_id,
			struct bitnet_stats *stats, struct bitnet_error *err)
{
	struct device *d = to_device(engine);
	int ret;

	memset(stats, 0, sizeof(*stats));
	stats->size = sizeof(*stats);
	stats->flags = flags;
	stats->session_id = session_id;
	ret = do_ioctl(d, BITNET_IOC_STATS, stats);
	return ret ? describe(d, err, ret, "asking for statistics") : 0;
}

static int describe_load(struct device *d, struct bitnet_error *err, int ret,
			 const struct bitnet_image *image, const char *name)
{
	struct rlimit rl = { .rlim_cur = RLIM_INFINITY };

	switch (ret) {
	case -ENOMEM:
		getrlimit(RLIMIT_MEMLOCK, &rl);
		/*
		 * Other locked memory of this user counts too, so half the limit may be too much.
		 */
		if (rl.rlim_cur != RLIM_INFINITY && rl.rlim_cur < 2 * image->length && geteuid()) {
			bitnet_error_set(
				err, ENOMEM,
				"cannot pin the model's %s: the limit on locked memory is %s",
				size_text(image->length), size_text(rl.rlim_cur));
			bitnet_error_hint(
				err,
				"members of group bitnet have a higher limit after a new login, "
				"if /etc/security/limits.d/bitnet.conf is installed; "
				"or as root: ulimit -l unlimited");
		} else {
			bitnet_error_set(err, ENOMEM, "not enough memory to pin the model's %s",
					 size_text(image->length));
			bitnet_error_hint(err, "free memory, or raise the cgroup's memory.max");
		}
		return ret;
	case -EDQUOT:
		bitnet_error_set(err, EDQUOT, "the device does not take %s more of models",
				 size_text(image->length));
		bitnet_error_hint(
			err,
			"'bitnetctl info' and 'bitnetctl limits' show the limits, 'bitnetctl models' what is loaded");
		return ret;
	case -EPERM:
		bitnet_error_set(err, EPERM, "loading a shared model needs CAP_SYS_ADMIN");
		bitnet_error_hint(err,
				  "run it as root, or use the model without a name: bitnetctl run");
		return ret;
	case -EEXIST:
		bitnet_error_set(err, EEXIST, "a shared model named '%s' is loaded already", name);
		bitnet_error_hint(err, "bitnetctl unload %s, or choose another --name", name);
		return ret;
	case -ENOEXEC:
	case -EBADMSG:
		return bitnet_error_set(err, ret, "the module refuses the image: %s",
					bitnet_strerror(ret));
	case -EINVAL:
		return bitnet_error_set(err, ret,
					"the module refuses the name '%s' or the image's size",
					name ? name : "");
	default:
		return describe(d, err, ret, "loading the model");
	}
}

static int device_model_load(struct bitnet_engine *engine, const struct bitnet_image *image,
			     const char *name, uint32_t flags, uint32_t *model_id,
			     struct bitnet_error *err)
{
	struct device *d = to_device(engine);
	struct bitnet_model_load load = {
		.size = sizeof(load),
		.flags = flags,
		.addr = (uintptr_t)image->base,
		.length = image->length,
	};
	int ret;

	if (name && strlen(name) >= sizeof(load.name))
		return bitnet_error_set(err, EINVAL, "a model's name has at most %u characters",
					BITNET_NAME_BYTES - 1);
	if (name)
		strcpy(load.name, name);
	ret = do_ioctl(d, BITNET_IOC_MODEL_LOAD, &load);
	if (ret)
		return describe_load(d, err, ret, image, name);
	*model_id = load.out_model_id;
	return 0;
}

static int device_model_open(struct bitnet_engine *engine, const char *name, uint32_t *model_id,
			     struct bitnet_error *err)
{
	struct device *d = to_device(engine);
	struct bitnet_model_open open = { .size = sizeof(open) };
	int ret = -ENOENT;

	if (strlen(name) < sizeof(open.name)) {
		strcpy(open.name, name);
		ret = do_ioctl(d, BITNET_IOC_MODEL_OPEN, &open);
	}
	if (ret == -ENOENT || ret == -EINVAL) {
		bitnet_error_set(err, ENOENT, "no shared model named '%s' is loaded", name);
		bitnet_error_hint(
			err, "see 'bitnetctl models'; as root: bitnetctl load FILE --name NAME");
		return -ENOENT;
	}
	if (ret)
		return describe(d, err, ret, "opening the shared model");
	*model_id = open.out_model_id;
	return 0;
}

static int device_model_close(struct bitnet_engine *engine, uint32_t model_id,
			      struct bitnet_error *err)
{
	struct device *d = to_device(engine);
	struct bitnet_model_close close = { .size = sizeof(close), .model_id = model_id };
	int ret = do_ioctl(d, BITNET_IOC_MODEL_CLOSE, &close);

	return ret ? describe(d, err, ret, "closing the model") : 0;
}

static int device_model_unload(struct bitnet_engine *engine, const char *name,
			       struct bitnet_error *err)
{
	struct device *d = to_device(engine);
	struct bitnet_model_unload unload = { .size = sizeof(unload) };
	int ret = -ENOENT;

	if (strlen(name) < sizeof(unload.name)) {
		strcpy(unload.name, name);
		ret = do_ioctl(d, BITNET_IOC_MODEL_UNLOAD, &unload);
	}
	switch (ret) {
	case 0:
		return 0;
	case -ENOENT:
	case -EINVAL:
		bitnet_error_set(err, ENOENT, "no shared model named '%s' is loaded", name);
		bitnet_error_hint(err, "see 'bitnetctl models'");
		return -ENOENT;
	case -EPERM:
		bitnet_error_set(err, EPERM, "unloading a shared model needs CAP_SYS_ADMIN");
		bitnet_error_hint(err, "run it as root");
		return ret;
	default:
		return describe(d, err, ret, "unloading the model");
	}
}

static int device_model_info(struct bitnet_engine *engine, uint32_t model_id,
			     struct bitnet_model_info *info, struct bitnet_error *err)
{
	struct device *d = to_device(engine);
	int ret;

	memset(info, 0, sizeof(*info));
	info->size = sizeof(*info);
	info->model_id = model_id;
	ret = do_ioctl(d, BITNET_IOC_MODEL_INFO, info);
	info->out_name[sizeof(info->out_name) - 1] = '\0';
	return ret ? describe(d, err, ret, "asking for the model's shape") : 0;
}

static int device_session_open(struct bitnet_engine *engine, uint32_t model_id, uint32_t n_ctx,
			       uint32_t *session_id, struct bitnet_error *err)
{
	struct device *d = to_device(engine);
	struct bitnet_session_open open = {
		.size = sizeof(open),
		.model_id = model_id,
		.n_ctx = n_ctx,
	};
	int ret = do_ioctl(d, BITNET_IOC_SESSION_OPEN, &open);

	switch (ret) {
	case 0:
		*session_id = open.out_session_id;
		return 0;
	case -ENOMEM:
	case -EDQUOT:
		bitnet_error_set(err, ret, "no memory for a context of %u tokens%s", n_ctx,
				 ret == -EDQUOT ? ": above a limit of the device" : "");
		bitnet_error_hint(err, ret == -EDQUOT ?
				  "'bitnetctl limits' shows what you may have; a shorter context (--ctx)" :
				  "ask for a shorter context (--ctx)");
		return ret;
	case -EINVAL:
	case -ERANGE:
		bitnet_error_set(err, ret, "the model does not allow a context of %u tokens",
				 n_ctx);
		bitnet_error_hint(err, "ask for a shorter context (--ctx)");
		return ret;
	default:
		return describe(d, err, ret, "opening a session");
	}
}

static int device_session_rewind(struct bitnet_engine *engine, uint32_t session_id,
				 uint32_t n_tokens, struct bitnet_error *err)
{
	struct device *d = to_device(engine);
	struct bitnet_session_rewind rewind = {
		.size = sizeof(rewind),
		.session_id = session_id,
		.n_tokens = n_tokens,
	};
	int ret = do_ioctl(d, BITNET_IOC_SESSION_REWIND, &rewind);

	return ret ? describe(d, err, ret, "rewinding the session") : 0;
}

static int device_session_close(struct bitnet_engine *engine, uint32_t session_id,
				struct bitnet_error *err)
{
	struct device *d = to_device(engine);
	struct bitnet_session_close close = { .size = sizeof(close), .session_id = session_id };
	int ret = do_ioctl(d, BITNET_IOC_SESSION_CLOSE, &close);

	return ret ? describe(d, err, ret, "closing the session") : 0;
}

/* What SUBMIT and RUN can fail with, or 0. */
static int describe_job(const struct device *d, struct bitnet_error *err, int ret,
			const char *doing)
{
	switch (ret) {
	case 0:
		return 0;
	case -ERANGE:
		bitnet_error_set(
			err, ret,
			"the prompt does not fit into the context, or has a token outside the vocabulary");
		bitnet_error_hint(err, "a longer context (--ctx), or a shorter prompt");
		return ret;
	case -EDQUOT:
		bitnet_error_set(err, ret, "too many unfinished jobs");
		bitnet_error_hint(err, "wait for some of them, see 'bitnetctl info' for the limit");
		return ret;
	default:
		return describe(d, err, ret, doing);
	}
}

static int device_submit(struct bitnet_engine *engine, const struct bitnet_job *jobs,
			 unsigned int count, unsigned int *accepted, struct bitnet_error *err)
{
	struct device *d = to_device(engine);
	struct bitnet_submit submit = {
		.size = sizeof(submit),
		.jobs = (uintptr_t)jobs,
		.count = count,
		.job_size = sizeof(*jobs),
	};
	int ret = do_ioctl(d, BITNET_IOC_SUBMIT, &submit);

	if (accepted)
		*accepted = ret ? 0 : submit.out_accepted;
	if (!ret)
		ret = submit.out_error;
	if (ret == -EDQUOT)
		return bitnet_refusal_describe(err, &submit, &jobs[submit.out_accepted]);
	return describe_job(d, err, ret, "submitting the job");
}

static int device_run(struct bitnet_engine *engine, const struct bitnet_job *job,
		      struct bitnet_ring_entry *entries, unsigned int n_entries, unsigned int *made,
		      struct bitnet_error *err)
{
	struct device *d = to_device(engine);
	struct bitnet_run run = {
		.size = sizeof(run),
		.job = (uintptr_t)job,
		.job_size = sizeof(*job),
		.n_entries = n_entries,
		.entries = (uintptr_t)entries,
	};
	int ret = do_ioctl(d, BITNET_IOC_RUN, &run);

	*made = ret ? 0 : run.out_entries;
	return describe_job(d, err, ret, "running the job in this thread");
}

static int device_cancel(struct bitnet_engine *engine, uint64_t user_data)
{
	struct bitnet_cancel cancel = { .size = sizeof(cancel), .user_data = user_data };

	return do_ioctl(to_device(engine), BITNET_IOC_CANCEL, &cancel);
}

static int device_wait(struct bitnet_engine *engine, unsigned int min_entries, int64_t timeout_ns)
{
	struct device *d = to_device(engine);
	struct bitnet_wait wait = {
		.size = sizeof(wait),
		.min_entries = min_entries,
		.timeout_ns = timeout_ns,
	};
	unsigned int n = bitnet_ring_count(&d->ring);
	int ret;

	if (n >= min_entries && n)
		return n;
	ret = do_ioctl(d, BITNET_IOC_WAIT, &wait);
	return ret ? ret : (int)wait.out_entries;
}

static bool device_next(struct bitnet_engine *engine, struct bitnet_ring_entry *entry)
{
	struct device *d = to_device(engine);
	struct bitnet_wait unpark = { .size = sizeof(unpark) };

	if (!bitnet_ring_next(&d->ring, entry))
		return false;
	/*
	 * A failure leaves the job parked, and the next call tries again: nothing that the caller
	 * of this entry could act upon.
	 */
	if (bitnet_ring_needs_wakeup(&d->ring))
		do_ioctl(d, BITNET_IOC_WAIT, &unpark);
	return true;
}

static void *device_data(struct bitnet_engine *engine)
{
	return to_device(engine)->data;
}

static int device_fd(struct bitnet_engine *engine)
{
	return to_device(engine)->fd;
}

const struct bitnet_engine_ops bitnet_device_ops = {
	.open = device_open,
	.close = device_close,
	.info = device_info,
	.stats = device_stats,
	.model_load = device_model_load,
	.model_open = device_model_open,
	.model_close = device_model_close,
	.model_unload = device_model_unload,
	.model_info = device_model_info,
	.session_open = device_session_open,
	.session_rewind = device_session_rewind,
	.session_close = device_session_close,
	.submit = device_submit,
	.run = device_run,
	.cancel = device_cancel,
	.wait = device_wait,
	.next = device_next,
	.data = device_data,
	.fd = device_fd,
};
