// SPDX-License-Identifier: GPL-2.0
/*
 * fpu_state.c - a program's vector registers, x87 state and rounding modes survive the module's
 * work
 *
 * On each CPU a thread fills its registers with numbers of its own and looks at them all again and
 * again, most of the time without any call, while workers and callers of RUN preempt it to compute
 * there; and over system calls of the device, RUN, signals, fork and ptrace. The jobs' results do
 * not depend on how a program has set its rounding.
 */
#include <pthread.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#include "registers.h"

#define MAX_CPUS	8
#define PASSES		5000	/* with the same numbers, some milliseconds under emulation */

/* Checks are worth something only if others use the registers in between: no more of them count. */
#define CHECKS_A_SWITCH		20000
#define CHECKS_A_SECTION	2000

static volatile bool stop;
static struct t_client c;

/* ---- checks ---------------------------------------------------------------------------------- */

struct watch {
	uint64_t seed;
	volatile uint64_t checks, switches;
	uint64_t calls, differences;
	int cpu;
};

/* @passes times all registers are looked at, after an ioctl if @nr is not negative. */
static void check(struct watch *w, int fd, long nr, void *arg, uint64_t passes)
{
	struct regs in, out;
	uint64_t left;

	randomise(&in, &w->seed);
	out = in;
	left = hold(&in, &out, fd, nr, arg, passes);
	w->checks += passes - left;
	if (left || memcmp(&in, &out, sizeof(in))) {
		if (!w->differences++)
			tell(&in, &out);
	}
}

static void check_call(struct watch *w, int fd, long nr, void *arg)
{
	check(w, fd, nr, arg, 1 + t_random(&w->seed) % 200);
	w->calls++;
}

static void check_once(struct watch *w)
{
	struct bitnet_info info = { .size = sizeof(info) };

	check_call(w, c.fd, BITNET_IOC_INFO, &info);
}

static void stay_on(int cpu)
{
	int err = t_bind(0, cpu);

	if (err)
		bail("CPU %d: %s", cpu, strerror(-err));
}

static void *watch(void *arg)
{
	struct watch *w = arg;
	struct rusage usage;

	stay_on(w->cpu);
	while (!stop) {
		check(w, -1, -1, NULL, PASSES);
		check_once(w);
		getrusage(RUSAGE_THREAD, &usage);
		w->switches = usage.ru_nivcsw;
	}
	return NULL;
}

/* Hands in one job by RUN with odd registers. */
static void check_run(struct watch *w, int fd, const struct bitnet_job *job,
		      struct bitnet_ring_entry *entries, uint32_t n_entries)
{
	struct bitnet_run run = {
		.size = sizeof(run), .job = t_pointer(job), .job_size = sizeof(*job),
		.n_entries = n_entries, .entries = t_pointer(entries),
	};

	memset(entries, 0, n_entries * sizeof(*entries));
	check_call(w, fd, BITNET_IOC_RUN, &run);
}

/* RUN computes in this very thread, whatever it has set: the same tokens, and nothing is lost. */
static void check_golden_run(void)
{
	const struct t_golden *g = &t_golden[0];
	struct bitnet_ring_entry entries[5];
	struct watch w = { .seed = 4 };
	struct bitnet_job job;
	unsigned int i, right = 0, n = t_size(3, 500);

	for (i = 0; t_more(i, n, "RUN with odd registers"); i++) {
		job = t_generate(c.session, g->ids, g->n_ids, 4, 1);
		t_session_rewind(c.fd, c.session, 0);
		check_run(&w, c.fd, &job, entries, ARRAY_SIZE(entries));
		right += entries[3].token == g->greedy[3] && entries[4].kind == BITNET_ENTRY_DONE;
	}
	is(w.differences, 0, "registers over %llu RUN", (unsigned long long)w.calls);
	is(right, i, "which give golden tokens with any rounding of the caller's");
}

static void on_signal(int sig)
{
	static struct watch w = { .seed = 99 };

	(void)sig;
	check_once(&w);
	if (w.differences)
		abort();
}

/* ---- short jobs on all CPUs ------------------------------------------------------------------ */

/*
 * After each pause somebody computes, preempting who is on that CPU: a worker, or in RUN this
 * thread, whose own registers are looked at then.
 */
struct short_jobs {
	struct t_client client;
	bool in_run;
	int cpu;
	uint64_t jobs, wrong;
	struct watch watch;
	pthread_t thread;
};

/* The token's logits, or 0 */
static uint64_t short_job(struct short_jobs *s)
{
	static const uint32_t prompt = 1;
	struct bitnet_job job = t_generate(s->client.session, &prompt, 1, 1, 1);
	struct bitnet_ring_entry entries[2];
	unsigned int i;

	if (t_session_rewind(s->client.fd, s->client.session, 0))
		return 0;
	if (s->in_run) {
		check_run(&s->watch, s->client.fd, &job, entries, ARRAY_SIZE(entries));
	} else {
		if (t_random(&s->watch.seed) % 2) {
			job.job_class = BITNET_CLASS_REALTIME;
			job.first_token_ns = job.period_ns = T_HANG_NS / 2;
		}
		if (t_submit(s->client.fd, &job, 1, NULL))
			return 0;
		for (i = 0; i < ARRAY_SIZE(entries); i++)
			if (t_ring_wait(&s->client.ring, &entries[i]))
				return 0;
	}
	return entries[1].kind == BITNET_ENTRY_DONE ? entries[0].logits_hash : 0;
}

