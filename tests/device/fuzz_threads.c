// SPDX-License-Identifier: GPL-2.0
/*
 * fuzz_threads.c - calls from several threads at once, on the same files, with memory that changes
 *
 * First, threads flip the fields of a job while it is submitted: it must be one of those that it
 * was made of, or be refused with a reason. Then all threads do anything to the same few
 * descriptors, with structs in memory that all of them write to, mostly what is soon done, and
 * often two of them at the same moment: no model can say what each call gives, but it gives an
 * errno of the header, the counters add up at the end, and nothing is left.
 */
#include <pthread.h>
#include <sys/eventfd.h>

#include "descriptors.h"
#include "genl.h"

#define THREADS		4
#define N_FDS		3
#define ARENA		(8 * T_PAGE)
#define N_REF		8
#define UID_USER	2102
#define COSTLY_SHARE	4	/* of a thread's time */
#define MEET_LOOKS	10000	/* some 100 us under emulation */

static struct t_image image;
static volatile bool stop;
static uint64_t seed_base = 1;

/* ---- a job that changes while it is read ----------------------------------------------------- */

static const uint32_t prompt[2][4] = { { 1, 2, 3, 4 }, { 9, 8, 7, 6 } };
static struct t_result ref[2];
static volatile struct bitnet_job flipped;

/* Where there is one CPU, others see what is here only when this thread lets them. */
static void linger(uint64_t r, unsigned int of_1024)
{
	if (r >> 54 < of_1024)
		sched_yield();
}

static void *flip(void *arg)
{
	uint64_t state = *(uint64_t *)arg;
	uint64_t r;

	while (!stop) {
		r = t_random(&state);
		switch (r % 8) {
		case 0:
			flipped.n_stop = r >> 8;
			linger(r, 1);
			flipped.n_stop = 0;
			break;
		case 1:
			flipped.input_count = r >> 8;
			linger(r, 1);
			flipped.input_count = 4;
			break;
		case 2:
			flipped.repeat_last_n = r >> 8;
			linger(r, 1);
			flipped.repeat_last_n = 0;
			break;
		case 3:
			flipped.session_id += 1 + r / 8 % 8;
			linger(r, 1);
			flipped.session_id = 1;
			break;
		case 4:
			flipped.kind = r >> 8;
			linger(r, 1);
			flipped.kind = BITNET_JOB_GENERATE;
			break;
		case 5:
			flipped.max_tokens = 1 + r / 8 % N_REF;
			break;
		default:
			flipped.input = t_pointer(prompt[r / 8 % 2]);
		}
		linger(r, 16);
	}
	return NULL;
}

/* Is it the beginning of what one of the prompts gives? */
static bool is_one_of(const struct t_result *r)
{
	uint32_t i, k;

	for (k = 0; k < 2; k++) {
		for (i = 0; i < r->n && i < N_REF; i++)
			if (r->token[i].token != ref[k].token[i].token ||
			    r->token[i].logits_hash != ref[k].token[i].logits_hash)
				break;
		if (i == r->n)
			return true;
	}
	return false;
}

static int submit_flipped(struct t_client *c, struct t_result *r)
{
	int err = t_submit(c->fd, (const void *)&flipped, 1, NULL);

	return err ? err : t_collect(&c->ring, r, 1, 0);
}

