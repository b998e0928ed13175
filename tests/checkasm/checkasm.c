// SPDX-License-Identifier: GPL-2.0
/*
 * checkasm.c - every SIMD variant against the reference, bit for bit
 *
 *   checkasm [--seed N] [--cases N] [--variant NAME] [--op NAME]     TAP
 *   checkasm --bench [--variant NAME] [--op hot|streamed|float]      tables of speeds
 *
 * Shapes are odd and inputs unpleasant; buffers end at inaccessible pages. The seed is printed, and
 * brings the same cases again when it is given; each op draws from its own sequence, so that --op
 * repeats one alone.
 *
 * checkasm-emulated (EMULATED) is the same program with AVX-512 and VNNI in portable C, see
 * emulated/immintrin.h: it checks the variants that this CPU may lack, and cannot bench.
 */
#include <getopt.h>
#include <signal.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "checkasm.h"
#include "cpu.h"
#include "size.h"
#include "tap.h"

#ifndef EMULATED
#define EMULATED	0
#endif

#define EMULATED_CPU	(BN_CPU_AVXVNNI | BN_CPU_AVX512VNNI | BN_CPU_AVX512VBMI | BN_CPU_AMX)
#define PATTERN		0xa5
#define MARGIN		256	/* bytes of pattern that are looked at */

static u64 rnd_state;

void rnd_seed(u64 seed)
{
	rnd_state = seed;
}