static void *make_short_jobs(void *arg)
{
	struct short_jobs *s = arg;
	uint64_t first, hash;

	stay_on(s->cpu);
	first = short_job(s);
	while (!stop) {
		t_sleep_ns(t_random(&s->watch.seed) % 500000);
		hash = short_job(s);
		s->jobs++;
		s->wrong += !hash || hash != first;
	}
	return NULL;
}

/* ---- ptrace ---------------------------------------------------------------------------------- */

#define REGSET_XSTATE	0x202
#define XSTATE_BYTES	16384

/* Are the registers of a process that has stopped those that it holds? 14 and 15 may be in use. */
static bool regset_is(const uint8_t *xstate, const struct regs *held)
{
	unsigned int eax, high = 0, ecx, edx, i;
	uint32_t mxcsr;
	bool same;

	memcpy(&mxcsr, xstate + 24, 4);
	same = mxcsr == held->mxcsr && !memcmp(xstate, &held->x87, 2);
	if (hold != hold_sse)
		__get_cpuid_count(0xd, 2, &eax, &high, &ecx, &edx);
	for (i = 0; i < 8; i++)
		same &= !memcmp(xstate + 32 + i * 16, &held->mmx[i], 8);
	for (i = 0; i < 14; i++) {
		same &= !memcmp(xstate + 160 + i * 16, held->vector[i], 16);
		same &= !high || !memcmp(xstate + high + i * 16, held->vector[i] + 16, 16);
	}
	return same;
}

/* Stops @pid at any moment, looks at its registers, puts others there, and those back. */
static int look_from_outside(pid_t pid, const struct regs *held)
{
	static uint8_t saved[XSTATE_BYTES], other[XSTATE_BYTES], seen[XSTATE_BYTES];
	struct iovec iov = { saved, sizeof(saved) };
	size_t bytes;
	int status;
	bool same;

	if (ptrace(PTRACE_INTERRUPT, pid, 0, 0) || waitpid(pid, &status, 0) != pid)
		return -errno;
	if (!WIFSTOPPED(status))
		return -ESRCH;
	if (ptrace(PTRACE_GETREGSET, pid, REGSET_XSTATE, &iov))
		return -errno;
	bytes = iov.iov_len;
	same = regset_is(saved, held);
	memcpy(other, saved, bytes);
	for (unsigned int i = 160; i < 160 + 16 * 16; i++)
		other[i] ^= 0x5a;
	iov = (struct iovec){ other, bytes };
	if (ptrace(PTRACE_SETREGSET, pid, REGSET_XSTATE, &iov))
		return -errno;
	sched_yield();
	iov = (struct iovec){ seen, sizeof(seen) };
	if (ptrace(PTRACE_GETREGSET, pid, REGSET_XSTATE, &iov))
		return -errno;
	same &= !memcmp(seen + 160, other + 160, 16 * 16);
	iov = (struct iovec){ saved, bytes };
	if (ptrace(PTRACE_SETREGSET, pid, REGSET_XSTATE, &iov) || ptrace(PTRACE_CONT, pid, 0, 0))
		return -errno;
	return same;
}