static void check_flipped(void)
{
	const unsigned int n = (t_is_uml() ? 1500 : 100) * t_size(1, 100);
	unsigned int i, k, accepted = 0, odd = 0, mixed = 0;
	uint64_t seeds[2] = { seed_base, seed_base + 1 };
	static struct t_result r;
	pthread_t flippers[2];
	struct bitnet_job job;
	struct t_client c;
	int err;

	t_client_open(&c, &image, 32);
	for (i = 0; i < 2; i++) {
		job = t_generate(c.session, prompt[i], 4, N_REF, 0);
		if (t_session_rewind(c.fd, c.session, 0) || t_run(&c.ring, &job, &ref[i]))
			bail("a reference");
	}
	memcpy((void *)&flipped, &job, sizeof(job));
	stop = false;
	for (i = 0; i < 2; i++)
		if (pthread_create(&flippers[i], NULL, flip, &seeds[i]))
			bail("pthread_create");
	/* Longer where the threads that flip get no CPU in between, as on one with other work. */
	for (i = 0; t_more(i, n, "jobs flipped") || (accepted == i && i < 4 * n && !t_is_release()); i++) {
		t_session_rewind(c.fd, c.session, 0);
		/* SCORE has no sampler; a job that became one may be refused, or score. */
		err = i % 2 ? submit_flipped(&c, &r) : t_inline_run(c.fd, (void *)&flipped, &r);
		if (!err && r.end.kind != BITNET_ENTRY_DONE)
			odd++;
		else if (!err)
			mixed += !is_one_of(&r);
		else if (err != -EINVAL && err != -ERANGE && err != -ENOENT && err != -ENOSPC &&
			 err != -EFAULT && !odd++)
			diag("gives %d (%s)", err, strerror(-err));
		accepted += !err;
	}
	stop = true;
	for (k = 0; k < 2; k++)
		pthread_join(flippers[k], NULL);
	if (accepted == i)
		skip("no job of %u changed while it was handed in", i);
	else
		ok(accepted > i / 20, "%u of %u jobs that change are accepted", accepted, i);
	is(odd, 0, "the others are refused with a reason");
	is(mixed, 0, "each is one of those that it was made of");
	t_client_close(&c);
}

/* ---- anything at all ------------------------------------------------------------------------- */

static volatile int fds[N_FDS];
static uint8_t *arena;

/*
 * A thread of the storm
 * @calls:	system calls that it has made
 * @succeeded:	of these, ioctls that did something
 * @met:	calls made at the same moment as another thread's, on the same object
 * @costly:	rounds with something costly
 * @rings:	mappings of its own, by descriptor
 */
static struct thread {
	pthread_t id;
	volatile uint64_t calls;
	uint64_t succeeded, met, costly;
	volatile bool ended;
	void *rings[N_FDS];
	int sockets[2];
	struct nl_sock *netlink;
	struct answer answer;
} threads[THREADS];

static __thread struct thread *me = &threads[0];
static int odd_nr, odd_err;
static volatile unsigned int odd_results;

#define NR(name)	_IOC_NR(BITNET_IOC_##name)

/* What each ioctl may give by the header, besides what all may. */
static const struct {
	size_t size;
	int errs[8];
} ioctls[] = {
	{ sizeof(struct bitnet_info), { 0 } },
	{ sizeof(struct bitnet_model_load),
	  { -ENOEXEC, -EBADMSG, -ENOMEM, -EDQUOT, -EEXIST, -EOPNOTSUPP, -EINTR } },
	{ sizeof(struct bitnet_model_open), { -ENOENT, -EDQUOT, -ENOMEM } },
	{ sizeof(struct bitnet_model_close), { -ENOENT } },
	{ sizeof(struct bitnet_model_unload), { -ENOENT } },
	{ sizeof(struct bitnet_model_info), { -ENOENT } },
	{ sizeof(struct bitnet_session_open), { -ENOENT, -EDQUOT, -ENOMEM } },
	{ sizeof(struct bitnet_session_rewind), { -ENOENT, -EBUSY, -ERANGE } },
	{ sizeof(struct bitnet_session_close), { -ENOENT, -EBUSY } },
	{ sizeof(struct bitnet_ring_setup), { -EEXIST, -ENOMEM, -EDQUOT } },
	{ sizeof(struct bitnet_submit), { -ENXIO, -ENOMEM } },
	{ sizeof(struct bitnet_cancel), { -ENOENT } },
	{ sizeof(struct bitnet_wait), { -ENXIO, -ETIME, -EINTR } },
	{ sizeof(struct bitnet_stats), { -ENOENT } },
	{ sizeof(struct bitnet_run),
	  { -ENOENT, -ERANGE, -EBUSY, -EDQUOT, -ENOSPC, -ENOMEM, -EINTR } },
};

