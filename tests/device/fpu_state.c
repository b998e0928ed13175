// SPDX-License-Identifier: GPL-2.0
/*
 * fpu_state.c - a program's vector registers, x87 state and rounding modes survive the module's
 * work
 *
 * Threads fill their registers with numbers of their own and look at them again and again, over
 * system calls of the device, preemption by the workers, signals and fork, while jobs run; and the
 * jobs' results do not depend on how a program has set its rounding.
 */
#include <cpuid.h>
#include <pthread.h>

#include "device.h"

#define N_REGS	16

static volatile bool stop;
static bool has_avx;
static struct t_client c;

struct regs {
	uint8_t vector[N_REGS][32] __attribute__((aligned(32)));
	uint32_t mxcsr;
	uint16_t x87;
};

/*
 * Loads all vector registers, calls an ioctl by the bare instruction, spins, and stores them all.
 * Nothing but the instructions here may touch a register in between: no call, no spill.
 */
static void hold_avx(const struct regs *in, struct regs *out, long nr, void *arg, long spin)
{
	long result = SYS_ioctl;

#define LOAD(n)		"vmovdqa " #n "*32(%[in]), %%ymm" #n "\n\t"
#define STORE(n)	"vmovdqa %%ymm" #n ", " #n "*32(%[out])\n\t"
#define ALL(op)                                                                                 \
	op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7) op(8) op(9) op(10) op(11) op(12) op(13) \
		op(14) op(15)
	asm volatile("ldmxcsr %[mx_in]\n\t"
		     "fldcw %[cw_in]\n\t" ALL(LOAD) "syscall\n\t"
						    "1: pause\n\t"
						    "dec %[spin]\n\t"
						    "jnz 1b\n\t" ALL(STORE) "stmxcsr %[mx_out]\n\t"
									    "fnstcw %[cw_out]\n\t"
									    "vzeroupper\n\t"
		     : "+a"(result), [spin] "+r"(spin), [mx_out] "=m"(out->mxcsr),
		       [cw_out] "=m"(out->x87)
		     : "D"((long)c.fd), "S"(nr), "d"(arg), [in] "r"(in->vector),
		       [out] "r"(out->vector), [mx_in] "m"(in->mxcsr), [cw_in] "m"(in->x87)
		     : "rcx", "r11", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5",
		       "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
		       "xmm15");
#undef LOAD
#undef STORE
}

/* The same for CPUs without AVX. */
static void hold_sse(const struct regs *in, struct regs *out, long nr, void *arg, long spin)
{
	long result = SYS_ioctl;

#define LOAD(n)		"movdqa " #n "*32(%[in]), %%xmm" #n "\n\t"
#define STORE(n)	"movdqa %%xmm" #n ", " #n "*32(%[out])\n\t"
	memcpy(out, in, sizeof(*out));
	asm volatile("ldmxcsr %[mx_in]\n\t"
		     "fldcw %[cw_in]\n\t" ALL(LOAD) "syscall\n\t"
						    "1: pause\n\t"
						    "dec %[spin]\n\t"
						    "jnz 1b\n\t" ALL(STORE) "stmxcsr %[mx_out]\n\t"
									    "fnstcw %[cw_out]\n\t"
		     : "+a"(result), [spin] "+r"(spin), [mx_out] "=m"(out->mxcsr),
		       [cw_out] "=m"(out->x87)
		     : "D"((long)c.fd), "S"(nr), "d"(arg), [in] "r"(in->vector),
		       [out] "r"(out->vector), [mx_in] "m"(in->mxcsr), [cw_in] "m"(in->x87)
		     : "rcx", "r11", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5",
		       "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
		       "xmm15");
#undef LOAD
#undef STORE
}

struct watch {
	uint64_t seed, checks, differences;
};

static void check_call(struct watch *w, long nr, void *arg)
{
	static const uint32_t plain = 0x1f80;
	struct regs in, out;
	unsigned int i, k;
	uint64_t r;

	for (i = 0; i < N_REGS; i++) {
		for (k = 0; k < 32; k += 8) {
			r = t_random(&w->seed);
			memcpy(&in.vector[i][k], &r, 8);
		}
	}
	/*
	 * Exceptions stay masked; any rounding, flush-to-zero, denormals-are-zero; any x87
	 * precision.
	 */
	in.mxcsr = plain | (t_random(&w->seed) & 0xe040);
	in.x87 = 0x037f ^ (t_random(&w->seed) & 0x0c00);
	if (has_avx)
		hold_avx(&in, &out, nr, arg, 200 + t_random(&w->seed) % 3000);
	else
		hold_sse(&in, &out, nr, arg, 200 + t_random(&w->seed) % 3000);
	w->checks++;
	w->differences += memcmp(in.vector, out.vector, sizeof(in.vector)) ||
			  in.mxcsr != out.mxcsr || in.x87 != out.x87;
	asm volatile("ldmxcsr %0" : : "m" (plain));
	asm volatile("fninit");
}

