// SPDX-License-Identifier: GPL-2.0
/* bench_machine.c - this machine, and how fast it can read and multiply at best; see bench.h */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <emmintrin.h>

#include "bench.h"
#include "image.h"
#include "model.h"

#define CACHE_GUESS	(32ULL << 20)	/* where nothing says how large the caches are */
#define CHUNK_BYTES	(4U << 20)	/* of memory, that a thread takes at a time */
#define HOT_CHUNK_BYTES	(64U << 10)	/* of caches: about a tile of the engine */
#define HOT_READS	32
#define MOST_STREAMS	4
#define PREFETCH_BYTES	2048
#define PEAK_LOOPS	2000000
#define PEAK_REGS	12
#define TRIES		6	/* twice each way to read; more while they take less than ... */
#define TRY_SECONDS	0.03
#define MOST_TRIES	24

/* ---- numbers --------------------------------------------------------------------------------- */

void series_add(struct series *s, double v)
{
	unsigned int room = s->room ? 2 * s->room : 16;
	double *more;

	if (s->n == s->room) {
		more = realloc(s->v, room * sizeof(*more));
		if (!more)
			return;
		s->v = more;
		s->room = room;
	}
	s->v[s->n++] = v;
}

void series_free(struct series *s)
{
	free(s->v);
	memset(s, 0, sizeof(*s));
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double series_median(const struct series *s)
{
	double *sorted, median = 0;

	if (!s->n)
		return 0;
	sorted = malloc(s->n * sizeof(*sorted));
	if (!sorted)
		return s->v[0];
	memcpy(sorted, s->v, s->n * sizeof(*sorted));
	qsort(sorted, s->n, sizeof(*sorted), by_value);
	median = s->n % 2 ? sorted[s->n / 2] : (sorted[s->n / 2 - 1] + sorted[s->n / 2]) / 2;
	free(sorted);
	return median;
}

double series_least(const struct series *s)
{
	double least = s->n ? s->v[0] : 0;

	for (unsigned int i = 1; i < s->n; i++)
		least = s->v[i] < least ? s->v[i] : least;
	return least;
}

double series_most(const struct series *s)
{
	double most = s->n ? s->v[0] : 0;

	for (unsigned int i = 1; i < s->n; i++)
		most = s->v[i] > most ? s->v[i] : most;
	return most;
}

/* ---- the machine ----------------------------------------------------------------------------- */

/* The rest of the line of /proc's file @path that begins with @key, without blanks and colon. */
static bool read_line(const char *path, const char *key, char *value, size_t size)
{
	FILE *f = fopen(path, "re");
	char line[512];
	bool found = false;
	char *at;

	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f)) {
		if (strncmp(line, key, strlen(key)))
			continue;
		at = line + strlen(key);
		at += strspn(at, " \t:");
		at[strcspn(at, "\n")] = '\0';
		snprintf(value, size, "%s", at);
		found = true;
	}
	fclose(f);
	return found;
}

static uint64_t last_level_cache(void)
{
	unsigned long long kib, most = 0;
	char path[96], text[32];
	long bytes;

	for (unsigned int i = 0; i < 8; i++) {
		snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu0/cache/index%u/size", i);
		if (read_line(path, "", text, sizeof(text)) && sscanf(text, "%lluK", &kib) == 1 &&
		    kib << 10 > most)
			most = kib << 10;
	}
	if (most)
		return most;
	bytes = sysconf(_SC_LEVEL3_CACHE_SIZE);
	return bytes > 0 ? (uint64_t)bytes : CACHE_GUESS;
}

void bench_machine_look(struct bench_machine *m)
{
	struct utsname u;
	char text[64];

	memset(m, 0, sizeof(*m));
	if (!read_line("/proc/cpuinfo", "model name", m->cpu, sizeof(m->cpu)))
		snprintf(m->cpu, sizeof(m->cpu), "unknown");
	snprintf(m->kernel, sizeof(m->kernel), "%s", uname(&u) ? "?" : u.release);
	m->cpus = sysconf(_SC_NPROCESSORS_ONLN);
	m->cache_bytes = last_level_cache();
	if (read_line("/proc/loadavg", "", text, sizeof(text)))
		m->load = strtod(text, NULL);
}