static bool allowed(unsigned int nr, int err)
{
	unsigned int i;

	if (!err || err == -EINVAL || err == -E2BIG || err == -EFAULT || err == -EPERM ||
	    err == -EBADF)
		return true;
	for (i = 0; i < ARRAY_SIZE(ioctls[nr].errs); i++)
		if (ioctls[nr].errs[i] == err)
			return true;
	return false;
}

/* Sensible values, of which one in a few is then overwritten; by other threads, too. */
static void fill(unsigned int nr, uint8_t *at, uint64_t *state)
{
	struct bitnet_job *jobs = (void *)(arena + 4 * T_PAGE + t_random(state) % 4 * 512);
	uint64_t r = t_random(state);
	uint32_t *u = (void *)at;
	unsigned int i;

	memset(at, 0, ioctls[nr].size);
	u[0] = ioctls[nr].size;
	u[1] = nr == 3 || nr == 5 || nr == 7 || nr == 8 ? 1 + r % 6 : 0;
	if (nr == 1) {
		struct bitnet_model_load *load = (void *)at;

		load->addr = t_pointer(image.base);
		load->length = image.length;
		load->flags = r % 4 == 0;
		if (load->flags)
			strcpy(load->name, r % 8 ? "storm-a" : "storm-b");
	} else if (nr == 2 || nr == 4) {
		strcpy((char *)at + 8, r % 8 ? "storm-a" : "storm-b");
	} else if (nr == 6) {
		((struct bitnet_session_open *)at)->model_id = 1 + r % 4;
		((struct bitnet_session_open *)at)->n_ctx = 1 + r / 8 % 64;
	} else if (nr == 9) {
		((struct bitnet_ring_setup *)at)->entries = 2 << r % 6;
		((struct bitnet_ring_setup *)at)->eventfd = r % 3 ? -1 : (int)(r / 8 % 16);
		((struct bitnet_ring_setup *)at)->data_bytes = r / 256 % 3 * T_PAGE;
	} else if (nr == 10 || nr == 14) {
		for (i = 0; i < 2; i++) {
			jobs[i] = t_generate(1 + r / 16 % 6, prompt[r % 2], 4, 1 + r / 256 % 8,
					     r / 4096 % 4);
			jobs[i].kind = 1 + r / 16384 % 2;
			if (jobs[i].kind == BITNET_JOB_SCORE)
				jobs[i].max_tokens = 0;
		}
		if (nr == 10) {
			struct bitnet_submit *submit = (void *)at;

			submit->jobs = t_pointer(jobs);
			submit->count = 1 + r / 65536 % 2;
			submit->job_size = sizeof(*jobs);
		} else {
			struct bitnet_run *run = (void *)at;

			run->job = t_pointer(jobs);
			run->job_size = sizeof(*jobs);
			run->n_entries = 16;
			run->entries = t_pointer(arena + 6 * T_PAGE);
		}
	} else if (nr == 11) {
		((struct bitnet_cancel *)at)->user_data = r % 4;
	} else if (nr == 12) {
		((struct bitnet_wait *)at)->min_entries = r % 4;
		((struct bitnet_wait *)at)->timeout_ns = r / 8 % 16 ? 0 : 100000;
	} else if (nr == 13) {
		((struct bitnet_stats *)at)->flags = r % 3;
		((struct bitnet_stats *)at)->session_id = r % 3 == 1 ? 1 + r / 8 % 6 : 0;
	}
	if (r >> 32 & 3)
		return;
	r = t_random(state);
	u[r % (ioctls[nr].size / 4)] ^= 1U << (r >> 32 & 31);
}