static void check_once(struct watch *w)
{
	struct bitnet_info info = { .size = sizeof(info) };

	check_call(w, BITNET_IOC_INFO, &info);
}

/* RUN computes in this very thread, whatever it has set: the same tokens, and nothing is lost. */
static void check_run(void)
{
	const struct t_golden *g = &t_golden[0];
	struct bitnet_ring_entry entries[5];
	struct watch w = { .seed = 4 };
	struct bitnet_job job;
	unsigned int i, right = 0, n = t_size(10, 500);

	for (i = 0; t_more(i, n, "RUN with odd registers"); i++) {
		struct bitnet_run run = {
			.size = sizeof(run), .job = t_pointer(&job), .job_size = sizeof(job),
			.n_entries = ARRAY_SIZE(entries), .entries = t_pointer(entries),
		};

		job = t_generate(c.session, g->ids, g->n_ids, 4, 1);
		memset(entries, 0, sizeof(entries));
		t_session_rewind(c.fd, c.session, 0);
		check_call(&w, BITNET_IOC_RUN, &run);
		right += entries[3].token == g->greedy[3] && entries[4].kind == BITNET_ENTRY_DONE;
	}
	is(w.differences, 0, "registers over %llu RUN", (unsigned long long)w.checks);
	is(right, i, "which give golden tokens with any rounding of the caller's");
}

static void *watch(void *arg)
{
	while (!stop)
		check_once(arg);
	return NULL;
}

static void on_signal(int sig)
{
	static struct watch w = { .seed = 99 };

	(void)sig;
	check_once(&w);
	if (w.differences)
		abort();
}

int main(void)
{
	struct t_leaks before = t_leaks_start();
	unsigned int eax, ebx, ecx = 0, edx, i, k,
			       rounds = t_size(t_is_uml() ? 8 : 4, 500);
	struct watch watches[3] = { { .seed = 1 }, { .seed = 2 }, { .seed = 3 } };
	struct t_image image = t_image_demo();
	pthread_t threads[2];
	static const uint32_t odd = 0x1f80 | 0xe040, plain = 0x1f80;
	bool golden = true;
	int status;
	pid_t pid;

	__get_cpuid(1, &eax, &ebx, &ecx, &edx);
	has_avx = (ecx & bit_AVX) && (ecx & bit_OSXSAVE);
	if (!has_avx)
		diag("no AVX: the xmm registers are looked at");
	t_client_open(&c, &image, 64);
	check_once(&watches[0]);
	is(watches[0].differences, 0, "registers over one system call");
	check_run();

	/* A client that rounds up and flushes denormals gets the same tokens. */
	asm volatile("ldmxcsr %0" : : "m" (odd));
	golden = t_golden_holds(&c, 0);
	asm volatile("ldmxcsr %0" : : "m" (plain));
	ok(golden, "golden text with the client's rounding changed");

	signal(SIGUSR1, on_signal);
	for (i = 0; i < 2; i++)
		if (pthread_create(&threads[i], NULL, watch, &watches[i]))
			bail("pthread_create");
	for (i = 0; t_more(i, rounds, "texts"); i++) {
		golden &= t_golden_holds(&c, i % T_N_GOLDEN);
		for (k = 0; k < 2; k++)
			pthread_kill(threads[k], SIGUSR1);
		check_once(&watches[2]);
		fflush(stdout);
		pid = fork();
		if (!pid) {
			for (k = 0; k < 50; k++)
				check_once(&watches[2]);
			_exit(watches[2].differences ? 1 : 0);
		}
		waitpid(pid, &status, 0);
		watches[2].differences += !!status;
	}
	stop = true;
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	ok(golden, "jobs give golden texts meanwhile");
	for (i = 0; i < 3; i++)
		is(watches[i].differences, 0, "thread %u: %llu checks", i,
		   (unsigned long long)watches[i].checks);
	ok(watches[0].checks + watches[1].checks > 100, "that is enough of them");
	t_client_close(&c);
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}
