// SPDX-License-Identifier: GPL-2.0
/*
 * kernel_client.c - another module computes what a process does, on the same shared model, at the
 * same time
 *
 * The client is tests/device/client: it generates when it is loaded, twice, and shows the tokens in
 * debugfs.
 */
#include "device.h"

#define NAME	"kernel-client"

static int module_fd;

static int load(const char *params)
{
	return syscall(SYS_finit_module, module_fd, params, 0) ? -errno : 0;
}

static int unload(const char *name)
{
	return syscall(SYS_delete_module, name, O_NONBLOCK) ? -errno : 0;
}

static void make_params(char *params, size_t size, const struct t_golden *g, unsigned int n)
{
	size_t len = snprintf(params, size, "model=%s n=%u tokens=", NAME, n);
	uint32_t i;

	for (i = 0; i < g->n_ids; i++)
		len += snprintf(params + len, size - len, i ? ",%u" : "%u", g->ids[i]);
}

/* The tokens that the client shows are the golden ones. */
static bool shows_golden(const struct t_golden *g)
{
	FILE *f = fopen("/sys/kernel/debug/bitnet_client/tokens", "re");
	unsigned int index, token, n = 0;
	bool same = true;
	int logprob;

	if (!f)
		return false;
	while (fscanf(f, "%u %u %d", &index, &token, &logprob) == 3) {
		same &= index == n && n < t_tokens(T_N_GREEDY) && token == g->greedy[n] &&
			logprob <= 0;
		n++;
	}
	fclose(f);
	return same && n == t_tokens(T_N_GREEDY);
}

int main(void)
{
	struct t_leaks before = t_leaks_start();
	char params[256];
	struct t_image image;
	struct t_client c;
	unsigned int i, rounds = t_is_uml() ? 3 : 1;
	uint32_t id;
	int fd, err;

	module_fd = open("/modules/bitnet_client.ko", O_RDONLY | O_CLOEXEC);
	if (module_fd < 0)
		skip_all("no client module");
	image = t_image_demo();
	fd = t_open();
	is(t_model_load(fd, &image, BITNET_MODEL_F_SHARED, NAME, &id), 0, "a shared model");
	close(fd);
	is(load("model=no-such-model"), -ENOENT, "the client finds no other");
	is(load("model=" NAME " tokens=4096"), -ERANGE, "nor a token beyond the vocabulary");

	for (i = 0; i < 2; i++) {
		make_params(params, sizeof(params), &t_golden[i], t_tokens(T_N_GREEDY));
		if (!is(load(params), 0, "insmod bitnet_client %s", params))
			break;
		ok(shows_golden(&t_golden[i]), "its text is golden");
		/* It holds the module, though it has closed its session. */
		is(unload("bitnet"), -EWOULDBLOCK, "rmmod bitnet");
		is(unload("bitnet_client"), 0, "rmmod bitnet_client");
	}

	/* Both kinds of clients at once. */
	t_client_open(&c, &image, 64);
	if (!t_fork()) {
		for (i = 0; i < rounds; i++) {
			make_params(params, sizeof(params), &t_golden[2], t_tokens(T_N_GREEDY));
			err = load(params);
			if (err || !shows_golden(&t_golden[2]))
				_exit(1);
			if (unload("bitnet_client"))
				_exit(2);
		}
		_exit(0);
	}
	err = 0;
	for (i = 0; i < 2 * rounds; i++)
		err += !t_golden_holds(&c, i % T_N_GOLDEN);
	is(err, 0, "a process gets its golden texts while the client runs");
	wait(&err);
	is(WIFEXITED(err) ? WEXITSTATUS(err) : 126, 0, "and so does the client");
	is(t_model_unload(c.fd, NAME), 0, "UNLOAD");
	t_client_close(&c);
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}