static void one_ioctl(unsigned int nr, uint64_t *state)
{
	uint64_t r = t_random(state);
	uint8_t *at = arena + (r >> 16 & 15) * 256;
	int err;

	fill(nr, at, state);
	err = t_ioctl(fds[r >> 24 & 1 ? 0 : (r >> 25) % N_FDS], _IO(BITNET_IOC_TYPE, nr), at);
	if (!allowed(nr, err)) {
		odd_results++;
		odd_nr = nr;
		odd_err = err;
	}
	me->calls++;
	me->succeeded += !err;
}

/* A file with what most calls need */
static int file_open(void)
{
	int fd = t_open();

	t_model_load(fd, &image, 0, NULL, NULL);
	t_session_open(fd, 1, 0, NULL);
	t_session_open(fd, 1, 0, NULL);
	t_ring_setup(fd, 64, -1, 0, NULL);
	me->calls += 5;
	return fd;
}

/* The last one that knows the number closes it; calls are under way. */
static void replace(unsigned int which, uint64_t r)
{
	int fd = r % 2 ? file_open() : t_open_flags(r & 6 ? O_RDWR : O_RDONLY);

	close(__atomic_exchange_n(&fds[which], fd, __ATOMIC_SEQ_CST));
	me->calls++;
}

/* Sends a descriptor to oneself: while it is under way, the message holds the file. */
static void pass(int fd)
{
	me->calls += 2;
	if (t_send_fd(me->sockets[0], fd, MSG_DONTWAIT))
		return;
	fd = t_receive_fd(me->sockets[1], MSG_DONTWAIT);
	if (fd < 0)
		return;
	close(fd);
	me->calls++;
}

static void map(unsigned int which)
{
	void *ring = t_mmap(fds[which], T_PAGE * 2, PROT_READ | PROT_WRITE, MAP_SHARED, 0);

	me->calls++;
	if (ring == MAP_FAILED)
		return;
	if (me->rings[which]) {
		munmap(me->rings[which], T_PAGE * 2);
		me->calls++;
	}
	me->rings[which] = ring;
}

/* What else one can do to a descriptor. */
static void one_other(uint64_t *state)
{
	uint64_t r = t_random(state);
	unsigned int which = r / 16 % N_FDS;
	uint32_t *ring = me->rings[which];
	struct pollfd p = { .fd = fds[which], .events = POLLIN };
	int fd;

	switch (r % 16) {
	case 0:
		pass(fds[which]);
		break;
	case 1:
		fd = dup(fds[which]);
		poll(&p, 1, 0);
		close(fd);
		me->calls += 3;
		break;
	case 2:
	case 3:
	case 4:
	case 5:
		poll(&p, 1, 0);
		me->calls++;
		break;
	case 6:
	case 7:
		arena[(r >> 16) % ARENA] = r >> 40;
		break;
	case 8:
		if (r >> 32 & 7)
			break;
		sched_yield();
		me->calls++;
		break;
	default:
		if (ring)
			ring[r >> 20 & 7 ? 16 : r >> 32 & 2047] = r >> 23 & 1 ? ring[0] : r >> 40;
	}
}

/*
 * What takes a hundred times as long as other calls, since it loads, computes, or interrupts other
 * CPUs; and what undoes that.
 */
static void one_costly(uint64_t *state)
{
	static const int dumps[] = {
		BITNET_CMD_GET_MODELS, BITNET_CMD_GET_STATS, BITNET_CMD_GET_USERS,
		BITNET_CMD_GET_WORKERS,
	};
	uint64_t r = t_random(state);

	switch (r % 32) {
	case 0:
		replace(r / 32 % N_FDS, r >> 8);
		break;
	case 1:
		ask(me->netlink, dumps[r / 32 % ARRAY_SIZE(dumps)], NLM_F_DUMP, &me->answer);
		me->calls += 2;
		break;
	case 2:
		one_ioctl(NR(MODEL_UNLOAD), state);
		break;
	case 3 ... 5:
		one_ioctl(NR(MODEL_CLOSE), state);
		break;
	case 6 ... 11:
		one_ioctl(NR(MODEL_LOAD), state);
		break;
	case 12 ... 23:
		map(r / 32 % N_FDS);
		break;
	default:
		one_ioctl(NR(RUN), state);
	}
}

