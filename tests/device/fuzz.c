// SPDX-License-Identifier: GPL-2.0
/*
 * fuzz.c - random sequences of calls, each checked against a model of what must be true
 *
 * The model knows all files, models, sessions and jobs of the process, and so the errno, the id or
 * the count that a call must give. Workers end jobs when they like: the completion ring is read
 * before and after each call, and what the call says must fit one of the states in between. A
 * sequence runs in a child, as root or as an ordinary user; some children are killed halfway.
 *
 * Counted are ioctl(), mmap() and poll(), not what open(), close(), fork(), munmap() and stores into
 * the ring do besides. Most of them are hostile: single calls that must be refused at once, in
 * whatever state the others have brought about.
 *
 *	fuzz [--seed N] [--sequences N]		sequences N, N + 1, ...; odd ones as user
 *	fuzz --replay FILE			the calls in FILE, as a failure prints them
 *
 * A failing sequence is shortened before it is printed.
 */
#include <getopt.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "descriptors.h"
#include "fuzz.h"

#define N_FILES		5
#define N_IMAGES	2
#define N_PROMPTS	3
#define N_REF		12		/* tokens of each reference */
#define N_NAMES		3
#define N_MAPS		4
#define N_OBJECTS	256
#define UID_USER	2101
#define MEMLOCK		(2 << 20)	/* of the user: more than nothing, less than all */
#define PATIENCE_NS	(T_HANG_NS / 2)	/* for what must come */

/* Limits by the header and INFO, and those of one uid by kmod/bitnet.h */
#define FILE_MODELS	16
#define FILE_SESSIONS	64
#define FILE_JOBS	256
#define USER_MODELS	64

/* ---- the model ------------------------------------------------------------------------------- */

struct object {			/* a loaded image */
	unsigned int refs;	/* handles and sessions; a name */
	unsigned int image;
	unsigned int name;	/* of names[], with a shared one */
	bool shared;
};

struct session {
	bool used;
	bool known;		/* is @n_past right? */
	bool inlined;		/* has had a RUN, which leaves memory */
	struct object *object;
	uint32_t n_ctx, n_past;
};

struct job {
	uint64_t user_data;
	uint32_t session;	/* 0: LINEAR */
	uint32_t made;
	int ref;		/* prompt whose reference it must give, or -1 */
	bool cancelled;
};

struct file {
	int fd;
	bool writable;
	bool scribbled;		/* its ring is no longer to be believed */
	bool lost;		/* how its jobs ended is not known any more */
	struct object *model[FILE_MODELS + 1];
	bool loaded[FILE_MODELS + 1];
	struct session session[FILE_SESSIONS + 1];
	bool has_ring;
	struct t_ring ring;
	uint32_t entries, seen, head;
	uint64_t data_bytes;
	struct job job[FILE_JOBS];
	unsigned int n_jobs;
	uint64_t next_data, submitted, ended[3];	/* well, with an error, cancelled */
	void *map[N_MAPS];
	size_t map_bytes[N_MAPS];
};

static struct file files[N_FILES];
static struct object objects[N_OBJECTS];
static const char *const names[N_NAMES] = { "fuzz-a", "fuzz-b", "fuzz-c" };
static struct t_image image[N_IMAGES], bad_magic, bad_shape, holed;
static struct bitnet_model_info shape[N_IMAGES];
static uint64_t inline_bytes[N_IMAGES];
static struct {
	uint32_t token;
	uint64_t hash;
} ref[N_IMAGES][N_PROMPTS][N_REF];
static const uint32_t prompts[N_PROMPTS][4] = { { 1, 2, 3, 4 }, { 5, 5, 5, 5 }, { 9, 0, 299, 7 } };

static bool as_user, signals, lingering;

/* What the child tells its parent, also when it dies. */
static struct {
	uint64_t calls, hostile, seed;
	unsigned int at;
	char text[400];
	uint32_t results[256][192];	/* how often each ioctl gave what */
} *report;

static const struct fuzz_op *op_now;

#define FAILED	3

/* Tells what is wrong and ends the child. */
__attribute__((noreturn, format(printf, 1, 2)))
static void wrong(const char *fmt, ...)
{
	int n = snprintf(report->text, sizeof(report->text), "call %u, %s: ", report->at,
			 op_now ? op_now->name : "end");
	va_list args;

	va_start(args, fmt);
	vsnprintf(report->text + n, sizeof(report->text) - n, fmt, args);
	va_end(args);
	_exit(FAILED);
}

/* ---- sets of results ------------------------------------------------------------------------- */

struct results {
	uint64_t bits[3];
};

static struct results only(int err)
{
	struct results r = { { 0 } };

	r.bits[-err / 64] = 1ULL << (-err % 64);
	return r;
}

static struct results or(struct results r, int err)
{
	r.bits[-err / 64] |= 1ULL << (-err % 64);
	return r;
}

static bool holds(const struct results *r, int err)
{
	return err <= 0 && err > -192 && r->bits[-err / 64] >> (-err % 64) & 1;
}

static int any_of(const struct results *r)
{
	int err = 0;

	while (err > -191 && !holds(r, err))
		err--;
	return err;
}

static struct results without(struct results r, int err)
{
	r.bits[-err / 64] &= ~(1ULL << (-err % 64));
	return r;
}

/* ---- the ring -------------------------------------------------------------------------------- */

static struct job *find_job(struct file *f, uint64_t user_data)
{
	unsigned int i;

	for (i = 0; i < f->n_jobs; i++)
		if (f->job[i].user_data == user_data)
			return &f->job[i];
	return NULL;
}

static void check_token(struct file *f, struct job *job, const struct bitnet_ring_entry *e)
{
	unsigned int of;

	if (e->kind != BITNET_ENTRY_TOKEN || e->n_tokens != job->made || e->error || e->reason)
		wrong("job %llu: entry of kind %u number %u instead of token %u",
		      (unsigned long long)job->user_data, e->kind, e->n_tokens, job->made);
	if (job->ref >= 0 && job->made < N_REF) {
		of = f->session[job->session].object->image;
		if (e->token != ref[of][job->ref][job->made].token ||
		    e->logits_hash != ref[of][job->ref][job->made].hash)
			wrong("prompt %d: token %u is %u (logits %llx) instead of %u", job->ref,
			      job->made, e->token, (unsigned long long)e->logits_hash,
			      ref[of][job->ref][job->made].token);
	}
	job->made++;
}

static void count_end(struct file *f, uint32_t session, const struct bitnet_ring_entry *e)
{
	struct session *s = &f->session[session];

	f->ended[!e->error ? 0 : e->error == -ECANCELED ? 2 : 1]++;
	if (!session)
		return;
	if (e->position > s->n_ctx)
		wrong("a cache of %u tokens holds %u", s->n_ctx, e->position);
	s->n_past = e->position;
	s->known = true;
}

static void check_end(struct file *f, struct job *job, const struct bitnet_ring_entry *e)
{
	bool done = e->kind == BITNET_ENTRY_DONE;

	if (e->n_tokens != job->made || done != !e->error || done != !!e->reason ||
	    (e->error && e->error != -ECANCELED && e->error != -ERANGE))
		wrong("job %llu ends with kind %u reason %u error %d after %u of %u tokens",
		      (unsigned long long)job->user_data, e->kind, e->reason, e->error, job->made,
		      e->n_tokens);
	if (e->error == -ECANCELED && !job->cancelled)
		wrong("job %llu was cancelled by nobody", (unsigned long long)job->user_data);
	count_end(f, job->session, e);
	*job = f->job[--f->n_jobs];
}

/* Takes notice of all entries that have been posted, without telling the kernel. */
static void look(struct file *f)
{
	uint32_t tail;

	if (!f->has_ring || f->scribbled)
		return;
	tail = __atomic_load_n(&f->ring.header->tail, __ATOMIC_ACQUIRE);
	if (tail - f->head > f->entries)
		wrong("%u entries in a ring of %u", tail - f->head, f->entries);
	for (; f->seen != tail; f->seen++) {
		const struct bitnet_ring_entry *e = &f->ring.entries[f->seen & (f->entries - 1)];
		struct job *job = find_job(f, e->user_data);

		if (!job || e->__resv)
			wrong("an entry of kind %u for job %llu, which does not exist", e->kind,
			      (unsigned long long)e->user_data);
		if (e->kind == BITNET_ENTRY_TOKEN)
			check_token(f, job, e);
		else
			check_end(f, job, e);
	}
}

