// SPDX-License-Identifier: GPL-2.0
/*
 * variants.c - every SIMD variant that loads here, with one worker and with two: the same bits
 *
 * Loads BITNET_MODULE itself, and leaves it loaded as it was found.
 */
#include "device.h"

static struct t_image demo, tiny;
static int module_fd;

static int reload(const char *params)
{
	if (syscall(SYS_delete_module, "bitnet", O_NONBLOCK) && errno != ENOENT)
		bail("rmmod: %s", strerror(errno));
	return syscall(SYS_finit_module, module_fd, params, 0) ? -errno : 0;
}

static bool parameter(const char *name, char *value, size_t size)
{
	char path[128];
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "/sys/module/bitnet/parameters/%s", name);
	fd = open(path, O_RDONLY);
	if (fd >= 0) {
		n = read(fd, value, size - 1);
		close(fd);
	}
	value[n < 0 ? 0 : n] = 0;
	value[strcspn(value, "\n")] = 0;
	return n >= 0;
}

/* Digest over logits, tokens and log-probabilities of jobs of all kinds, on two models. */
static uint64_t digest_of(const struct t_image *image, const uint32_t *prompt, uint32_t n)
{
	static struct t_result r;
	uint64_t digest = 0;
	struct bitnet_job job;
	struct t_client c;
	unsigned int i;

	t_client_open(&c, image, 64);
	for (i = 0; i < 3; i++) {
		job = i == 2 ? t_score(c.session, prompt, n, 1)
			     : t_generate(c.session, prompt, n, t_tokens(24), 1);
		if (i == 1) {
			job.temperature_ppm = 900000;
			job.top_k = 30;
			job.min_p_ppm = 20000;
			job.seed = 7;
		}
		t_session_rewind(c.fd, c.session, 0);
		if (t_run(&c.ring, &job, &r) || r.end.kind != BITNET_ENTRY_DONE)
			return 0;
		digest = digest * 31 + t_digest(&r);
	}
	t_client_close(&c);
	return digest;
}

static void check(const char *variant, const char *cpus, uint64_t want[2])
{
	const struct t_golden *g = &t_golden[2];
	char params[64], what[64];
	struct bitnet_info info;
	uint64_t got[2];
	int err, fd;

	snprintf(params, sizeof(params), "variant=%s%s%s", variant, cpus ? " cpus=" : "",
		 cpus ? cpus : "");
	snprintf(what, sizeof(what), "%s", params);
	err = reload(params);
	if (err == -ENODEV) {
		skip("%s: this CPU cannot run it", what);
		return;
	}
	if (!is(err, 0, "insmod %s", what))
		return;
	fd = t_open();
	info = t_info(fd);
	close(fd);
	is_str(info.out_variant, variant, "INFO names the variant");
	if (cpus)
		is(info.out_workers, strchr(cpus, '-') ? 2 : 1, "and counts the workers");
	got[0] = digest_of(&demo, g->ids, g->n_ids);
	got[1] = digest_of(&tiny, (const uint32_t[]){ 1, 2, 3, 4, 5, 6, 7 }, 7);
	ok(got[0] && got[1], "%s: %016llx %016llx", what, (unsigned long long)got[0],
	   (unsigned long long)got[1]);
	if (want[0])
		ok(got[0] == want[0] && got[1] == want[1], "the same as the first");
	memcpy(want, got, sizeof(got));
}

int main(void)
{
	static const char *const variants[] = { "ref", "avx2", "avxvnni", "avx512vnni",
						"avx512vbmi" };
	const char *path = getenv("BITNET_MODULE");
	char variant[32], cpus[64], policy[32], restore[160];
	uint64_t want[2] = { 0, 0 };
	unsigned int i;

	module_fd = open(path ? path : "/modules/bitnet.ko", O_RDONLY | O_CLOEXEC);
	if (module_fd < 0)
		skip_all("no module file to load");
	parameter("variant", variant, sizeof(variant));
	parameter("cpus", cpus, sizeof(cpus));
	parameter("policy", policy, sizeof(policy));
	snprintf(restore, sizeof(restore), "variant=%s cpus=%s policy=%s", variant, cpus, policy);
	demo = t_image_demo();
	tiny = t_image_random(&t_tiny);

	for (i = 0; i < ARRAY_SIZE(variants); i++) {
		check(variants[i], "0", want);
		if (sysconf(_SC_NPROCESSORS_ONLN) >= 2)
			check(variants[i], "0-1", want);
	}
	is(reload(restore), 0, "loaded as it was: %s", restore);
	if (chown(BITNET_DEVICE_PATH, 0, T_GID_BITNET) || chmod(BITNET_DEVICE_PATH, 0660))
		diag("%s: %s", BITNET_DEVICE_PATH, strerror(errno));
	return done();
}