static const uint8_t likely[] = {
	NR(SESSION_OPEN), NR(SESSION_REWIND), NR(SESSION_CLOSE), NR(SUBMIT), NR(SUBMIT), NR(SUBMIT),
	NR(CANCEL), NR(WAIT), NR(WAIT), NR(STATS),
};

static bool exchange(uint64_t *at, uint64_t *old, uint64_t new)
{
	return __atomic_compare_exchange_n(at, old, new, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

/*
 * Waits a moment for another thread that comes here, too. Both then make a call from the same
 * random numbers: mostly the same one, on the same descriptor and with the same ids; by chance
 * alone two CPUs hardly ever come to the same few instructions together.
 */
static void meet(uint64_t number)
{
	static uint64_t waiting;	/* number of who waits; 0: nobody */
	uint64_t found = __atomic_load_n(&waiting, __ATOMIC_RELAXED), none = 0, state, r;
	const bool second = found;
	unsigned int i;

	if (!second) {
		if (!exchange(&waiting, &none, number))
			return;
		for (i = 0; i < MEET_LOOKS; i++)
			if (__atomic_load_n(&waiting, __ATOMIC_RELAXED) != number)
				break;
		found = number;
		if (exchange(&waiting, &found, 0))
			return;		/* nobody came */
	} else if (!exchange(&waiting, &found, 0)) {
		return;
	}
	state = second ? found : number;
	r = t_random(&state);
	if (second && r >> 32 & 1)
		r /= ARRAY_SIZE(likely);
	one_ioctl(likely[r % ARRAY_SIZE(likely)], &state);
	me->met++;
}

static unsigned int storm_calls;
static uint64_t storm_end;

/*
 * Calls that race for a lock or an object take some 20 us even where each instruction is emulated.
 * The costly ones get a part of the time instead of a part of the calls.
 */
static void *storm(void *arg)
{
	static const uint8_t others[] = {
		NR(INFO), NR(MODEL_OPEN), NR(MODEL_INFO), NR(SESSION_OPEN), NR(RING_SETUP),
	};
	uint64_t r, now, start = t_now(), costly_ns = 0, rounds, state;

	me = arg;
	state = seed_base * 1000 + (me - threads);
	for (rounds = 0; me->calls < storm_calls; rounds++) {
		r = t_random(&state);
		one_ioctl(r % 4 ? likely[r / 4 % ARRAY_SIZE(likely)] :
			  others[r / 4 % ARRAY_SIZE(others)], &state);
		if (r >> 32 & 1)
			one_other(&state);
		if (!(r >> 33 & 3))
			meet(state | 1);
		if (rounds % 64)
			continue;
		now = t_now();
		if (now > storm_end)
			break;
		if (costly_ns > (now - start) / COSTLY_SHARE)
			continue;
		one_costly(&state);
		me->costly++;
		costly_ns += t_now() - now;
	}
	me->ended = true;
	return NULL;
}

static void on_signal(int sig)
{
	(void)sig;
}

/* A time to wait that others have written over, with jobs that nobody goes on with, is endless. */
static void end_by_signals(unsigned int n)
{
	while (!threads[n].ended) {
		t_sleep_ns(200000000);
		for (unsigned int i = n; i < THREADS; i++)
			pthread_kill(threads[i].id, SIGUSR1);
	}
	pthread_join(threads[n].id, NULL);
}

/* In a child, so that its end undoes whatever is left. Steps that failed are told by number. */
static int storm_child(void *arg)
{
	struct bitnet_stats s;
	uint64_t i, sum = 0, succeeded = 0, met = 0, costly = 0;

	if (*(bool *)arg)
		t_drop_privileges(UID_USER, T_GID_BITNET);
	for (i = 0; i < N_FDS; i++)
		fds[i] = file_open();
	for (i = 0; i < THREADS; i++) {
		threads[i].netlink = sock_open();
		if (!threads[i].netlink || socketpair(AF_UNIX, SOCK_DGRAM, 0, threads[i].sockets))
			return 1;
	}
	/* Calls are not begun again after it. */
	sigaction(SIGUSR1, &(struct sigaction){ .sa_handler = on_signal }, NULL);
	family = genl_ctrl_resolve(threads[0].netlink, BITNET_GENL_NAME);
	for (i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i].id, NULL, storm, &threads[i]))
			return 1;
	for (i = 0; i < THREADS; i++) {
		end_by_signals(i);
		sum += threads[i].calls;
		succeeded += threads[i].succeeded;
		met += threads[i].met;
		costly += threads[i].costly;
	}
	t_figure(sum, (uint64_t)THREADS * storm_calls, "calls of threads");
	diag("%llu ioctls succeeded, %llu were made together, %llu rounds were costly",
	     (unsigned long long)succeeded, (unsigned long long)met, (unsigned long long)costly);
	/* Where all is closed nothing races; nor where threads take turns. */
	if (succeeded < sum / 20 || (sysconf(_SC_NPROCESSORS_ONLN) > 1 && met < sum / 10000))
		return 5;
	if (odd_results) {
		diag("ioctl %d gives %d (%s)", odd_nr, odd_err, strerror(-odd_err));
		return 2;
	}
	for (i = 0; i < N_FDS; i++) {
		s = (struct bitnet_stats){ .size = sizeof(s) };
		if (t_ioctl(fds[i], BITNET_IOC_STATS, &s))
			return 3;
		if (s.out_jobs_submitted != s.out_jobs_done + s.out_jobs_failed +
		    s.out_jobs_cancelled + s.out_jobs)
			return 4;
	}
	/* Some still have jobs: closed by the exit. */
	return 0;
}