uint64_t bench_memory_available(void)
{
	char text[64];

	if (!read_line("/proc/meminfo", "MemAvailable", text, sizeof(text)))
		return UINT64_MAX;
	return strtoull(text, NULL, 10) << 10;
}

bool bench_module_is_dense(void)
{
	char text[8];

	return read_line("/sys/module/bitnet/parameters/sparse", "", text, sizeof(text)) &&
	       (text[0] == 'N' || text[0] == '0');
}

static double seconds_of(const struct timeval *t)
{
	return t->tv_sec + t->tv_usec / 1e6;
}

bool bench_cpu_time(struct bench_cpu_time *t)
{
	/* user, nice, system, idle, iowait, irq, softirq, steal */
	unsigned long long n[8] = { 0 };
	static const int who[] = { RUSAGE_SELF, RUSAGE_CHILDREN };
	double tick = sysconf(_SC_CLK_TCK);
	struct rusage usage;
	char text[256];

	memset(t, 0, sizeof(*t));
	if (!read_line("/proc/stat", "cpu ", text, sizeof(text)) ||
	    sscanf(text, "%llu %llu %llu %llu %llu %llu %llu %llu", &n[0], &n[1], &n[2], &n[3],
		   &n[4], &n[5], &n[6], &n[7]) < 7)
		return false;
	for (unsigned int i = 0; i < 8; i++)
		t->total += n[i] / tick;
	t->stolen = n[7] / tick;
	t->busy = t->total - t->stolen - (n[3] + n[4]) / tick;
	for (unsigned int i = 0; i < 2; i++)
		if (!getrusage(who[i], &usage))
			t->own += seconds_of(&usage.ru_utime) + seconds_of(&usage.ru_stime);
	return true;
}

/* ---- threads that measure together ----------------------------------------------------------- */

/* @go: atomic; negative: there are not enough of us */
struct team {
	int go;
	void (*work)(void *arg, unsigned int thread);
	void *arg;
};