static void consume(struct file *f, uint32_t n)
{
	look(f);
	if (!f->has_ring || f->scribbled)
		return;
	f->head += n < f->seen - f->head ? n : f->seen - f->head;
	__atomic_store_n(&f->ring.header->head, f->head, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (__atomic_load_n(&f->ring.header->flags, __ATOMIC_RELAXED) & BITNET_RING_F_NEED_WAKEUP)
		t_wait(f->fd, 0, 0, NULL);
}

/* Jobs of a session that have not ended, as far as was seen; of all with 0. */
static unsigned int unfinished(const struct file *f, uint32_t session)
{
	unsigned int n = 0, i;

	for (i = 0; i < f->n_jobs; i++)
		n += !session || f->job[i].session == session;
	return n;
}

/* ---- what the model says --------------------------------------------------------------------- */

static unsigned int count_models(const struct file *f)
{
	unsigned int n = 0, i;

	for (i = 1; i <= FILE_MODELS; i++)
		n += !!f->model[i];
	return n;
}

static unsigned int count_sessions(const struct file *f)
{
	unsigned int n = 0, i;

	for (i = 1; i <= FILE_SESSIONS; i++)
		n += f->session[i].used;
	return n;
}

static unsigned int all_models(void)
{
	unsigned int n = 0, i;

	for (i = 0; i < N_FILES; i++)
		n += count_models(&files[i]);
	return n;
}

static uint64_t locked_bytes(void)
{
	uint64_t bytes = 0;
	unsigned int i;

	for (i = 0; i < N_OBJECTS; i++)
		if (objects[i].refs)
			bytes += image[objects[i].image].length;
	return bytes;
}

static struct object *find_name(unsigned int name)
{
	unsigned int i;

	for (i = 0; i < N_OBJECTS; i++)
		if (objects[i].refs && objects[i].shared && objects[i].name == name)
			return &objects[i];
	return NULL;
}

static struct object *new_object(void)
{
	unsigned int i;

	for (i = 0; i < N_OBJECTS; i++)
		if (!objects[i].refs)
			return &objects[i];
	wrong("the fuzzer has too few objects");
}

/* An id that exists if any does, most of the time. */
static uint32_t pick_model(const struct file *f, uint32_t r)
{
	static const uint32_t odd[] = { 0, FILE_MODELS + 1, ~0U, 0x80000000 };
	unsigned int n = count_models(f), i;

	if (!n || r % 16 == 0)
		return r % 32 ? r / 32 % FILE_MODELS + 1 : odd[r / 32 % 4];
	n = r / 16 % n;
	for (i = 1; !f->model[i] || n--;)
		i++;
	return i;
}

static uint32_t pick_session(const struct file *f, uint32_t r)
{
	static const uint32_t odd[] = { 0, FILE_SESSIONS + 1, ~0U, 0x80000001 };
	unsigned int n = count_sessions(f), i;

	if (!n || r % 16 == 0)
		return r % 32 ? r / 32 % FILE_SESSIONS + 1 : odd[r / 32 % 4];
	n = r / 16 % n;
	for (i = 1; !f->session[i].used || n--;)
		i++;
	return i;
}

static struct object *model_of(struct file *f, uint32_t id)
{
	return id <= FILE_MODELS ? f->model[id] : NULL;
}

static struct session *session_of(struct file *f, uint32_t id)
{
	return id <= FILE_SESSIONS && f->session[id].used ? &f->session[id] : NULL;
}

/* ---- structs, sound and otherwise ------------------------------------------------------------ */

enum how {
	SOUND, SOUND_LONGER, NULL_POINTER, KERNEL_POINTER, CUT_OFF, NO_SIZE, TOO_SHORT, LONG_TAIL,
	HUGE_SIZE, READ_ONLY, N_HOWS
};

/* Two pages to write, followed by none, and the same two to read. */
static uint8_t *stage, *stage_ro;

static void stage_init(void)
{
	int mem = memfd_create("stage", MFD_CLOEXEC);

	if (mem < 0 || ftruncate(mem, 2 * T_PAGE))
		bail("memfd: %s", strerror(errno));
	stage = mmap(NULL, 3 * T_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	stage = mmap(stage, 2 * T_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, mem, 0);
	stage_ro = mmap(NULL, 2 * T_PAGE, PROT_READ, MAP_SHARED, mem, 0);
	if (stage == MAP_FAILED || stage_ro == MAP_FAILED)
		bail("mmap: %s", strerror(errno));
	close(mem);
}

/*
 * struct request - one ioctl, and what it must give
 * @min:	length of the struct's first version
 * @writes:	needs a writable descriptor
 * @responds:	has fields for the kernel to fill in
 */
struct request {
	struct file *file;
	unsigned long nr;
	void *arg;
	size_t size, min;
	bool writes, responds;
	struct results want;
};

#define REQUEST(f, ioctl, s, last, wr, resp)	\
	{ .file = f, .nr = BITNET_IOC_##ioctl, .arg = &(s), .size = sizeof(s),	\
	  .min = offsetof(__typeof__(s), last) + sizeof((s).last), .writes = wr, .responds = resp }

/* Lays the struct out in the way that @how says. Return: its address; @forced: what it must give */
static void *lay_out(const struct request *q, enum how how, int *forced)
{
	uint8_t *at = stage + 8;
	uint32_t size = q->size;

	*forced = 0;
	switch (how) {
	case SOUND_LONGER:
		size += 40;
		memset(at + q->size, 0, 40);
		break;
	case LONG_TAIL:
		size += 40;
		memset(at + q->size, 0, 40);
		at[q->size + 33] = 1;
		*forced = -E2BIG;
		break;
	case HUGE_SIZE:
		size = 4097;
		*forced = -E2BIG;
		break;
	case NO_SIZE:
		size = 0;
		*forced = -EINVAL;
		break;
	case TOO_SHORT:
		size = q->min - 1;
		*forced = -EINVAL;
		break;
	case CUT_OFF:
		at = stage + 2 * T_PAGE - 4;
		memcpy(at, &size, 4);
		*forced = -EFAULT;
		return at;
	case NULL_POINTER:
		*forced = -EFAULT;
		return NULL;
	case KERNEL_POINTER:
		*forced = -EFAULT;
		return (void *)0xffff800000001000;
	default:
		break;
	}
	memcpy(at, q->arg, q->size);
	memcpy(at, &size, 4);
	return how == READ_ONLY ? stage_ro + 8 : at;
}

/* Makes the call and checks what it gives. Return: that; the struct is the kernel's if it is 0. */
static int issue(struct request *q, unsigned int how_number)
{
	enum how how = how_number % N_HOWS;
	uint64_t give_up = 0;
	void *at;
	int err, forced;

	at = lay_out(q, how, &forced);
	if (forced)
		q->want = only(forced);
	else if (how == READ_ONLY && q->responds && holds(&q->want, 0))
		q->want = or(without(q->want, 0), -EFAULT);
	if (q->writes && !q->file->writable)
		q->want = only(-EPERM);
	for (;;) {
		report->calls++;
		err = t_ioctl(q->file->fd, q->nr, at);
		if (holds(&q->want, err))
			break;
		/* What ended jobs held goes a moment later. */
		if (!lingering || (err != -ENOMEM && err != -EDQUOT) ||
		    (give_up && t_now() > give_up))
			wrong("gives %d (%s) instead of %d, struct %d", err, strerror(-err),
			      any_of(&q->want), how);
		if (!give_up)
			give_up = t_now() + PATIENCE_NS;
		t_sleep_ns(1000000);
	}
	report->results[q->nr & 0xff][-err]++;
	if (!err && how != READ_ONLY)
		memcpy(q->arg, at, q->size);
	return err;
}

/* ---- files ----------------------------------------------------------------------------------- */

static void check_stats(struct file *f);

static struct file *file_of(const struct fuzz_call *call)
{
	struct file *f = &files[call->file % N_FILES];

	if (f->fd >= 0)
		return f;
	memset(f, 0, sizeof(*f));
	f->writable = call->c >> 27;
	f->fd = t_open_flags(f->writable ? O_RDWR : O_RDONLY);
	if (f->fd < 0)
		wrong("open gives %d", f->fd);
	return f;
}

static void put_object(struct object *o)
{
	o->refs--;
}

static void forget_file(struct file *f)
{
	unsigned int i;

	for (i = 1; i <= FILE_MODELS; i++)
		if (f->model[i])
			put_object(f->model[i]);
	for (i = 1; i <= FILE_SESSIONS; i++)
		if (f->session[i].used)
			put_object(f->session[i].object);
	lingering |= f->n_jobs || f->submitted;
	memset(f, 0, sizeof(*f));
	f->fd = -1;
}

static void unmap_all(struct file *f)
{
	unsigned int i;

	for (i = 0; i < N_MAPS; i++) {
		if (f->map[i])
			munmap(f->map[i], f->map_bytes[i]);
		f->map[i] = NULL;
	}
	if (f->has_ring)
		t_ring_unmap(&f->ring);
}

static void close_file(struct file *f, bool unmap_first)
{
	if (unmap_first)
		unmap_all(f);
	if (close(f->fd))
		wrong("close: %s", strerror(errno));
	if (!unmap_first) {
		/* The mapping keeps the file, and the file its jobs. */
		look(f);
		unmap_all(f);
	}
	forget_file(f);
}

static void op_close(const struct fuzz_call *call)
{
	struct file *f = &files[call->file % N_FILES];

	if (f->fd >= 0) {
		check_stats(f);
		close_file(f, call->a % 2);
	}
}

/* A child inherits all, does something or nothing, and ends. */
static void op_fork(const struct fuzz_call *call)
{
	struct file *f = file_of(call);
	struct bitnet_stats s = { .size = sizeof(s) };
	int status;
	pid_t pid;

	pid = fork();
	if (pid < 0)
		wrong("fork: %s", strerror(errno));
	if (!pid) {
		if (call->a % 4 == 0)
			unmap_all(f);
		if (call->a % 4 == 1 && t_ioctl(f->fd, BITNET_IOC_STATS, &s))
			_exit(1);
		if (call->a % 4 == 2)
			raise(SIGKILL);
		_exit(call->a % 4 == 1 && s.out_models != count_models(f));
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			wrong("waitpid: %s", strerror(errno));
	if (WIFEXITED(status) && WEXITSTATUS(status))
		wrong("the child sees another number of models");
}

/* Through a socket and back, with no other reference meanwhile. */
static void op_pass(const struct fuzz_call *call)
{
	struct file *f = file_of(call);
	int pair[2], err;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		wrong("socketpair: %s", strerror(errno));
	err = t_send_fd(pair[0], f->fd, 0);
	if (err)
		wrong("sendmsg: %s", strerror(-err));
	if (call->a % 8) {
		close(f->fd);
		do
			f->fd = t_receive_fd(pair[1], 0);
		while (f->fd == -EINTR);
		if (f->fd < 0)
			wrong("recvmsg: %s", strerror(-f->fd));
	}
	/* Else the message dies in the queue. */
	close(pair[0]);
	close(pair[1]);
}

static void op_info(const struct fuzz_call *call)
{
	struct file *f = file_of(call);
	struct bitnet_info u = { 0 };
	struct request q = REQUEST(f, INFO, u, out_variant, false, true);

	u.flags = call->a % 8 ? 0 : 1U << (call->b % 32);
	u.__resv = call->a % 64 ? 0 : call->b;
	q.want = only(u.flags || u.__resv ? -EINVAL : 0);
	if (issue(&q, call->how) || call->how % N_HOWS == READ_ONLY)
		return;
	if (u.out_max_models != FILE_MODELS || u.out_max_sessions != FILE_SESSIONS ||
	    u.out_max_jobs != FILE_JOBS)
		wrong("other limits than the model's");
}

static void op_unknown(const struct fuzz_call *call)
{
	struct file *f = file_of(call);
	unsigned long nr = call->a % 2 ? _IO(BITNET_IOC_TYPE, 0x0f + call->b % 0xf1) :
			   call->a % 4 ? _IOWR(BITNET_IOC_TYPE, call->b % 16, uint64_t) :
					 _IO(call->b % BITNET_IOC_TYPE, call->c % 16);
	int err;

	memset(stage, call->c, 64);
	report->calls++;
	/* Of another type may be one that all files have. */
	err = call->a % 4 ? t_ioctl(f->fd, nr, stage) : -ENOTTY;
	if (err != -ENOTTY)
		wrong("ioctl 0x%lx gives %d", nr, err);
	if (read(f->fd, stage, 64) != -1 || write(f->fd, stage, 64) != -1)
		wrong("it can be read or written");
	if (lseek(f->fd, 0, SEEK_SET) != -1 || errno != ESPIPE)
		wrong("it has a position");
}

/* ---- models ---------------------------------------------------------------------------------- */

static unsigned int lowest_model(const struct file *f)
{
	unsigned int id = 1;

	while (f->model[id])
		id++;
	return id;
}

/* A name and whether it is one. */
static bool fuzz_name(char *field, uint32_t r)
{
	static const char *const odd[] = { "a/b", "", "\xff", " ", "a b", "\n" };

	memset(field, 0, BITNET_NAME_BYTES);
	if (r % 16 == 0) {
		strcpy(field, odd[r / 16 % ARRAY_SIZE(odd)]);
		return false;
	}
	if (r % 16 == 1) {
		memset(field, 'x', BITNET_NAME_BYTES);
		return false;
	}
	strcpy(field, names[r / 16 % N_NAMES]);
	return true;
}

/* Chooses what is loaded. Return: what is wrong with it, or 0 */
static int choose_image(struct bitnet_model_load *u, uint32_t r, unsigned int *of)
{
	const struct t_image *from;

	*of = r / 16 % N_IMAGES;
	from = &image[*of];
	u->length = from->length;
	u->addr = t_pointer(from->base);
	switch (r / 32 % 24) {
	case 0:
		u->addr = t_pointer(bad_magic.base);
		u->length = bad_magic.length;
		return -ENOEXEC;
	case 1:
		*of = 0;
		u->addr = t_pointer(bad_shape.base);
		u->length = bad_shape.length;
		return -EBADMSG;
	case 2:
		*of = 0;
		u->addr = t_pointer(holed.base);
		u->length = holed.length;
		return -EFAULT;
	case 3:
		u->length += T_PAGE;
		return -EBADMSG;
	case 4:
		u->addr = 0xffff800000000000;
		return -EFAULT;
	case 5:
		u->length = r >> 10 & 0x7f;
		return u->length ? -ENOEXEC : -EINVAL;
	default:
		return 0;
	}
}

static bool over_memlock(unsigned int of)
{
	struct rlimit limit;

	getrlimit(RLIMIT_MEMLOCK, &limit);
	return as_user && locked_bytes() + image[of].length > (limit.rlim_cur & -T_PAGE);
}

static void op_load(const struct fuzz_call *call)
{
	struct file *f = file_of(call);
	struct bitnet_model_load u = { 0 };
	struct request q = REQUEST(f, MODEL_LOAD, u, __resv, true, true);
	bool shared = call->a % 4 == 0, named = fuzz_name(u.name, call->b), odd = !(call->c % 16);
	unsigned int of;
	int bad = choose_image(&u, call->c / 16, &of);
	struct object *o;

	if (call->c % 32 == 0)
		u.flags = 2U << (call->c / 32 % 31);
	else if (odd && call->c % 64 == 16)
		u.addr += 1 + call->c / 64 % 4095;
	else if (odd)
		u.__resv = 1U << (call->c / 32 % 32);
	u.flags |= shared ? BITNET_MODEL_F_SHARED : 0;
	/* In the order in which the header's errors are looked for */
	if (odd || bad == -EINVAL || !(named || (!u.name[0] && !shared)))
		q.want = only(-EINVAL);
	else if (shared && as_user)
		q.want = only(-EPERM);
	else if (count_models(f) == FILE_MODELS || (as_user && all_models() >= USER_MODELS))
		q.want = only(-EDQUOT);
	else if (bad && u.addr != t_pointer(holed.base) && u.addr != t_pointer(bad_shape.base))
		q.want = only(bad);
	else if (over_memlock(of))
		q.want = only(-ENOMEM);
	else if (bad)
		q.want = only(bad);
	else
		q.want = only(shared && find_name(call->b / 16 % N_NAMES) ? -EEXIST : 0);
	if (issue(&q, call->how))
		return;
	if (u.out_model_id != lowest_model(f))
		wrong("id %u instead of %u", u.out_model_id, lowest_model(f));
	o = new_object();
	*o = (struct object){ .refs = 1 + shared, .image = of, .shared = shared,
			      .name = call->b / 16 % N_NAMES };
	f->loaded[u.out_model_id] = true;
	f->model[u.out_model_id] = o;
}

static void op_model_open(const struct fuzz_call *call)
{
	struct file *f = file_of(call);
	unsigned int times = call->a % 16 ? 1 : call->a / 16 % 20;
	struct object *o;

	while (times--) {
		struct bitnet_model_open u = { 0 };
		struct request q = REQUEST(f, MODEL_OPEN, u, __resv, true, true);
		bool named = fuzz_name(u.name, call->b);

		u.flags = call->c % 32 ? 0 : 1U << (call->c / 32 % 32);
		u.__resv = call->c % 32 != 1 ? 0 : call->c;
		o = find_name(call->b / 16 % N_NAMES);
		if (!named || u.flags || u.__resv)
			q.want = only(-EINVAL);
		else if (!o)
			q.want = only(-ENOENT);
		else
			q.want = only(count_models(f) == FILE_MODELS ||
				      (as_user && all_models() >= USER_MODELS) ? -EDQUOT : 0);
		if (issue(&q, call->how))
			return;
		if (u.out_model_id != lowest_model(f))
			wrong("id %u instead of %u", u.out_model_id, lowest_model(f));
		o->refs++;
		f->loaded[u.out_model_id] = false;
		f->model[u.out_model_id] = o;
	}
}

static void op_model_close(const struct fuzz_call *call)
{
	struct file *f = file_of(call);
	struct bitnet_model_close u = { .model_id = pick_model(f, call->a) };
	struct request q = REQUEST(f, MODEL_CLOSE, u, model_id, true, false);
	struct object *o = model_of(f, u.model_id);

	q.want = only(o ? 0 : -ENOENT);
	if (issue(&q, call->how))
		return;
	put_object(o);
	f->model[u.model_id] = NULL;
	lingering |= f->submitted;
}

static void op_unload(const struct fuzz_call *call)
{
	struct file *f = file_of(call);
	struct bitnet_model_unload u = { 0 };
	struct request q = REQUEST(f, MODEL_UNLOAD, u, name, true, false);
	bool named = fuzz_name(u.name, call->a);
	struct object *o = find_name(call->a / 16 % N_NAMES);

	u.flags = call->b % 16 ? 0 : 1U << (call->c % 32);
	if (!named || u.flags)
		q.want = only(-EINVAL);
	else
		q.want = only(as_user ? -EPERM : o ? 0 : -ENOENT);
	if (issue(&q, call->how))
		return;
	o->shared = false;
	put_object(o);
}

static void op_model_info(const struct fuzz_call *call)
{
	struct file *f = file_of(call);
	struct bitnet_model_info u = { .model_id = pick_model(f, call->a) };
	struct request q = REQUEST(f, MODEL_INFO, u, out_name, false, true);
	struct object *o = model_of(f, u.model_id);

	q.want = only(o ? 0 : -ENOENT);
	if (issue(&q, call->how))
		return;
	if (u.out_digest != shape[o->image].out_digest || u.out_vocab != shape[o->image].out_vocab ||
	    u.out_flags != (o->shared ? BITNET_MODEL_F_SHARED : 0) ||
	    u.out_image_bytes != image[o->image].length)
		wrong("another model's shape or flags 0x%x", u.out_flags);
}

static void op_rlimit(const struct fuzz_call *call)
{
	struct rlimit limit = { .rlim_cur = call->a % 4 ? MEMLOCK : call->b % MEMLOCK,
				.rlim_max = MEMLOCK };

	if (as_user && setrlimit(RLIMIT_MEMLOCK, &limit))
		wrong("setrlimit: %s", strerror(errno));
}

/* ---- sessions -------------------------------------------------------------------------------- */

static unsigned int lowest_session(const struct file *f)
{
	unsigned int id = 1;

	while (f->session[id].used)
		id++;
	return id;
}

static void op_session_open(const struct fuzz_call *call)
{
	struct file *f = file_of(call);
	unsigned int times = call->a % 32 ? 1 : call->a / 32 % 70;
	struct bitnet_session_open u;
	struct object *o;

	while (times--) {
		struct request q = REQUEST(f, SESSION_OPEN, u, __resv, true, true);

		u = (struct bitnet_session_open){
			.model_id = pick_model(f, call->b),
			.n_ctx = call->c % 4 ? 1 + call->c / 16 % 64 : call->c % 8 ? 0 : call->c / 16,
			.flags = call->c % 64 == 1 ? call->c : 0,
			.__resv = call->c % 64 == 2 ? call->c : 0,
		};
		o = model_of(f, u.model_id);
		if (u.flags || u.__resv)
			q.want = only(-EINVAL);
		else if (!o)
			q.want = only(-ENOENT);
		else if (count_sessions(f) == FILE_SESSIONS)
			q.want = only(-EDQUOT);
		else
			q.want = only(u.n_ctx > shape[o->image].out_max_ctx ? -EINVAL : 0);
		if (issue(&q, call->how))
			return;
		if (u.out_session_id != lowest_session(f))
			wrong("id %u instead of %u", u.out_session_id, lowest_session(f));
		o->refs++;
		f->session[u.out_session_id] = (struct session){
			.used = true, .known = true, .object = o,
			.n_ctx = u.n_ctx ? u.n_ctx : shape[o->image].out_max_ctx,
		};
	}
}

/* What it can give to need a session without jobs. */
static struct results idle_only(const struct file *f, unsigned int before, struct results idle)
{
	return before || (f->scribbled && f->submitted) ? or(idle, -EBUSY) : idle;
}

/* After a call: if jobs are left now, they were there all the time. */
static void check_busy(struct file *f, uint32_t id, int err)
{
	look(f);
	if (!f->scribbled && unfinished(f, id) && err != -EBUSY)
		wrong("gives %d with %u unfinished jobs", err, unfinished(f, id));
}

static void op_rewind(const struct fuzz_call *call)
{
	struct file *f = file_of(call);
	struct bitnet_session_rewind u = {
		.session_id = pick_session(f, call->a),
		.n_tokens = call->b % 4 ? 0 : call->c % 300,
		.__resv = call->b % 64 == 1 ? call->c : 0,
	};
	struct request q = REQUEST(f, SESSION_REWIND, u, __resv, true, false);
	struct session *s = session_of(f, u.session_id);
	bool plain = call->how % N_HOWS <= SOUND_LONGER || call->how % N_HOWS == READ_ONLY;
	unsigned int busy;
	int err;

	look(f);
	busy = s ? unfinished(f, u.session_id) : 0;
	if (u.__resv) {
		q.want = only(-EINVAL);
	} else if (!s) {
		q.want = only(-ENOENT);
	} else {
		if (!busy && s->known && !f->scribbled)
			q.want = only(u.n_tokens > s->n_past ? -ERANGE : 0);
		else
			q.want = u.n_tokens ? or(only(0), -ERANGE) : only(0);
		q.want = idle_only(f, busy, q.want);
	}
	err = issue(&q, call->how);
	if (s && plain && !u.__resv && f->writable)
		check_busy(f, u.session_id, err);
	if (err)
		return;
	if (!f->scribbled && s->known && u.n_tokens > s->n_past)
		wrong("%u of %u tokens are kept", u.n_tokens, s->n_past);
	s->n_past = u.n_tokens;
	s->known = true;
}

static void op_session_close(const struct fuzz_call *call)
{
	struct file *f = file_of(call);
	struct bitnet_session_close u = { .session_id = pick_session(f, call->a) };
	struct request q = REQUEST(f, SESSION_CLOSE, u, session_id, true, false);
	struct session *s = session_of(f, u.session_id);
	bool plain = call->how % N_HOWS <= SOUND_LONGER || call->how % N_HOWS == READ_ONLY;
	int err;

	look(f);
	q.want = s ? idle_only(f, unfinished(f, u.session_id), only(0)) :
		     only(-ENOENT);
	err = issue(&q, call->how);
	if (s && plain && f->writable)
		check_busy(f, u.session_id, err);
	if (err)
		return;
	put_object(s->object);
	s->used = false;
	lingering = true;
}

/* ---- the ring as an object ------------------------------------------------------------------- */

static void op_ring(const struct fuzz_call *call)
{
	struct file *f = file_of(call);
	struct bitnet_ring_setup u = {
		.entries = 2U << (call->a % 7), .eventfd = -1,
		.data_bytes = call->b % 4 * T_PAGE,
	};
	struct request q = REQUEST(f, RING_SETUP, u, out_ring_bytes, true, true);
	bool bad_fd = call->c % 16 == 1;
	int fd = -1;

	switch (call->c % 32) {
	case 2:
		u.entries = call->c / 32;
		break;
	case 3:
		u.data_bytes += 1 + call->c / 32 % 4095;
		break;
	case 4:
		u.flags = 1U << (call->c / 32 % 32);
		break;
	case 5:
		u.data_bytes = (64ULL << 20) + T_PAGE;
		break;
	case 6:
		u.eventfd = -2 - (int)(call->c / 64);
		break;
	default:
		break;
	}
	if (call->c % 4 == 0)
		fd = u.eventfd = eventfd(0, EFD_CLOEXEC);
	if (bad_fd)
		u.eventfd = call->c % 32 == 1 ? stage[0] + 1000 : f->fd;
	if (u.flags || u.entries < 2 || u.entries > 65536 || u.entries & (u.entries - 1) ||
	    u.eventfd < -1 || u.data_bytes % T_PAGE || u.data_bytes > 64 << 20)
		q.want = only(-EINVAL);
	else
		q.want = only(f->has_ring ? -EEXIST : bad_fd ? -EINVAL : 0);
	if (!issue(&q, call->how)) {
		t_ring_map(&f->ring, f->fd, u.out_ring_bytes, u.data_bytes);
		f->has_ring = true;
		f->entries = u.entries;
		f->data_bytes = u.data_bytes;
	}
	if (fd >= 0)
		close(fd);
}

static void op_mmap(const struct fuzz_call *call)
{
	static const off_t offsets[] = { BITNET_MMAP_RING, BITNET_MMAP_DATA, T_PAGE, 0x20000000 };
	struct file *f = file_of(call);
	off_t offset = offsets[call->a % ARRAY_SIZE(offsets)];
	size_t whole = offset == BITNET_MMAP_DATA ? f->data_bytes : f->ring.bytes;
	size_t bytes = call->b % 4 && whole ? whole : T_PAGE * (1 + call->b / 4 % 20);
	int prot = call->c % 8 ? PROT_READ | (call->c % 2 ? PROT_WRITE : 0) : PROT_READ | PROT_EXEC;
	int flags = call->c / 8 % 8 ? MAP_SHARED : MAP_PRIVATE;
	unsigned int slot = call->c / 64 % N_MAPS;
	int err, want;
	void *p;

	if (f->map[slot])
		munmap(f->map[slot], f->map_bytes[slot]);
	report->calls++;
	p = t_mmap(f->fd, bytes, prot, flags, offset);
	err = p == MAP_FAILED ? -errno : 0;
	f->map[slot] = err ? NULL : p;
	f->map_bytes[slot] = bytes;
	if (prot & PROT_WRITE && flags == MAP_SHARED && !f->writable)
		want = -EACCES;
	else if (!f->has_ring)
		want = -ENXIO;
	else
		want = offset > (off_t)BITNET_MMAP_DATA || offset == T_PAGE || !whole ||
		       bytes != whole || flags != MAP_SHARED || prot & PROT_EXEC ? -EINVAL : 0;
	if (err != want)
		wrong("offset %llx, %zu of %zu bytes, prot %d, flags %d: %d instead of %d",
		      (long long)offset, bytes, whole, prot, flags, err, want);
	if (!err && !mprotect(p, bytes, PROT_READ | PROT_EXEC))
		wrong("the mapping can be made executable");
	if (!err && mremap(p, bytes, bytes + T_PAGE, MREMAP_MAYMOVE) != MAP_FAILED)
		wrong("the mapping can be made longer");
}

static void op_munmap(const struct fuzz_call *call)
{
	struct file *f = file_of(call);
	unsigned int slot = call->a % N_MAPS;

	if (!f->map[slot])
		return;
	/* Part of it, then the rest. */
	munmap(f->map[slot], T_PAGE);
	munmap(f->map[slot], f->map_bytes[slot]);
	f->map[slot] = NULL;
}

static void op_consume(const struct fuzz_call *call)
{
	consume(file_of(call), call->a % 2 ? ~0U : call->a / 2 % 8);
}

/* From here on the ring says nothing any more, and the jobs are whatever the calls say. */
static void op_scribble(const struct fuzz_call *call)
{
	struct file *f = file_of(call);
	uint32_t *words = (void *)f->ring.header;
	uint64_t seed = call->a;
	unsigned int i;

	if (!f->has_ring || call->b % 4)
		return;
	look(f);
	f->scribbled = true;
	for (i = 0; i < 16; i++)
		words[t_random(&seed) % (f->ring.bytes / 4)] = t_random(&seed);
	for (i = 0; i < 8; i++)
		words[t_random(&seed) % 32] = t_random(&seed) % 4 ? t_random(&seed) % 64 :
								    t_random(&seed);
	for (i = 1; i <= FILE_SESSIONS; i++)
		f->session[i].known = false;
}

static void op_wait(const struct fuzz_call *call)
{
	static const int64_t timeouts[] = { 0, 0, 1, 100000, 2000000, PATIENCE_NS };
	struct file *f = file_of(call);
	struct bitnet_wait u = {
		.min_entries = call->a % 4 ? call->a / 4 % (f->entries + 1) : call->a / 4 % 300,
		.timeout_ns = timeouts[call->b % ARRAY_SIZE(timeouts)],
		.flags = call->c % 32 ? 0 : call->c / 32,
	};
	struct request q = REQUEST(f, WAIT, u, timeout_ns, false, true);
	uint32_t before, after;
	int err;

	if (f->scribbled && u.timeout_ns > 2000000)
		u.timeout_ns = 0;
	look(f);
	before = f->seen - f->head;
	if (u.flags) {
		q.want = only(-EINVAL);
	} else if (!f->has_ring) {
		q.want = only(-ENXIO);
	} else if (u.min_entries > f->entries) {
		q.want = only(-EINVAL);
	} else {
		q.want = only(0);
		if (f->scribbled || before < u.min_entries)
			q.want = signals ? or(or(q.want, -ETIME), -EINTR) : or(q.want, -ETIME);
	}
	err = issue(&q, call->how);
	look(f);
	after = f->seen - f->head;
	if (err == -ETIME && u.timeout_ns == PATIENCE_NS)
		wrong("%u entries do not come, with %u jobs unfinished", u.min_entries,
		      f->n_jobs);
	if (err || f->scribbled || call->how % N_HOWS == READ_ONLY)
		return;
	if (u.out_entries < before || u.out_entries > after)
		wrong("%u entries, but there were %u and are %u", u.out_entries, before, after);
	if (u.out_entries < u.min_entries && f->n_jobs && after + f->n_jobs < f->entries)
		wrong("ends with %u of %u entries although jobs go on", u.out_entries,
		      u.min_entries);
}

static void op_poll(const struct fuzz_call *call)
{
	struct file *f = file_of(call);
	struct pollfd p = { .fd = f->fd, .events = POLLIN };
	const struct timespec timeout = { .tv_nsec = call->a % 4 ? 0 : 50000 };
	bool before, after;
	int n;

	look(f);
	before = f->seen != f->head;
	report->calls++;
	n = ppoll(&p, 1, &timeout, NULL);
	look(f);
	after = f->seen != f->head;
	if (n < 0 ? errno != EINTR : !f->scribbled && (n ? !after : before))
		wrong("gives %d, with entries before: %d, after: %d", n, before, after);
}

/* ---- jobs ------------------------------------------------------------------------------------ */

static uint32_t good_tokens[512], bad_tokens[512];

/* The input and what is wrong with it. */
static int fuzz_input(const struct session *s, struct bitnet_job *job, uint32_t r, int *prompt)
{
	uint32_t vocab = s ? shape[s->object->image].out_vocab : 300;

	*prompt = -1;
	job->input = t_pointer(good_tokens);
	job->input_count = 1 + r / 16 % 24;
	switch (r % 16) {
	case 0:
		job->input = t_pointer(stage + 2 * T_PAGE - 4 * (job->input_count - 1));
		return -EFAULT;
	case 1:
		memset(bad_tokens, 0, sizeof(bad_tokens));
		bad_tokens[r / 512 % job->input_count] = vocab + (r % 64 < 32 ? 0 : r & ~0x1ffU);
		job->input = t_pointer(bad_tokens);
		return -ERANGE;
	case 2:
		job->input_count = 513 + r / 16;
		return -ERANGE;
	case 3:
		job->input_count = 100 + r / 16 % 300;
		return 0;
	case 4:
	case 5:
		return 0;
	default:
		*prompt = r / 16 % N_PROMPTS;
		job->input = t_pointer(prompts[*prompt]);
		job->input_count = ARRAY_SIZE(prompts[0]);
		return 0;
	}
}

static void fuzz_sampler(struct bitnet_job *job, uint32_t r)
{
	job->seed = r;
	job->temperature_ppm = r % 3 * 700000;
	job->top_k = r / 4 % 50;
	job->top_p_ppm = r / 8 % 4 * 250000;
	job->min_p_ppm = r / 16 % 2 * 50000;
	job->repeat_penalty_ppm = r / 32 % 2 * 1300000;
	job->repeat_last_n = r / 64 % 2 * 64;
	job->n_stop = r / 128 % 3;
}

static bool damage(struct bitnet_job *job, uint32_t r)
{
	switch (r % 16) {
	case 0:
		job->kind = r / 16 % 2 ? 0 : 4 + r / 32;
		return true;
	case 1:
		job->flags |= 2U << (r / 16 % 31);
		return true;
	case 2:
		job->__resv = r | 1;
		return true;
	case 3:
		job->__resv2 = r | 1;
		return true;
	case 4:
		job->job_class = 3 + r / 16;
		return true;
	case 5:
		job->period_ns = 1;
		return true;
	case 6:
		job->input_count = 0;
		return true;
	case 7:
		job->n_stop = 17 + r / 16;
		return true;
	case 8:
		job->top_p_ppm = 1000001 + r / 16;
		return true;
	case 9:
		job->top_k = 65537 + r / 16;
		return true;
	case 10:
		job->repeat_last_n = 257 + r / 16;
		return true;
	case 11:
		job->kind = BITNET_JOB_LINEAR;
		job->session_id |= 1;
		return true;
	default:
		job->max_tokens = job->kind == BITNET_JOB_GENERATE ? 0 : 1 + r / 16;
		return true;
	}
}

static struct bitnet_job fuzz_linear(struct file *f, uint32_t r, uint32_t r2, struct results *want)
{
	struct bitnet_job job = {
		.kind = BITNET_JOB_LINEAR,
		.model_id = pick_model(f, r2),
		.input = t_pointer(image[0].base),
		.input_count = 1 + r / 16 % 16,
		.layer = r / 256 % 3,
		.matrix = r / 1024 % 7,
		.data_offset = r / 8192 % 2 * 64,
	};
	struct object *o = model_of(f, job.model_id);
	uint64_t rows;

	if (!o) {
		*want = only(-ENOENT);
		return job;
	}
	/* Rows of the result by the matrix: q k v out gate up down */
	rows = (const uint64_t[]){
		shape[o->image].out_n_heads * shape[o->image].out_head_dim,
		shape[o->image].out_n_kv_heads * shape[o->image].out_head_dim,
		shape[o->image].out_n_kv_heads * shape[o->image].out_head_dim,
		shape[o->image].out_hidden, shape[o->image].out_ffn, shape[o->image].out_ffn,
		shape[o->image].out_hidden }[job.matrix];
	*want = only(job.layer >= shape[o->image].out_n_layers ||
		     job.data_offset + rows * job.input_count * 4 > f->data_bytes ? -EINVAL : 0);
	if (holds(want, 0) && r % 64 == 1) {
		job.input = t_pointer(stage + 2 * T_PAGE - 1);
		if (job.input_count > 1)
			*want = only(-EFAULT);
		else
			job.input = t_pointer(stage);
	}
	return job;
}

/*
 * A job of @f and what SUBMIT may say of it. @first: no other of this call is of its session before
 * it; @prompt: whose reference it must give, or -1.
 */
static struct bitnet_job fuzz_job(struct file *f, uint32_t r, uint32_t r2, bool linear_too,
				  bool (*first)(uint32_t session), int *prompt,
				  struct results *want)
{
	uint32_t id = pick_session(f, r2);
	struct session *s = session_of(f, id);
	bool score = r % 4 == 1, idle;
	struct bitnet_job job;
	int bad;

	*prompt = -1;
	if (linear_too && r % 8 == 2)
		return fuzz_linear(f, r / 8, r2, want);
	job = (struct bitnet_job){
		.kind = score ? BITNET_JOB_SCORE : BITNET_JOB_GENERATE,
		.flags = BITNET_JOB_F_HASH, .session_id = id,
		.max_tokens = score ? 0 : r / 8 % 32 ? 1 + r / 256 % 6 : 200,
		.job_class = r / 4096 % 4 == 1,
	};
	bad = fuzz_input(s, &job, r2 / 64, prompt);
	if (score || r / 16384 % 4 == 0) {
		*prompt = -1;
		if (!score)
			fuzz_sampler(&job, r2);
	}
	*want = only(0);
	if (r / 65536 % 16 == 0 && damage(&job, r >> 20)) {
		*want = only(-EINVAL);
	} else if (!s) {
		*want = only(-ENOENT);
	} else if (job.input_count > s->n_ctx) {
		*want = only(-ERANGE);
	} else if (bad) {
		*want = only(bad);
	} else {
		idle = !f->scribbled && first(id) && !unfinished(f, id);
		if (!idle || !s->known) {
			*want = f->scribbled || (first(id)) ? or(only(0), -ERANGE) : only(0);
			*prompt = -1;
		} else {
			*want = only(s->n_past + job.input_count > s->n_ctx ? -ERANGE : 0);
			if (s->n_past)
				*prompt = -1;
		}
		if (r / 32768 % 16 == 1 && !score) {
			job.job_class = BITNET_CLASS_REALTIME;
			job.first_token_ns = 1000000000;
			job.period_ns = 10000 + r2 % 1000000000;
			*want = or(*want, -EDQUOT);
		}
	}
	return job;
}

static uint32_t batch_sessions[65];
static unsigned int batch_n;

static bool first_in_batch(uint32_t session)
{
	unsigned int i;

	for (i = 0; i < batch_n; i++)
		if (batch_sessions[i] == session)
			return false;
	return true;
}

static void add_job(struct file *f, const struct bitnet_job *job, int prompt)
{
	if (f->n_jobs == FILE_JOBS)
		wrong("a job more than %u is accepted", FILE_JOBS);
	f->job[f->n_jobs++] = (struct job){
		.user_data = job->user_data, .ref = prompt,
		.session = job->kind == BITNET_JOB_LINEAR ? 0 : job->session_id,
	};
	f->submitted++;
}

/* Checks why job number @i was not accepted. */
static void check_refusal(struct file *f, const struct bitnet_submit *u, struct results want,
			  unsigned int before, uint32_t used)
{
	const struct bitnet_job *job = (const void *)(uintptr_t)u->jobs;
	if (u->out_error == -ENOSPC && (f->scribbled || before || used ||
					u->out_accepted + 2 > f->entries))
		return;
	if (u->out_error == -EDQUOT && u->out_refusal == BITNET_REFUSED_JOBS &&
	    (f->scribbled || before + u->out_accepted >= FILE_JOBS))
		return;
	if (!u->out_error || !holds(&want, u->out_error))
		wrong("job %u (kind %u, session %u, %u tokens) is refused with %d instead of %d",
		      u->out_accepted, job[u->out_accepted].kind, job[u->out_accepted].session_id,
		      job[u->out_accepted].input_count, u->out_error, any_of(&want));
	if ((u->out_error == -EDQUOT) != !!u->out_refusal)
		wrong("error %d, refusal %u", u->out_error, u->out_refusal);
}

static void op_submit(const struct fuzz_call *call)
{
	static struct bitnet_job jobs[65];
	struct file *f = file_of(call);
	struct bitnet_submit u = {
		.jobs = t_pointer(jobs), .job_size = sizeof(jobs[0]),
		.count = call->a % 4 ? 1 : 1 + call->a / 4 % (call->a % 8 ? 8 : 64),
	};
	struct request q = REQUEST(f, SUBMIT, u, out_error, true, true);
	uint64_t seed = (uint64_t)call->b << 32 | call->c;
	struct results want[65];
	unsigned int before, i;
	int prompt[65], err;
	uint32_t used;

	look(f);
	before = f->n_jobs;
	used = f->seen - f->head;
	batch_n = 0;
	for (i = 0; i < u.count; i++) {
		jobs[i] = fuzz_job(f, t_random(&seed), t_random(&seed), true, first_in_batch,
				   &prompt[i], &want[i]);
		jobs[i].user_data = f->next_data++;
		if (jobs[i].kind != BITNET_JOB_LINEAR)
			batch_sessions[batch_n++] = jobs[i].session_id;
		/* The last that SUBMIT looks at: only one has bad tokens. */
		if (!holds(&want[i], 0)) {
			u.count = i + 1;
			break;
		}
	}
	q.want = only(f->has_ring ? 0 : -ENXIO);
	switch (call->a >> 16 & 63) {
	case 0:
		u.count = 65 + (call->a >> 24);
		q.want = only(-E2BIG);
		break;
	case 1:
		u.flags = 1U << (call->b % 32);
		q.want = only(-EINVAL);
		break;
	case 2:
		u.job_size = call->b % 100;
		q.want = only(-EINVAL);
		break;
	case 3:
		u.jobs = t_pointer(stage + 2 * T_PAGE - 8);
		q.want = only(f->has_ring ? -EFAULT : -ENXIO);
		break;
	case 4:
		u.count = 0;
		q.want = only(-EINVAL);
		break;
	}
	err = issue(&q, call->how);
	if (err)
		return;
	if (u.out_accepted > u.count)
		wrong("%u of %u jobs accepted", u.out_accepted, u.count);
	for (i = 0; i < u.out_accepted; i++) {
		if (!holds(&want[i], 0))
			wrong("job %u is accepted", i);
		add_job(f, &jobs[i], prompt[i]);
	}
	if (u.out_accepted < u.count)
		check_refusal(f, &u, want[u.out_accepted], before, used);
	else if (u.out_error || u.out_refusal)
		wrong("all accepted, and error %d, refusal %u", u.out_error, u.out_refusal);
	look(f);
}

static void op_cancel(const struct fuzz_call *call)
{
	struct file *f = file_of(call);
	struct bitnet_cancel u = { 0 };
	struct request q = REQUEST(f, CANCEL, u, __resv, true, true);
	struct job *job = NULL;
	int err;

	look(f);
	if (f->n_jobs && call->a % 8)
		job = &f->job[call->a / 8 % f->n_jobs];
	u.user_data = job ? job->user_data : f->next_data + call->a;
	u.flags = call->b % 32 ? 0 : 1U << (call->c % 32);
	u.__resv = call->b % 32 != 1 ? 0 : call->c;
	if (u.flags || u.__resv)
		q.want = only(-EINVAL);
	else
		q.want = job ? or(only(0), -ENOENT) : only(-ENOENT);
	if (job)
		job->cancelled = true;
	err = issue(&q, call->how);
	if (err == -ENOENT && !job)
		return;
	look(f);
	if (!f->scribbled && job && (err == -ENOENT || !err) && find_job(f, u.user_data))
		wrong("%s job has no last entry", err ? "a missing" : "the cancelled");
	if (!err && u.out_cancelled > 1)
		wrong("%u jobs cancelled", u.out_cancelled);
	job = find_job(f, u.user_data);
	if (job && err && err != -ENOENT)
		job->cancelled = false;
	/* Without a ring to believe, the calls tell. */
	if (f->scribbled && job && (!err || err == -ENOENT))
		*job = f->job[--f->n_jobs];
}

/* Until no job is left. What does not end although the process consumes is lost. */
static void op_drain(const struct fuzz_call *call)
{
	struct file *f = file_of(call);
	uint32_t n;
	int err;

	if (!f->has_ring || f->scribbled || !f->writable)
		return;
	for (;;) {
		consume(f, ~0U);
		if (!f->n_jobs)
			return;
		err = t_wait(f->fd, 1, PATIENCE_NS, &n);
		report->calls++;
		look(f);
		if (err && err != -EINTR)
			wrong("WAIT for %u jobs gives %d", f->n_jobs, err);
		if (!err && !n && f->n_jobs)
			wrong("WAIT says that none of %u jobs goes on", f->n_jobs);
	}
}

/* ---- RUN ------------------------------------------------------------------------------------- */

static bool first_of_one(uint32_t session)
{
	return true;
}

static void check_run(struct file *f, const struct bitnet_job *job, int prompt,
		      const struct bitnet_ring_entry *e, uint32_t n)
{
	struct job j = { .user_data = job->user_data, .session = job->session_id, .ref = prompt };
	uint32_t i;

	if (!n)
		wrong("no entry");
	for (i = 0; i < n - 1; i++)
		check_token(f, &j, &e[i]);
	if (e[i].kind == BITNET_ENTRY_TOKEN || e[i].n_tokens != j.made ||
	    (e[i].error && !(signals && e[i].error == -EINTR)))
		wrong("the last entry is of kind %u, error %d", e[i].kind, e[i].error);
	count_end(f, job->session_id, &e[i]);
}

static void op_run(const struct fuzz_call *call)
{
	static struct bitnet_ring_entry entries[256];
	struct file *f = file_of(call);
	struct bitnet_job job;
	struct bitnet_run u = {
		.job = t_pointer(&job), .job_size = sizeof(job), .entries = t_pointer(entries),
		.n_entries = ARRAY_SIZE(entries),
	};
	struct request q = REQUEST(f, RUN, u, __resv, true, true);
	unsigned int busy;
	struct session *s;
	int prompt, err;
	bool room = true;

	look(f);
	job = fuzz_job(f, call->b, call->c, false, first_of_one, &prompt, &q.want);
	job.user_data = f->next_data++;
	s = session_of(f, job.session_id);
	busy = s ? unfinished(f, job.session_id) : 0;
	if (job.job_class == BITNET_CLASS_REALTIME)
		q.want = only(-EINVAL);
	if (!holds(&q.want, -EINVAL)) {
		uint32_t need = job.max_tokens ? job.max_tokens + 1 : job.input_count;

		if (call->a % 16 == 1)
			u.n_entries = need - 1;
		room = u.n_entries >= need;
		if (!room)
			q.want = only(-ENOSPC);
		else if (call->a % 16 == 2)
			u.entries = 0xffff800000000000;
		if (u.entries == 0xffff800000000000)
			q.want = only(-EFAULT);
		else if (call->a % 16 == 3 && holds(&q.want, 0))
			u.entries = t_pointer(stage_ro);
	}
	if (call->a % 32 == 4) {
		u.flags = 1;
		q.want = only(-EINVAL);
	} else if (call->a % 32 == 5) {
		u.job = 8;
		q.want = only(-EFAULT);
	}
	if (holds(&q.want, 0)) {
		if (u.entries == t_pointer(stage_ro))
			q.want = or(without(q.want, 0), -EFAULT);
		q.want = idle_only(f, busy, q.want);
	}
	err = issue(&q, call->how);
	if (err == -EFAULT && u.entries == t_pointer(stage_ro) && call->how % N_HOWS <= SOUND_LONGER) {
		/* It ended where its first entry could not be written; SCORE of one token has but one. */
		s->known = false;
		s->inlined = true;
		f->submitted++;
		f->ended[job.kind == BITNET_JOB_GENERATE || job.input_count > 1]++;
		f->lost |= signals;
	}
	if (err)
		return;
	/* What jobs before it left is in the ring by now. */
	look(f);
	if (busy && !f->scribbled && unfinished(f, job.session_id))
		wrong("it ran although there are jobs");
	if (busy)
		prompt = -1;
	s->inlined = true;
	f->submitted++;
	check_run(f, &job, prompt, entries, u.out_entries);
}

/* ---- counters -------------------------------------------------------------------------------- */

static uint64_t kv_bytes(const struct session *s)
{
	const unsigned int of = s->object->image;

	return shape[of].out_kv_bytes_per_token * s->n_ctx + (s->inlined ? inline_bytes[of] : 0);
}

static void check_counts(struct file *f, const struct bitnet_stats *s, unsigned int before)
{
	uint64_t pinned = 0, kv = 0;
	unsigned int i;

	for (i = 1; i <= FILE_MODELS; i++)
		if (f->model[i] && f->loaded[i])
			pinned += image[f->model[i]->image].length;
	for (i = 1; i <= FILE_SESSIONS; i++)
		kv += f->session[i].used ? kv_bytes(&f->session[i]) : 0;
	if (s->out_models != count_models(f) || s->out_sessions != count_sessions(f))
		wrong("%u models and %u sessions instead of %u and %u", s->out_models,
		      s->out_sessions, count_models(f), count_sessions(f));
	if (s->out_pinned_bytes != pinned || s->out_kv_bytes != kv)
		wrong("%llu bytes pinned and %llu of caches instead of %llu and %llu",
		      (unsigned long long)s->out_pinned_bytes, (unsigned long long)s->out_kv_bytes,
		      (unsigned long long)pinned, (unsigned long long)kv);
	if (s->out_jobs_submitted != f->submitted || s->out_jobs_submitted !=
	    s->out_jobs_done + s->out_jobs_failed + s->out_jobs_cancelled + s->out_jobs)
		wrong("%llu jobs submitted, not %llu; %llu + %llu + %llu ended, %u left",
		      (unsigned long long)s->out_jobs_submitted, (unsigned long long)f->submitted,
		      (unsigned long long)s->out_jobs_done, (unsigned long long)s->out_jobs_failed,
		      (unsigned long long)s->out_jobs_cancelled, s->out_jobs);
	look(f);
	if (!f->scribbled && (s->out_jobs > before || s->out_jobs < f->n_jobs ||
			      s->out_parked > s->out_jobs))
		wrong("%u jobs, %u parked; there were %u and are %u", s->out_jobs, s->out_parked,
		      before, f->n_jobs);
	if (!f->scribbled && !f->lost && !f->n_jobs && !before &&
	    (s->out_jobs_done != f->ended[0] || s->out_jobs_failed != f->ended[1] ||
	     s->out_jobs_cancelled != f->ended[2]))
		wrong("jobs ended otherwise than their entries say");
}

static void check_stats(struct file *f)
{
	struct bitnet_stats s = { .size = sizeof(s) };
	unsigned int before;
	int err;

	look(f);
	before = f->n_jobs;
	err = t_ioctl(f->fd, BITNET_IOC_STATS, &s);
	report->calls++;
	if (err)
		wrong("STATS gives %d", err);
	check_counts(f, &s, before);
}

static void op_stats(const struct fuzz_call *call)
{
	struct file *f = file_of(call);
	struct bitnet_stats u = { .flags = call->a % 4 < 3 ? call->a % 4 : 1U << (call->b % 32) };
	struct request q = REQUEST(f, STATS, u, out_token_ns, false, true);
	struct session *s = NULL;
	unsigned int before;

	if (u.flags == BITNET_STATS_F_SESSION || call->a % 64 == 5)
		u.session_id = pick_session(f, call->c);
	s = session_of(f, u.session_id);
	if (u.flags > BITNET_STATS_F_USER)
		q.want = only(-EINVAL);
	else if (u.flags == BITNET_STATS_F_SESSION)
		q.want = only(s ? 0 : -ENOENT);
	else
		q.want = only(u.session_id ? -EINVAL : 0);
	look(f);
	before = f->n_jobs;
	if (issue(&q, call->how))
		return;
	if (!u.flags)
		check_counts(f, &u, before);
	if (u.flags == BITNET_STATS_F_SESSION && u.out_kv_bytes != kv_bytes(s))
		wrong("%llu bytes of the session's cache instead of %llu",
		      (unsigned long long)u.out_kv_bytes, (unsigned long long)kv_bytes(s));
	if (u.flags == BITNET_STATS_F_USER && u.out_models != all_models())
		wrong("the user has %u models instead of %u", u.out_models, all_models());
}

/* ---- calls that cannot be right -------------------------------------------------------------- */

/*
 * What each ioctl looks at first: bits of a word that must be clear, another word that must be 0, an
 * id. 0: there is none. Offsets are those of words that its first version has.
 */
static const struct {
	uint16_t size, min, id, zero;
	uint32_t clear;			/* of the word behind the size, flags */
	bool writes;
} first_look[] = {
#define LOOK(nr, type, last, ...)								\
	[BITNET_IOC_##nr & 0xff] = { .size = sizeof(struct bitnet_##type),			\
		.min = offsetof(struct bitnet_##type, last) +					\
		       sizeof(((struct bitnet_##type *)0)->last), __VA_ARGS__ }
#define ZERO(type)	.zero = offsetof(struct bitnet_##type, __resv)
#define CLEAR(bits)	.clear = bits
#define ID		.id = 4
#define WRITES		.writes = true
	LOOK(INFO, info, out_variant, CLEAR(~0U), ZERO(info)),
	LOOK(MODEL_LOAD, model_load, __resv, CLEAR(~1U), ZERO(model_load), WRITES),
	LOOK(MODEL_OPEN, model_open, __resv, CLEAR(~0U), ZERO(model_open), WRITES),
	LOOK(MODEL_CLOSE, model_close, model_id, ID, WRITES),
	LOOK(MODEL_UNLOAD, model_unload, name, CLEAR(~0U), WRITES),
	LOOK(MODEL_INFO, model_info, out_name, ID),
	LOOK(SESSION_OPEN, session_open, __resv, CLEAR(~0U), ZERO(session_open), WRITES),
	LOOK(SESSION_REWIND, session_rewind, __resv, ID, ZERO(session_rewind), WRITES),
	LOOK(SESSION_CLOSE, session_close, session_id, ID, WRITES),
	LOOK(RING_SETUP, ring_setup, out_ring_bytes, CLEAR(~0U), WRITES),
	LOOK(SUBMIT, submit, out_error, CLEAR(~0U), WRITES),
	LOOK(CANCEL, cancel, __resv, CLEAR(~0U), ZERO(cancel), WRITES),
	LOOK(WAIT, wait, timeout_ns, CLEAR(~0U)),
	LOOK(STATS, stats, out_token_ns, CLEAR(~3U)),
	LOOK(RUN, run, __resv, CLEAR(~0U), ZERO(run), WRITES),
};

/* Any bits, and more often those that programs get wrong. */
static uint64_t odd_word(uint64_t *seed)
{
	uint64_t r = t_random(seed);

	switch (r % 8) {
	case 0:
		return 0;
	case 1:
		return r >> 3 & 0xff;
	case 2:
		return r >> 3 & 1 ? ~0ULL : 0xffffffff;
	case 3:
		return 1ULL << (r >> 3 & 63);
	case 4:
		return t_pointer(stage) + (r >> 3) % (3 * T_PAGE);
	case 5:
		return 0xffff800000000000 | r >> 17;
	default:
		return t_random(seed);
	}
}

static void *wild_pointer(uint64_t r)
{
	switch (r % 6) {
	case 0:
		return (void *)(r >> 8 & 0xff);
	case 1:
		return (void *)(0xffff800000000000 | r >> 17);
	case 2:
		return (void *)(~0ULL - (r >> 8 & 0xff));
	case 3:
		return (void *)(0x8000000000000000 | r >> 1);
	default:
		return stage + 2 * T_PAGE + (r >> 8) % T_PAGE;
	}
}

/* No id that a file has, nor may have. */
static uint32_t no_id(uint64_t r)
{
	if (r % 4 == 0)
		return 0;
	return r % 4 == 1 ? FILE_SESSIONS + 1 + (r >> 8 & 0xff) : (uint32_t)r | 0x100;
}

/* A struct of odd words at @at, which cannot be accepted. Return: why */
static int hostile_fields(unsigned int nr, uint8_t *at, uint64_t *seed)
{
	const uint16_t id = first_look[nr].id, zero = first_look[nr].zero;
	const uint32_t clear = first_look[nr].clear;
	uint64_t word, r = t_random(seed);
	uint32_t flags, other = 0;
	unsigned int i;

	for (i = 0; i < first_look[nr].size; i += 8) {
		word = odd_word(seed);
		memcpy(at + i, &word, 8);
	}
	if (zero && r % 4) {
		other = r % 4 == 1 ? 0 : r >> 8;
		memcpy(at + zero, &other, 4);
	} else if (zero) {
		memcpy(&other, at + zero, 4);
	}
	if (id) {
		word = no_id(r >> 32);
		memcpy(at + id, &word, 4);
		return other ? -EINVAL : -ENOENT;
	}
	memcpy(&flags, at + 4, 4);
	if (!(flags & clear) && !other)
		flags |= (clear & -clear) << (r >> 32) % 24;
	memcpy(at + 4, &flags, 4);
	return -EINVAL;
}

/* Of any size, anywhere. Return: what that gives, or 0 when it depends on the fields */
static int hostile_place(unsigned int nr, uint8_t **at, uint64_t r)
{
	const uint32_t known = first_look[nr].size;
	uint32_t size = known, i;

	switch (r % 8) {
	case 0:
		size = r >> 32;
		break;
	case 1:
		size = (r >> 32) % 700;
		break;
	case 2:
		/* Only the beginning is there, of the size or of what it promises. */
		i = 1 + (r >> 32) % (known - 1);
		memcpy(*at, &size, 4);
		*at = memmove(stage + 2 * T_PAGE - i, *at, i);
		return -EFAULT;
	case 3:
		*at = wild_pointer(r >> 3);
		return -EFAULT;
	default:
		break;
	}
	memcpy(*at, &size, 4);
	if (size < first_look[nr].min)
		return -EINVAL;
	if (size > 4096)
		return -E2BIG;
	for (i = known; i < size; i++)
		if ((*at)[i])
			return -E2BIG;
	return 0;
}

/* SUBMIT or RUN of a job with some odd words, for no session and no model. */
static void hostile_job(struct file *f, bool run, uint64_t *seed)
{
	static struct bitnet_ring_entry entries[2];
	struct bitnet_job job = {
		.kind = 1 + t_random(seed) % 3, .input = t_pointer(good_tokens), .input_count = 1,
		.max_tokens = 1,
	};
	struct bitnet_submit s = {
		.size = sizeof(s), .jobs = t_pointer(&job), .count = 1, .job_size = sizeof(job),
	};
	struct bitnet_run u = {
		.size = sizeof(u), .job = t_pointer(&job), .job_size = sizeof(job),
		.entries = t_pointer(entries), .n_entries = ARRAY_SIZE(entries),
	};
	unsigned int n = t_random(seed) % 4;
	uint64_t word;
	int err, why;

	while (n--) {
		word = odd_word(seed);
		memcpy((uint8_t *)&job + t_random(seed) % (sizeof(job) / 8) * 8, &word, 8);
	}
	job.session_id = no_id(t_random(seed));
	job.model_id = no_id(t_random(seed));
	err = t_ioctl(f->fd, run ? BITNET_IOC_RUN : BITNET_IOC_SUBMIT, run ? (void *)&u : &s);
	why = run || err ? err : s.out_error;
	report->results[(run ? BITNET_IOC_RUN : BITNET_IOC_SUBMIT) & 0xff][-err]++;
	if (!f->writable ? err != -EPERM :
	    !run && !f->has_ring ? err != -ENXIO :
	    why != -EINVAL && why != -ENOENT && why != -ERANGE && why != -EFAULT &&
	    why != -ENOSPC &&
	    !(why == -EDQUOT && !run && (f->scribbled || f->n_jobs == FILE_JOBS)))
		wrong("a job that cannot be right gives %d, %d", err, why);
}

/*
 * Many calls that change nothing: they are refused with the errno of the first thing that is wrong.
 * What they may have done all the same is seen by the calls that follow.
 */
static void op_hostile(const struct fuzz_call *call)
{
	struct file *f = file_of(call);
	uint64_t seed = (uint64_t)call->b << 32 | call->c;
	unsigned int n = 1 + call->a % 128, i;

	for (i = 0; i < n; i++) {
		uint64_t r = t_random(&seed);
		unsigned int nr = (r >> 8) % ARRAY_SIZE(first_look);
		unsigned long cmd = _IO(BITNET_IOC_TYPE, nr);
		uint8_t *at = stage + 8;
		int err, fields, want;

		report->calls++;
		report->hostile++;
		if (r % 8 == 0) {
			hostile_job(f, r >> 3 & 1, &seed);
			continue;
		}
		fields = hostile_fields(nr, at, &seed);
		want = hostile_place(nr, &at, t_random(&seed));
		if (!want)
			want = fields;
		if (first_look[nr].writes && !f->writable)
			want = -EPERM;
		if (r % 16 == 1) {
			/* Of ours, but with a direction, a size or a number that none has. */
			cmd = (r >> 16 & ~0xff00UL & ~0U) | BITNET_IOC_TYPE << 8 | 0x80;
			want = -ENOTTY;
		}
		err = t_ioctl(f->fd, cmd, at);
		if (err != want)
			wrong("number %u of %u, ioctl 0x%lx at %p, gives %d (%s) instead of %d", i,
			      n, cmd, at, err, strerror(-err), want);
		report->results[cmd & 0xff][-err]++;
	}
}

/* ---- signals --------------------------------------------------------------------------------- */

static void on_alarm(int sig)
{
}

static void op_signals(const struct fuzz_call *call)
{
	struct itimerval it = { .it_interval = { 0, 700 }, .it_value = { 0, 700 } };

	signals = !signals && call->a % 2;
	if (!signals)
		memset(&it, 0, sizeof(it));
	setitimer(ITIMER_REAL, &it, NULL);
}

/* ---- running --------------------------------------------------------------------------------- */

static const struct fuzz_op ops[] = {
	{ "close", op_close, 4, 0 },
	{ "fork", op_fork, 2, 0 },
	{ "pass", op_pass, 4, 0 },
	{ "info", op_info, 10, 0 },
	{ "unknown", op_unknown, 10, 0 },
	{ "load", op_load, 30, 3 },
	{ "model-open", op_model_open, 20, 0 },
	{ "model-close", op_model_close, 16, 0 },
	{ "unload", op_unload, 6, 0 },
	{ "model-info", op_model_info, 20, 0 },
	{ "rlimit", op_rlimit, 4, 0 },
	{ "session-open", op_session_open, 40, 4 },
	{ "rewind", op_rewind, 60, 0 },
	{ "session-close", op_session_close, 30, 0 },
	{ "ring", op_ring, 20, 2 },
	{ "mmap", op_mmap, 16, 0 },
	{ "munmap", op_munmap, 8, 0 },
	{ "consume", op_consume, 60, 0 },
	{ "scribble", op_scribble, 3, 0 },
	{ "wait", op_wait, 60, 0 },
	{ "poll", op_poll, 20, 0 },
	{ "submit", op_submit, 90, 0 },
	{ "cancel", op_cancel, 40, 0 },
	{ "drain", op_drain, 8, 0 },
	{ "run", op_run, 24, 0 },
	{ "stats", op_stats, 40, 0 },
	{ "signals", op_signals, 2, 0 },
	{ "hostile", op_hostile, 50, 0 },
};

/* Names stay until they are taken away. */
static void unname_all(void)
{
	int fd = t_open();
	unsigned int i;

	for (i = 0; i < N_NAMES; i++)
		t_model_unload(fd, names[i]);
	close(fd);
}

/* All of it in this process, from nothing to nothing. */
static void run_sequence(const struct fuzz_sequence *s, unsigned int kill_at)
{
	struct itimerval none = { { 0, 0 }, { 0, 0 } };
	unsigned int i;

	report->seed = s->seed;
	memset(files, 0, sizeof(files));
	for (i = 0; i < N_FILES; i++)
		files[i].fd = -1;
	memset(objects, 0, sizeof(objects));
	memset(stage, 0, 2 * T_PAGE);
	signals = false;
	for (i = 0; i < s->n; i++) {
		report->at = i;
		op_now = &ops[s->call[i].op];
		if (i == kill_at)
			raise(SIGKILL);
		op_now->run(&s->call[i]);
	}
	report->at = s->n;
	op_now = NULL;
	setitimer(ITIMER_REAL, &none, NULL);
	for (i = 0; i < N_FILES; i++) {
		if (files[i].fd < 0)
			continue;
		check_stats(&files[i]);
		close_file(&files[i], i % 2);
	}
	if (!as_user)
		unname_all();
}

static void become_user(void)
{
	struct rlimit limit = { .rlim_cur = MEMLOCK, .rlim_max = MEMLOCK };

	if (setrlimit(RLIMIT_MEMLOCK, &limit))
		_exit(98);
	t_drop_privileges(UID_USER, T_GID_BITNET);
	as_user = true;
}

/* Waits for a child that makes progress. Return: its status; a hang counts as SIGKILL */
static int wait_for(pid_t pid)
{
	uint64_t calls = report->calls, begun = t_now(), since = begun, now;
	int status;

	while (waitpid(pid, &status, WNOHANG) != pid) {
		now = t_now();
		if (calls != report->calls) {
			calls = report->calls;
			since = now;
		}
		if (now - since > T_HANG_NS) {
			snprintf(report->text, sizeof(report->text), "call %u hangs", report->at);
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			return FAILED << 8;
		}
		/* Often when it is short, and seldom when that would cost the only CPU's time. */
		t_sleep_ns(200000 + (now - begun) / 8);
	}
	return status;
}

/* What one child runs: one sequence that is given, or several from their seeds. */
struct batch {
	const struct fuzz_sequence *given;
	uint64_t seed;
	unsigned int n;
	unsigned int kill_at;		/* call of the last one; ~0: never */
};

static bool batch_fails(const struct batch *b)
{
	const struct sigaction alarm = { .sa_handler = on_alarm };
	static struct fuzz_sequence s;
	unsigned int i;
	int status;
	pid_t pid;

	report->text[0] = 0;
	pid = t_fork();
	if (!pid) {
		sigaction(SIGALRM, &alarm, NULL);
		if (b->given ? b->given->user : b->seed & 1)
			become_user();
		for (i = 0; i < b->n; i++) {
			if (!b->given)
				fuzz_generate(&s, b->seed + 2 * i, ops, ARRAY_SIZE(ops));
			run_sequence(b->given ? b->given : &s, i == b->n - 1 ? b->kill_at : ~0U);
		}
		_exit(0);
	}
	status = wait_for(pid);
	if (status)
		unname_all();
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && b->kill_at != ~0U)
		return false;
	if (status && !report->text[0])
		snprintf(report->text, sizeof(report->text), "call %u: the child ends with 0x%x",
			 report->at, status);
	return status;
}

static bool sequence_fails(const struct fuzz_sequence *s)
{
	const struct batch b = { .given = s, .n = 1, .kill_at = ~0U };

	return batch_fails(&b);
}

/* Prints what failed, and the shortest sequence that still does. */
static void explain(const struct batch *b)
{
	static struct fuzz_sequence s;

	diag("seed %llu: %s", (unsigned long long)report->seed, report->text);
	fuzz_generate(&s, report->seed, ops, ARRAY_SIZE(ops));
	if (!sequence_fails(&s) && !sequence_fails(&s)) {
		diag("alone it does not fail; it came after seed %llu",
		     (unsigned long long)b->seed);
		return;
	}
	fuzz_shrink(&s, sequence_fails);
	sequence_fails(&s);
	diag("shortened: %s", report->text);
	fuzz_print(&s, ops);
}

static void references(void)
{
	static struct t_result r;
	struct bitnet_job job;
	struct t_client c;
	unsigned int i, k, n;

	for (i = 0; i < N_IMAGES; i++) {
		t_client_open(&c, &image[i], 16);
		if (t_model_info(c.fd, c.model, &shape[i]))
			bail("MODEL_INFO");
		for (k = 0; k < N_PROMPTS; k++) {
			job = t_generate(c.session, prompts[k], ARRAY_SIZE(prompts[k]), N_REF, 1);
			if (t_session_rewind(c.fd, c.session, 0) || t_run(&c.ring, &job, &r) ||
			    r.n != N_REF)
				bail("a reference");
			for (n = 0; n < N_REF; n++) {
				ref[i][k][n].token = r.token[n].token;
				ref[i][k][n].hash = r.token[n].logits_hash;
			}
		}
		inline_bytes[i] = t_stats(c.fd).out_kv_bytes;
		t_session_rewind(c.fd, c.session, 0);
		if (t_inline_run(c.fd, &job, &r))
			bail("RUN");
		inline_bytes[i] = t_stats(c.fd).out_kv_bytes - inline_bytes[i];
		t_client_close(&c);
	}
}

static void images(void)
{
	struct t_shape other = t_tiny;

	other.flags = 0;
	other.activation = BITNET_ACT_RELU2;
	other.seed = 77;
	image[0] = t_image_random(&t_tiny);
	image[1] = t_image_random(&other);
	bad_magic = t_image_copy(&image[0]);
	memset(bad_magic.base, 0x55, 8);
	bad_shape = t_image_copy(&image[0]);
	((struct bitnet_image_header *)bad_shape.base)->hidden++;
	holed = t_image_copy(&image[0]);
	/* A hole that no later mapping fills. */
	if (mprotect((char *)holed.base + holed.length / T_PAGE / 2 * T_PAGE, T_PAGE, PROT_NONE))
		bail("mprotect: %s", strerror(errno));
}

/* How often each ioctl gave what: is a result missing that it can give? */
static void print_results(void)
{
	unsigned int nr, err;

	for (nr = 0; nr <= (BITNET_IOC_RUN & 0xff); nr++) {
		printf("# ioctl 0x%02x:", nr);
		for (err = 0; err < ARRAY_SIZE(report->results[0]); err++)
			if (report->results[nr][err])
				printf(" %s %u,", err ? strerrorname_np(err) : "0",
				       report->results[nr][err]);
		printf("\n");
	}
}

#define BATCH	16	/* sequences of one child */

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seed", required_argument, NULL, 's' }, { "sequences", required_argument, NULL, 'n' },
		{ "replay", required_argument, NULL, 'r' }, { 0 },
	};
	struct batch b = { .seed = 1, .n = BATCH };
	/* A call takes 18 to 38 us in uml, and three times as long where all is checked. */
	const uint64_t calls = t_size(t_is_fast() ? 10000000 : 240000,
				      t_is_fast() ? 500000000 : t_is_uml() ? 40000000 : 2000000);
	uint64_t n = 0, done_n, random, start = t_now();
	struct t_leaks before = t_leaks_start();
	static struct fuzz_sequence given;
	unsigned int leaks = 0;
	bool failed = false;
	int c;

	report = mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (report == MAP_FAILED)
		bail("mmap: %s", strerror(errno));
	stage_init();
	images();
	references();
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 's')
			b.seed = strtoull(optarg, NULL, 0);
		else if (c == 'n')
			n = strtoull(optarg, NULL, 0);
		else if (c == 'r')
			fuzz_read(&given, optarg, ops, ARRAY_SIZE(ops));
		else
			bail("usage: fuzz [--seed N] [--sequences N] [--replay FILE]");
	}
	if (given.n) {
		ok(!sequence_fails(&given), "%u calls", given.n);
		diag("%s", report->text);
		return done();
	}
	if (!n && !t_is_uml() && !t_is_release())
		skip_all("too slow for an emulated CPU; fuzz_threads runs there");
	random = b.seed;
	for (done_n = 0; !failed && !leaks; done_n += BATCH) {
		if (n ? !t_more(done_n, n, "sequences") : !t_more(report->calls, calls, "calls"))
			break;
		/* Seeds of one parity, half of a pair of batches each. */
		b.kill_at = t_random(&random) % 4 ? ~0U : t_random(&random) % FUZZ_CALLS;
		failed = batch_fails(&b);
		if (failed)
			explain(&b);
		else
			leaks += !t_leaks_none(&before);
		b.seed += b.seed % 2 == 1 ? 1 : 2 * BATCH - 1;
	}
	ok(!failed, "%llu sequences from seed on give what the model says",
	   (unsigned long long)done_n);
	is(leaks, 0, "and leave nothing, each %u", BATCH);
	print_results();
	diag("%llu calls, %llu of them hostile, %llu a second", (unsigned long long)report->calls,
	     (unsigned long long)report->hostile,
	     (unsigned long long)(report->calls * 1000000000 / (t_now() - start + 1)));
	return done();
}