/* Shared models stay; a bit of a name may have been flipped before it was read. */
static void unload_shared(void)
{
	static struct answer models;
	struct nl_sock *sk = sock_open();
	int fd = t_open();

	if (!sk)
		bail("genl_connect");
	family = genl_ctrl_resolve(sk, BITNET_GENL_NAME);
	if (ask(sk, BITNET_CMD_GET_MODELS, NLM_F_DUMP, &models))
		bail("GET_MODELS");
	for (unsigned int i = 0; i < models.n; i++)
		if (*models.m[i].string[BITNET_A_NAME])
			t_model_unload(fd, models.m[i].string[BITNET_A_NAME]);
	nl_socket_free(sk);
	close(fd);
}

static void check_storm(bool user)
{
	const char *bed = getenv("BITNET_BED");
	const bool is_checked = bed && !strncmp(bed, "x86-", 4);
	int status;

	/* A million on each stock kernel; where accesses are checked a call takes ten times as long. */
	storm_calls = t_is_uml() ? 2500 * t_size(1, 80) :
		      is_checked ? 12500 * t_size(1, 50) : 125000 * t_size(1, 100);
	storm_end = t_loop_ns() ? t_now() + t_loop_ns() : UINT64_MAX;
	status = t_in_child(storm_child, &user);
	is(status, 0, "up to %u calls from each of %u threads, as %s", storm_calls, THREADS,
	   user ? "user" : "root");
	unload_shared();
}

int main(int argc, char **argv)
{
	struct t_leaks before = t_leaks_start();

	if (argc > 1)
		seed_base = strtoull(argv[1], NULL, 0);
	image = t_image_random(&t_tiny);
	arena = mmap(NULL, ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (arena == MAP_FAILED)
		bail("mmap: %s", strerror(errno));
	check_flipped();
	ok(t_leaks_none(&before), "nothing is left");
	check_storm(false);
	ok(t_leaks_none(&before), "nothing is left");
	check_storm(true);
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}