static void check_ptrace(int cpu)
{
	struct regs *held = mmap(NULL, 2 * sizeof(*held), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned int i, n = t_size(100, 5000), same = 0;
	uint64_t seed = 77, give_up = t_now() + T_HANG_NS;
	int status, err = 1;
	pid_t pid;

	if (held == MAP_FAILED)
		bail("mmap: %s", strerror(errno));
	randomise(held, &seed);
	pid = t_fork();
	if (!pid) {
		stay_on(cpu);
		/* For ever, unless there is a difference */
		hold(&held[0], &held[1], 0, -1, NULL, UINT64_MAX);
		_exit(1);
	}
	if (ptrace(PTRACE_SEIZE, pid, 0, 0))
		bail("PTRACE_SEIZE: %s", strerror(errno));
	/* Each pass puts these here; the first when all are loaded. */
	while (memcmp(held[1].vector[15], held[0].vector[15], 16) && t_now() < give_up)
		t_sleep_ns(1000000);
	for (i = 0; t_more(i, n, "stops by ptrace") && err >= 0; i++) {
		err = look_from_outside(pid, held);
		same += err == 1;
		t_sleep_ns(t_random(&seed) % 4000000);
	}
	if (err == -EIO && t_is_uml())
		skip("no regset of the vector registers: %s", strerror(-err));
	else
		is(same, i, "registers of another process, stopped %u times, are there", i);
	kill(pid, SIGKILL);
	ok(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
	   "and that process found them so");
	munmap(held, 2 * sizeof(*held));
}

/* ---------------------------------------------------------------------------------------------- */

/* Sections so far, of workers and callers. */
static uint64_t sections(void)
{
	FILE *f = fopen("/sys/kernel/debug/bitnet/sections", "re");
	unsigned long long from, count;
	uint64_t sum = 0;
	char line[256];

	if (!f)
		bail("debugfs: %s", strerror(errno));
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%llu %llu", &from, &count) == 2)
			sum += count;
	fclose(f);
	return sum;
}

/* The threads are interrupted by signals, and this process is copied: its child has more checks. */
static void signal_and_fork(struct watch *w, const pthread_t *threads, int n)
{
	int i, status;
	pid_t pid;

	for (i = 0; i < n; i++)
		pthread_kill(threads[i], SIGUSR1);
	check_once(w);
	pid = t_fork();
	if (!pid) {
		for (i = 0; i < 50; i++)
			check_once(w);
		_exit(w->differences ? 1 : 0);
	}
	waitpid(pid, &status, 0);
	w->differences += !!status;
}

/* How many checks count. */
static uint64_t checks_of(const struct watch *watches, int n)
{
	uint64_t sum = 0, most;

	while (n--) {
		most = watches[n].switches * CHECKS_A_SWITCH;
		sum += watches[n].checks < most ? watches[n].checks : most;
	}
	return sum;
}

int main(void)
{
	struct t_leaks before = t_leaks_start();
	uint64_t n = t_size(10 * 1000 * 1000, 350 * 1000 * 1000), checks, n_sections;
	struct watch watches[MAX_CPUS] = { 0 }, once = { .seed = 1 };
	struct t_image image = t_image_demo(), tiny = t_image_random(&t_tiny);
	static const uint32_t odd = 0x1f80 | 0xe040, plain = 0x1f80;
	struct short_jobs short_jobs[2] = {
		{ .watch.seed = 5 }, { .watch.seed = 6, .in_run = true },
	};
	unsigned int text, texts = t_size(t_is_uml() ? 8 : 1, 500), rounds = 0;
	int i, n_cpus = 0, cpus[MAX_CPUS];
	pthread_t threads[MAX_CPUS];
	bool golden;
	cpu_set_t set;

	diag("%s are looked at", choose_hold());
	t_client_open(&c, &image, 64);
	check_once(&once);
	is(once.differences, 0, "registers over one system call");
	check_golden_run();

	/* A client that rounds up and flushes denormals gets the same tokens. */
	asm volatile("ldmxcsr %0" : : "m" (odd));
	golden = t_golden_holds(&c, 0);
	asm volatile("ldmxcsr %0" : : "m" (plain));
	ok(golden, "golden text with the client's rounding changed");

	signal(SIGUSR1, on_signal);
	sched_getaffinity(0, sizeof(set), &set);
	for (i = 0; i < CPU_SETSIZE && n_cpus < MAX_CPUS; i++)
		if (CPU_ISSET(i, &set))
			cpus[n_cpus++] = i;
	/* The last has a worker, the first none; RUN computes where its caller is. */
	for (i = 0; i < 2; i++) {
		t_client_open(&short_jobs[i].client, &tiny, 64);
		short_jobs[i].cpu = cpus[0];
		if (pthread_create(&short_jobs[i].thread, NULL, make_short_jobs, &short_jobs[i]))
			bail("pthread_create");
	}
	n_sections = sections();
	for (i = 0; i < n_cpus; i++) {
		watches[i] = (struct watch){ .seed = 10 + i, .cpu = cpus[i] };
		if (pthread_create(&threads[i], NULL, watch, &watches[i]))
			bail("pthread_create");
	}
	for (text = 0; t_more(text, texts, "texts"); text++)
		golden &= t_golden_holds(&c, text % T_N_GOLDEN);
	ok(golden, "jobs give golden texts meanwhile");
	check_ptrace(cpus[n_cpus - 1]);
	for (checks = 0; t_more(checks, n, "checks"); checks = checks_of(watches, n_cpus)) {
		signal_and_fork(&once, threads, n_cpus);
		rounds++;
		t_sleep_ns(50000000);
	}
	stop = true;
	for (i = 0; i < n_cpus; i++)
		pthread_join(threads[i], NULL);
	checks = checks_of(watches, n_cpus);
	n_sections = sections() - n_sections;
	is(once.differences, 0, "registers of who forks, and of %u children", rounds);
	for (i = 0; i < 2; i++) {
		pthread_join(short_jobs[i].thread, NULL);
		is(short_jobs[i].wrong, 0, "%llu short jobs %s, all alike",
		   (unsigned long long)short_jobs[i].jobs, i ? "in RUN" : "of workers");
		if (short_jobs[i].in_run)
			is(short_jobs[i].watch.differences, 0, "registers over these");
		t_client_close(&short_jobs[i].client);
	}
	for (i = 0; i < n_cpus; i++)
		is(watches[i].differences, 0,
		   "CPU %d: %llu checks, preempted %llu times, %llu after a call", cpus[i],
		   (unsigned long long)watches[i].checks, (unsigned long long)watches[i].switches,
		   (unsigned long long)watches[i].calls);
	ok(n_sections > checks / CHECKS_A_SECTION, "%llu sections meanwhile",
	   (unsigned long long)n_sections);
	t_client_close(&c);
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}
