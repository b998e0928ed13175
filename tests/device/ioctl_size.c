// SPDX-License-Identifier: GPL-2.0
/*
 * ioctl_size.c - every ioctl: shorter and longer structs, tails, unknown flags, reserved fields,
 * numbers
 *
 * The rules are the same for all, so that the test is one table: a struct that works, and where its
 * flags and reserved fields are.
 */
#include <asm/ioctls.h>
#include <stddef.h>

#include "device.h"

#define NAME	"ioctl-size"

static int fd;
static struct t_ring ring;
static uint32_t model, session;
static struct t_image image;
static uint32_t tokens[4] = { 1, 2, 3, 4 };
static struct bitnet_job job;
static char unload_name[BITNET_NAME_BYTES] = NAME;

union arg {
	uint32_t size;
	struct bitnet_info info;
	struct bitnet_model_load model_load;
	struct bitnet_model_open model_open;
	struct bitnet_model_close model_close;
	struct bitnet_model_unload model_unload;
	struct bitnet_model_info model_info;
	struct bitnet_session_open session_open;
	struct bitnet_session_rewind session_rewind;
	struct bitnet_session_close session_close;
	struct bitnet_ring_setup ring_setup;
	struct bitnet_submit submit;
	struct bitnet_cancel cancel;
	struct bitnet_wait wait;
	struct bitnet_stats stats;
	struct bitnet_run run;
	uint8_t bytes[2 * T_PAGE];
};

static void fill_load(union arg *a)
{
	a->model_load.addr = t_pointer(image.base);
	a->model_load.length = image.length;
}

static void undo_load(union arg *a)
{
	t_model_close(fd, a->model_load.out_model_id);
}

static void fill_shared(void)
{
	int err = t_model_load(fd, &image, BITNET_MODEL_F_SHARED, NAME, &model);

	if (err && err != -EEXIST)
		bail("loading a shared model: %s", strerror(-err));
	if (!err)
		t_model_close(fd, model);
}

static void fill_open(union arg *a)
{
	fill_shared();
	memcpy(a->model_open.name, unload_name, BITNET_NAME_BYTES);
}

static void undo_open(union arg *a)
{
	t_model_close(fd, a->model_open.out_model_id);
}

static void fill_close(union arg *a)
{
	if (t_model_load(fd, &image, 0, NULL, &a->model_close.model_id))
		bail("loading a model to close");
}

static void undo_close(union arg *a)
{
	t_model_close(fd, a->model_close.model_id);
}

static void fill_unload(union arg *a)
{
	fill_shared();
	memcpy(a->model_unload.name, unload_name, BITNET_NAME_BYTES);
}

static void fill_model_info(union arg *a)
{
	a->model_info.model_id = model;
}

static void fill_session(union arg *a)
{
	a->session_open.model_id = model;
	a->session_open.n_ctx = 4;
}

static void undo_session(union arg *a)
{
	t_session_close(fd, a->session_open.out_session_id);
}

static void fill_rewind(union arg *a)
{
	a->session_rewind.session_id = session;
}

static void fill_session_close(union arg *a)
{
	if (t_session_open(fd, model, 4, &a->session_close.session_id))
		bail("opening a session to close");
}

static void undo_session_close(union arg *a)
{
	t_session_close(fd, a->session_close.session_id);
}

/* RING_SETUP works once for each file: each try gets a new one. */
static int ring_fd = -1;

static void fill_ring(union arg *a)
{
	if (ring_fd < 0)
		ring_fd = t_open();
	a->ring_setup.entries = 2;
	a->ring_setup.eventfd = -1;
}

static void undo_ring(union arg *a)
{
	(void)a;
	close(ring_fd);
	ring_fd = -1;
}

static void fill_submit(union arg *a)
{
	job = t_score(session, tokens, 1, 7);
	a->submit.jobs = t_pointer(&job);
	a->submit.count = 1;
	a->submit.job_size = sizeof(job);
}