struct member {
	struct team *team;
	pthread_t thread;
	unsigned int number;
	double begin, end;
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void *member_run(void *arg)
{
	struct member *m = arg;
	int go;

	while (!(go = __atomic_load_n(&m->team->go, __ATOMIC_ACQUIRE)))
		sched_yield();
	if (go < 0)
		return NULL;
	m->begin = now();
	m->team->work(m->team->arg, m->number);
	m->end = now();
	return NULL;
}

double bench_team(unsigned int threads, void (*work)(void *arg, unsigned int thread), void *arg)
{
	struct team team = { .work = work, .arg = arg };
	struct member *members = calloc(threads, sizeof(*members));
	double begin, end;
	unsigned int n = 1;
	int go;

	if (!members)
		return -1;
	members[0].team = &team;
	for (; n < threads; n++) {
		members[n] = (struct member){ .team = &team, .number = n };
		if (pthread_create(&members[n].thread, NULL, member_run, &members[n]))
			break;
	}
	go = n == threads ? 1 : -1;
	__atomic_store_n(&team.go, go, __ATOMIC_RELEASE);
	member_run(&members[0]);
	begin = members[0].begin;
	end = members[0].end;
	while (--n) {
		pthread_join(members[n].thread, NULL);
		begin = members[n].begin < begin ? members[n].begin : begin;
		end = members[n].end > end ? members[n].end : end;
	}
	free(members);
	return go > 0 ? end - begin : -1;
}

/* ---- reading --------------------------------------------------------------------------------- */

/*
 * Ways to read. Which one is the fastest depends on the CPU: Sapphire Rapids likes four streams and
 * to be told, Zen 4 reads a quarter more of one stream, or four, if it is not told.
 */
enum way { ONE_STREAM, FOUR_STREAMS, PREFETCHED, WAYS };

/* One of read_chunk_N(), which read a chunk one way */
typedef uint64_t (*read_fn)(const uint8_t *p, uint32_t bytes, enum way way);

struct reading {
	read_fn read;
	const uint8_t *base;
	uint64_t bytes;
	uint32_t chunk;
	unsigned int times;
	enum way way;
	uint64_t next;		/* atomic: chunk to take, counted over all times */
	uint64_t sum;		/* so that what is read is used */
};

/*
 * read_chunk_N() reads by vectors of N bytes, a line of each stream in turns. The larger the
 * vectors, the more lines a CPU sees ahead. They are limits also for a tool that was compiled with
 * sanitizers.
 */
#define READ_CHUNK(size, isa)								\
__attribute__((target(isa), no_sanitize("address", "undefined")))			\
static uint64_t read_chunk_##size(const uint8_t *p, uint32_t bytes, enum way way)	\
{											\
	typedef uint64_t vector __attribute__((vector_size(size)));			\
	const unsigned int streams = way == ONE_STREAM ? 1 : MOST_STREAMS;		\
	uint32_t part = bytes / streams;						\
	vector sum[2] = { { 0 }, { 0 } };						\
											\
	for (uint32_t i = 0; i < part; i += 64) {					\
		for (unsigned int s = 0; s < streams; s++) {				\
			const uint8_t *at = p + s * part + i;				\
											\
			if (way == PREFETCHED)						\
				_mm_prefetch((const char *)at + PREFETCH_BYTES, _MM_HINT_T0); \
			for (unsigned int v = 0; v < 64 / size; v++)			\
				sum[v % 2] |= ((const vector *)at)[v];			\
		}									\
	}										\
	sum[0] |= sum[1];								\
	return sum[0][0] | sum[0][1];							\
}

READ_CHUNK(16, "sse2")
READ_CHUNK(32, "avx2")
READ_CHUNK(64, "avx512f")

static void read_some(void *arg, unsigned int thread)
{
	struct reading *r = arg;
	uint64_t n = r->bytes / r->chunk, sum = 0, i;

	while ((i = __atomic_fetch_add(&r->next, 1, __ATOMIC_RELAXED)) < n * r->times)
		sum |= r->read(r->base + i % n * r->chunk, r->chunk, r->way);
	__atomic_fetch_or(&r->sum, sum, __ATOMIC_RELAXED);
}

/* What to read, how often, and with how many threads */
struct read_case {
	read_fn read;
	const void *base;
	uint64_t bytes;
	uint32_t chunk;
	unsigned int times, threads;
};

/* GB/s; negative: no threads */
static double read_once(const void *arg, unsigned int try)
{
	const struct read_case *c = arg;
	struct reading r = { .read = c->read, .base = c->base, .bytes = c->bytes,
			     .chunk = c->chunk, .times = c->times, .way = try % WAYS };
	double seconds = bench_team(c->threads, read_some, &r);

	return (double)(c->bytes / c->chunk * c->chunk) * c->times / seconds / 1e9;
}

/* The best of a few tries, and of more where they are short. Some let @try say how. */
static double best_of(double (*once)(const void *arg, unsigned int try), const void *arg)
{
	double best = -1, begin = now(), speed;

	for (unsigned int i = 0; i < MOST_TRIES; i++) {
		if (i >= TRIES && now() - begin >= TRY_SECONDS)
			break;
		speed = once(arg, i);
		best = speed > best ? speed : best;
	}
	return best;
}

/* ---- multiplying ----------------------------------------------------------------------------- */

/* PEAK_REGS independent sums, of register 12 with itself. In asm: no compiler sees through it. */
#define PEAK(name, op, after)									\
static void name(uint64_t n)									\
{												\
	asm volatile("1:\n\t"									\
		     ".irp r, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11\n\t"			\
		     op "\n\t"									\
		     ".endr\n\t"								\
		     "dec %0\n\t"								\
		     "jnz 1b\n\t"								\
		     after : "+r" (n) : : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4",		\
		     "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13"); \
}

PEAK(peak_sse2, "movdqa %%xmm12, %%xmm13\n\tpmaddwd %%xmm12, %%xmm13\n\t"
     "paddd %%xmm13, %%xmm\\r", "")
PEAK(peak_avx2, "vpmaddubsw %%ymm12, %%ymm12, %%ymm13\n\tvpaddw %%ymm13, %%ymm\\r, %%ymm\\r",
     "vzeroupper")
PEAK(peak_vnni_256, "%{vex%} vpdpbusd %%ymm12, %%ymm12, %%ymm\\r", "vzeroupper")
PEAK(peak_vnni_512, "vpdpbusd %%zmm12, %%zmm12, %%zmm\\r", "vzeroupper")

/* How fast a CPU multiplies and reads at best, by what a variant needs; the last that fits */
static const struct best {
	uint32_t needs;
	unsigned int macs;	/* of one instruction */
	const char *name;
	void (*multiply)(uint64_t n);
	read_fn read;
} bests[] = {
	{ 0, 8, "pmaddwd + paddd", peak_sse2, read_chunk_16 },
	{ BN_CPU_AVX2, 32, "vpmaddubsw + vpaddw", peak_avx2, read_chunk_32 },
	{ BN_CPU_AVXVNNI, 32, "vpdpbusd, 256 bits", peak_vnni_256, read_chunk_32 },
	{ BN_CPU_AVX512VNNI, 64, "vpdpbusd, 512 bits", peak_vnni_512, read_chunk_64 },
};

static const struct best *best_for(const struct bn_ops *ops)
{
	const struct best *found = &bests[0];

	for (unsigned int i = 1; i < sizeof(bests) / sizeof(bests[0]); i++)
		if (ops->needs & bests[i].needs)
			found = &bests[i];
	return found;
}

const char *bench_peak_name(const struct bn_ops *ops)
{
	return best_for(ops)->name;
}

static void multiply(void *arg, unsigned int thread)
{
	((const struct best *)arg)->multiply(PEAK_LOOPS);
}

struct peak_case {
	const struct best *peak;
	unsigned int threads;
};

/* GMAC/s; negative: no threads */
static double peak_once(const void *arg, unsigned int try)
{
	const struct peak_case *c = arg;
	double seconds = bench_team(c->threads, multiply, (void *)c->peak);

	return (double)c->peak->macs * PEAK_REGS * PEAK_LOOPS * c->threads / seconds / 1e9;
}

/* ---- all limits ------------------------------------------------------------------------------ */

/* Random weights: valid codes of 2 bits, and any byte is some weights of 1.6. Touches all pages. */
static void fill(struct bitnet_image *buffer)
{
	uint64_t *words = buffer->base, state = 1, w;

	for (uint64_t i = 0; i < buffer->length / sizeof(*words); i++) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		w = state;
		words[i] = w & ~(w >> 1 & w & 0x5555555555555555ULL);	/* code 3 becomes 2 */
	}
}

int bench_limits_open(struct bench_limits *l, uint64_t bytes, struct bitnet_error *err)
{
	int ret = bitnet_image_alloc(&l->buffer, bytes, err);

	if (ret)
		return ret;
	fill(&l->buffer);
	l->huge_bytes = model_huge_bytes(&l->buffer);
	return 0;
}

int bench_limits_measure(struct bench_limits *l, struct bench_now *n, struct bitnet_error *err)
{
	struct read_case read = { .read = best_for(l->ops)->read, .base = l->buffer.base, .bytes = l->buffer.length,
				  .chunk = CHUNK_BYTES, .times = 1, .threads = 1 };
	struct peak_case peak = { .peak = best_for(l->ops), .threads = 1 };

	series_add(&l->read_one, best_of(read_once, &read));
	series_add(&l->peak_one, best_of(peak_once, &peak));
	read.threads = peak.threads = l->threads;
	n->stream = n->read = best_of(read_once, &read);
	n->peak = best_of(peak_once, &peak);
	series_add(&l->read_all, n->stream);
	series_add(&l->peak_all, n->peak);
	if (l->hot_bytes) {
		read.bytes = l->hot_bytes;
		read.chunk = HOT_CHUNK_BYTES;
		read.times = HOT_READS;
		n->read = best_of(read_once, &read);
		series_add(&l->read_hot, n->read);
	}
	if (n->stream <= 0 || n->read <= 0 || n->peak <= 0)
		return bitnet_error_set(err, EAGAIN, "cannot start %u threads", l->threads);
	return 0;
}

void bench_limits_close(struct bench_limits *l)
{
	bitnet_image_free(&l->buffer);
	series_free(&l->read_one);
	series_free(&l->read_all);
	series_free(&l->read_hot);
	series_free(&l->peak_one);
	series_free(&l->peak_all);
}