u64 rnd(void)
{
	u64 z = rnd_state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

u32 below(u32 n)
{
	return (rnd() >> 32) * n >> 32;
}

u32 between(u32 min, u32 max)
{
	return min + below(max - min + 1);
}

void rnd_bytes(void *p, size_t bytes)
{
	u8 *to = p;

	for (size_t i = 0; i < bytes; i++)
		to[i] = rnd();
}

static u32 rnd_special(void)
{
	static const u32 special[] = {
		/* NaNs of all kinds */
		0x7fc00000, 0xffc00000, 0x7f800001, 0xffbfffff, 0x7fc12345,
		/* infinities, zeros, denormals and what is next to them, the largest */
		0x7f800000, 0xff800000, 0, 0x80000000, 1, 0x80000001, 0x007fffff, 0x807fffff,
		0x00800000, 0x7f7fffff, 0xff7fffff,
		/* the bounds of bn_exp(), of both signs, and the ends of f16 */
		0x42b16666, 0xc2ae999a, 0x42b16667, 0xc2ae999b, 0x42ae999a, 0x42ae999b,
		0x3f800000, 0x477fe000, 0x477ff000, 0x33000000, 0x33000001,
	};

	return special[below(sizeof(special) / sizeof(*special))];
}

static u32 rnd_f32_bits(u32 kind)
{
	u32 mantissa = rnd() & 0x807fffff;

	switch (kind) {
	case 0:						/* 2^-100 and below: squares vanish */
		return mantissa | between(0, 27) << 23;
	case 1:						/* 2^60 and above: squares overflow */
		return mantissa | between(187, 254) << 23;
	case 2:						/* denormals */
		return mantissa;
	case 3:
		return rnd();
	case 4:
		if (!below(20))
			return rnd_special();
		break;
	case 5:						/* what exp() takes: up to a few hundred */
		return mantissa | between(120, 135) << 23;
	}
	return mantissa | between(118, 129) << 23;
}

void rnd_floats(float *x, u32 n)
{
	u32 kind = below(10);

	for (u32 i = 0; i < n; i++) {
		u32 bits = rnd_f32_bits(kind);

		memcpy(x + i, &bits, sizeof(bits));
	}
}

void rnd_f16s(u16 *x, u32 n)
{
	u32 kind = below(6);

	for (u32 i = 0; i < n; i++) {
		u16 any = rnd();

		if (!kind || (kind == 1 && !below(20)))
			x[i] = any;
		else
			x[i] = (any & 0x83ff) | between(8, 16) << 10;
	}
}

static struct {
	u8 *base;
	size_t bytes, at;
} buffers[BUFFERS];

static void buffers_map(void)
{
	size_t page = sysconf(_SC_PAGESIZE);

	for (u32 i = 0; i < BUFFERS; i++) {
		u8 *p = mmap(NULL, BUFFER_BYTES + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
			     -1, 0);

		if (p == MAP_FAILED || mprotect(p + page, BUFFER_BYTES, PROT_READ | PROT_WRITE))
			bail("no memory");
		buffers[i].base = p + page;
	}
}

void *buffer(unsigned int slot, size_t bytes, size_t align)
{
	size_t at = below(4) ? (BUFFER_BYTES - bytes) & ~(align - 1) : 0;
	u8 *base = buffers[slot].base;
	size_t from = at > MARGIN ? at - MARGIN : 0;
	size_t to = at + bytes + MARGIN < BUFFER_BYTES ? at + bytes + MARGIN : BUFFER_BYTES;

	if (bytes > BUFFER_BYTES)
		bail("buffer of %zu bytes", bytes);
	memset(base + from, PATTERN, to - from);
	buffers[slot].bytes = bytes;
	buffers[slot].at = at;
	return base + at;
}

bool buffer_intact(unsigned int slot)
{
	size_t at = buffers[slot].at, end = at + buffers[slot].bytes;

	for (size_t i = at > MARGIN ? at - MARGIN : 0; i < at; i++)
		if (buffers[slot].base[i] != PATTERN)
			return false;
	for (size_t i = end; i < BUFFER_BYTES && i < end + MARGIN; i++)
		if (buffers[slot].base[i] != PATTERN)
			return false;
	return true;
}

bool same_bits(const void *got, const void *want, u32 n, size_t size, char *what, size_t what_bytes)
{
	const u8 *g = got, *w = want;

	for (u32 i = 0; i < n; i++) {
		u64 a = 0, b = 0;
		size_t used = strlen(what);

		memcpy(&a, g + i * size, size);
		memcpy(&b, w + i * size, size);
		if (a == b)
			continue;
		snprintf(what + used, what_bytes - used, ": element %u of %u is %#llx, want %#llx",
			 i, n, (unsigned long long)a, (unsigned long long)b);
		return false;
	}
	return true;
}

/* What was running when a guard page was touched */
static char running[256];

static void fault(int sig)
{
	static const char text[] = "Bail out! access outside a buffer: ";

	(void)sig;
	if (write(STDOUT_FILENO, text, sizeof(text) - 1) < 0 ||
	    write(STDOUT_FILENO, running, strlen(running)) < 0 || write(STDOUT_FILENO, "\n", 1) < 0)
		_exit(2);
	_exit(1);
}

static void check_op(const struct bn_ops *ops, const struct check *check, u64 seed, u32 cases)
{
	char what[512];
	u32 i;

	for (i = 0; i < cases; i++) {
		what[0] = 0;
		rnd_seed(seed + i * 0x10001ULL);
		snprintf(running, sizeof(running), "%s %s, seed %llu, case %u", ops->name,
			 check->op, (unsigned long long)seed, i);
		if (!check->run(bn_variants[0], ops, what, sizeof(what)))
			break;
	}
	if (!ok(i == cases, "%s %s: %u cases as the reference", ops->name, check->op, cases))
		diag("seed %llu, case %u: %s", (unsigned long long)seed, i, what);
}

static void check_selftest(const struct bn_ops *ops)
{
	void *scratch = buffer(0, BN_SELFTEST_BYTES, 64);
	enum bn_err err = BN_OK;
	u32 nr = 0;

	while (err == BN_OK)
		err = bn_selftest(ops, nr++, scratch);
	ok(err == BN_END && nr > 1, "%s passes the self-test (%u cases)", ops->name, nr - 1);
}

static void check_clear(const struct bn_ops *ops)
{
	u32 before, after;
	bool zeros = clear_leaves_zeros(ops, &before, &after);

	ok(zeros, "%s clear: %u bytes of registers before, %u after",
	   ops->name, before, after);
}

/* What this program can run */
static u32 cpu_mask(void)
{
	u32 cpu = bitnet_cpu_mask();

	return EMULATED && (cpu & BN_CPU_AVX2) ? cpu | EMULATED_CPU : cpu;
}

static bool is_emulated(const struct bn_ops *ops)
{
	return ops->needs & EMULATED_CPU;
}

static void check_variant(const struct bn_ops *ops, u64 seed, u32 cases, const char *op)
{
	const struct check *lists[] = { linear_checks, float_checks, head_checks };

	for (u32 l = 0; l < 3; l++)
		for (const struct check *c = lists[l]; c->op; c++)
			if (!op || !strcmp(op, c->op))
				check_op(ops, c, seed, cases);
	if (!EMULATED && (!op || !strcmp(op, "clear")))
		check_clear(ops);
	if (!op || !strcmp(op, "selftest"))
		check_selftest(ops);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seed", required_argument, NULL, 's' },
		{ "cases", required_argument, NULL, 'c' },
		{ "variant", required_argument, NULL, 'v' },
		{ "op", required_argument, NULL, 'o' },
		{ "bench", no_argument, NULL, 'b' },
		{ NULL, 0, NULL, 0 },
	};
	const char *variant = NULL, *op = NULL;
	u64 seed = (u64)time(NULL) * 1000003 ^ (u64)getpid();
	u32 cases = t_release_size() ? 30000 : t_is_release() ? 3000 : 1000;
	u32 cpu = cpu_mask();
	bool speed = false;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 's':
			seed = strtoull(optarg, NULL, 0);
			break;
		case 'c':
			cases = strtoul(optarg, NULL, 0);
			break;
		case 'v':
			variant = optarg;
			break;
		case 'o':
			op = optarg;
			break;
		case 'b':
			speed = true;
			break;
		default:
			return 2;
		}
	}
	if (speed && EMULATED)
		bail("an emulation has no speed");
	if (speed)
		return bench(cpu, variant, op);

	buffers_map();
	signal(SIGSEGV, fault);
	signal(SIGBUS, fault);
	diag("--seed %llu", (unsigned long long)seed);
	for (u32 i = 0; bn_variants[i]; i++) {
		const struct bn_ops *ops = bn_variants[i];

		if ((variant && strcmp(variant, ops->name)) || (EMULATED && !is_emulated(ops)))
			continue;
		if (bn_variant_find(ops->name, cpu))
			check_variant(ops, seed, i ? cases : cases / 10, op);
		else
			skip("%s: not on this CPU", ops->name);
	}
	return done();
}