static void undo_submit(union arg *a)
{
	static struct t_result result;

	if (a->submit.out_accepted)
		t_collect(&ring, &result, 1, 7);
	t_session_rewind(fd, session, 0);
}

static void fill_run(union arg *a)
{
	static struct bitnet_ring_entry entries[1];

	job = t_score(session, tokens, 1, 7);
	a->run.job = t_pointer(&job);
	a->run.job_size = sizeof(job);
	a->run.n_entries = ARRAY_SIZE(entries);
	a->run.entries = t_pointer(entries);
}

static void undo_run(union arg *a)
{
	(void)a;
	t_session_rewind(fd, session, 0);
}

static void fill_cancel(union arg *a)
{
	a->cancel.user_data = 12345;
}

static void fill_none(union arg *a)
{
	(void)a;
}

#define NONE	0xffff

static const struct op {
	const char *name;
	unsigned long nr;
	uint32_t size;
	int want;			/* of a well-formed call */
	uint32_t flags, resv;		/* offsets, or NONE */
	void (*fill)(union arg *a);
	void (*undo)(union arg *a);	/* after a call that worked */
} ops[] = {
#define OP(NR, type, want, flags, resv, fill, undo)	\
	{ #NR, BITNET_IOC_##NR, sizeof(struct bitnet_##type), want, flags, resv, fill, undo }
#define F(type)		offsetof(struct bitnet_##type, flags)
#define R(type)		offsetof(struct bitnet_##type, __resv)
	OP(INFO, info, 0, F(info), R(info), fill_none, NULL),
	OP(MODEL_LOAD, model_load, 0, F(model_load), R(model_load), fill_load, undo_load),
	OP(MODEL_OPEN, model_open, 0, F(model_open), R(model_open), fill_open, undo_open),
	OP(MODEL_CLOSE, model_close, 0, NONE, NONE, fill_close, NULL),
	OP(MODEL_UNLOAD, model_unload, 0, F(model_unload), NONE, fill_unload, NULL),
	OP(MODEL_INFO, model_info, 0, NONE, NONE, fill_model_info, NULL),
	OP(SESSION_OPEN, session_open, 0, F(session_open), R(session_open), fill_session,
	   undo_session),
	OP(SESSION_REWIND, session_rewind, 0, NONE, R(session_rewind), fill_rewind, NULL),
	OP(SESSION_CLOSE, session_close, 0, NONE, NONE, fill_session_close, NULL),
	OP(RING_SETUP, ring_setup, 0, F(ring_setup), NONE, fill_ring, undo_ring),
	OP(SUBMIT, submit, 0, F(submit), NONE, fill_submit, undo_submit),
	OP(CANCEL, cancel, -ENOENT, F(cancel), R(cancel), fill_cancel, NULL),
	OP(WAIT, wait, 0, F(wait), NONE, fill_none, NULL),
	OP(STATS, stats, 0, F(stats), NONE, fill_none, NULL),
	OP(RUN, run, 0, F(run), R(run), fill_run, undo_run),
};

/* What a call that must fail, and so did nothing, leaves to be undone: what fill() made. */
static void undo_fill(const struct op *op, union arg *a)
{
	if (op->fill == fill_close)
		undo_close(a);
	if (op->fill == fill_session_close)
		undo_session_close(a);
}

static int call(const struct op *op, void *arg)
{
	return t_ioctl(op->fill == fill_ring ? ring_fd : fd, op->nr, arg);
}

/* Prepares a good struct, lets @spoil change it, calls, and cleans up. */
static int try(const struct op *op, void (*spoil)(const struct op *op, union arg *a))
{
	static union arg a;
	int err;

	memset(&a, 0, sizeof(a));
	a.size = op->size;
	op->fill(&a);
	spoil(op, &a);
	err = call(op, &a);
	if (!err && op->undo)
		op->undo(&a);
	if (err)
		undo_fill(op, &a);
	return err;
}

static void exact(const struct op *op, union arg *a)
{
	(void)op;
	(void)a;
}

static void longer(const struct op *op, union arg *a)
{
	a->size = op->size + 24;
}

static void longer_tail(const struct op *op, union arg *a)
{
	a->size = op->size + 24;
	a->bytes[op->size + 23] = 1;
}

static void page_tail(const struct op *op, union arg *a)
{
	a->size = T_PAGE;
	a->bytes[T_PAGE - 1] = 1;
	a->bytes[op->size] = 1;
}

static void size_zero(const struct op *op, union arg *a)
{
	(void)op;
	a->size = 0;
}

static void size_three(const struct op *op, union arg *a)
{
	(void)op;
	a->size = 3;
}

static void size_four(const struct op *op, union arg *a)
{
	(void)op;
	a->size = 4;
}

static void bad_flag_low(const struct op *op, union arg *a)
{
	a->bytes[op->flags] |= 0x80;
}

static void bad_flag_high(const struct op *op, union arg *a)
{
	a->bytes[op->flags + 3] |= 0x80;
}

static void bad_resv(const struct op *op, union arg *a)
{
	a->bytes[op->resv + 2] = 1;
}

/* However much memory is zero, only so much of it is looked at: the time of a call is bounded. */
static void check_huge(const struct op *op)
{
	const size_t bytes = 16UL << 20;
	union arg *a = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int err;

	if (a == MAP_FAILED)
		bail("16 MiB of address space");
	op->fill(a);
	a->size = bytes;
	err = call(op, a);
	is(err, -E2BIG, "%s: 16 MiB of zeros", op->name);
	if (!err && op->undo)
		op->undo(a);
	if (err)
		undo_fill(op, a);
	munmap(a, bytes);
}

/*
 * The struct is the last thing before memory that nobody may touch: no byte beyond its size is
 * used.
 */
static void check_edge(const struct op *op)
{
	char *pages = t_pages(2 * T_PAGE);
	union arg *a = (void *)(pages + T_PAGE - op->size);
	union arg whole = { .size = op->size };
	int err;

	mprotect(pages + T_PAGE, T_PAGE, PROT_NONE);
	op->fill(&whole);
	memcpy(a, &whole, op->size);
	err = call(op, a);
	is(err, op->want, "%s: at the end of a page", op->name);
	memcpy(&whole, a, op->size);
	if (!err && op->undo)
		op->undo(&whole);

	/* And one that starts right and then runs out of memory. */
	memset(&whole, 0, sizeof(whole));
	whole.size = op->size;
	op->fill(&whole);
	a = (void *)(pages + T_PAGE - 4);
	a->size = op->size;
	is(call(op, a), -EFAULT, "%s: the rest of the struct cannot be read", op->name);
	undo_fill(op, &whole);
	munmap(pages, 2 * T_PAGE);
}

/* INFO and others must write their answer, and fail when that is impossible, without an effect. */
static void check_readonly(const struct op *op)
{
	union arg *a = t_pages(sizeof(union arg));
	struct bitnet_stats before, after;
	int err;

	a->size = op->size;
	op->fill(a);
	before = t_stats(fd);
	mprotect(a, sizeof(*a), PROT_READ);
	err = call(op, a);
	mprotect(a, sizeof(*a), PROT_READ | PROT_WRITE);
	after = t_stats(fd);
	if (err == -EFAULT)
		ok(before.out_models == after.out_models &&
			   before.out_sessions == after.out_sessions &&
			   before.out_jobs_submitted == after.out_jobs_submitted,
		   "%s: the answer cannot be written: EFAULT and no effect", op->name);
	else
		/* What has no out fields, or fails anyway, need not write. */
		ok(err == op->want &&
		   (op->nr == BITNET_IOC_MODEL_CLOSE || op->nr == BITNET_IOC_MODEL_UNLOAD ||
		    op->nr == BITNET_IOC_SESSION_REWIND || op->nr == BITNET_IOC_SESSION_CLOSE ||
		    op->nr == BITNET_IOC_CANCEL),
		   "%s: a struct in read-only memory gives %d", op->name, err);
	if (err)
		undo_fill(op, a);
	munmap(a, sizeof(*a));
	if (op->fill == fill_ring) {
		/* If the ring is there although the call failed, a second call says EEXIST. */
		is(t_ring_setup(ring_fd, 2, -1, 0, NULL), 0, "%s: the failed call made no ring",
		   op->name);
		undo_ring(a);
	}
}

static void check_op(const struct op *op)
{
	is(try(op, exact), op->want, "%s: the size of this header", op->name);
	is(try(op, longer), op->want, "%s: longer, the rest zero", op->name);
	is(try(op, longer_tail), -E2BIG, "%s: longer, the last byte not zero", op->name);
	is(try(op, page_tail), -E2BIG, "%s: a page long, the rest not zero", op->name);
	is(try(op, size_zero), -EINVAL, "%s: size 0", op->name);
	is(try(op, size_three), -EINVAL, "%s: size 3", op->name);
	if (op->nr != BITNET_IOC_INFO && op->nr != BITNET_IOC_STATS)
		is(try(op, size_four), -EINVAL, "%s: nothing but the size", op->name);
	if (op->flags != NONE) {
		is(try(op, bad_flag_low), -EINVAL, "%s: unknown flag", op->name);
		is(try(op, bad_flag_high), -EINVAL, "%s: highest flag", op->name);
	}
	if (op->resv != NONE)
		is(try(op, bad_resv), -EINVAL, "%s: reserved field", op->name);
	check_huge(op);
	check_edge(op);
	check_readonly(op);
	is(t_ioctl(fd, op->nr, NULL), -EFAULT, "%s: NULL", op->name);
	is(t_ioctl(fd, op->nr, (void *)-T_PAGE), -EFAULT, "%s: an address of the kernel", op->name);
	/* The number is the command's name: direction and size bits must not be ignored. */
	is(t_ioctl(fd, op->nr | 0x80000000, NULL), -ENOTTY, "%s: with a direction", op->name);
	is(t_ioctl(fd, op->nr | 8 << 16, NULL), -ENOTTY, "%s: with a size", op->name);
}

int main(void)
{
	struct t_leaks before = t_leaks_start();
	struct bitnet_info info = { .size = sizeof(info) };
	unsigned int i;
	struct { struct bitnet_info info; uint8_t tail[16]; } long_info;
	static const uint8_t zero[16];

	fd = t_open();
	image = t_image_random(&t_tiny);
	t_ring_open(&ring, fd, 8, 0);
	if (t_model_load(fd, &image, 0, NULL, &model) || t_session_open(fd, model, 64, &session))
		bail("setting up");

	for (i = 0; i < ARRAY_SIZE(ops); i++) {
		/* fill_shared() changes the model that MODEL_INFO and SESSION_OPEN use. */
		uint32_t keep = model;

		check_op(&ops[i]);
		model = keep;
	}
	t_model_unload(fd, NAME);

	memset(&long_info, 0, sizeof(long_info));
	long_info.info.size = sizeof(long_info);
	is(t_ioctl(fd, BITNET_IOC_INFO, &long_info), 0, "INFO into a longer struct");
	is_mem(long_info.tail, zero, sizeof(zero), "its tail stays zero");

	for (i = 0x0f; i < 0x100; i++) {
		int err = t_ioctl(fd, _IO(BITNET_IOC_TYPE, i), &info);

		if (err != -ENOTTY)
			break;
	}
	is(i, 0x100, "numbers from 0x0f to 0xff are ENOTTY");
	is(t_ioctl(fd, _IO(0xb2, 0), &info), -ENOTTY, "another type");
	is(t_ioctl(fd, _IO(BITNET_IOC_TYPE - 1, 0), &info), -ENOTTY, "yet another type");
	is(t_ioctl(fd, TCGETS, &info), -ENOTTY, "not a terminal");

	t_ring_unmap(&ring);
	close(fd);
	if (ring_fd >= 0)
		close(ring_fd);
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}
