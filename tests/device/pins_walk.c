// SPDX-License-Identifier: GPL-2.0
/*
 * pins_walk.c - a random walk of processes that pin, pass on, forget and end, against a model of what
 * each user may lock
 *
 * Processes of two users share descriptors, and each loads images from its own memory through any
 * of them; they unmap what they have loaded, lock memory of their own, change the user, exec, and
 * are killed and born again. The model knows who is charged for which pages until when:
 * RLIMIT_MEMLOCK decides by the page, VmPin says so at each step, and at the end nothing is left.
 *
 *	pins_walk [SEED]
 */
#include <sys/socket.h>

#include "device.h"

#define N_FILES		3
#define N_PROCS		4
#define FILE_MODELS	16
#define LIMIT_IMAGES	5	/* of one user, and one page */

static const uid_t uids[2] = { 2201, 2202 };
static struct t_image image;

enum command { LOAD, CLOSE_MODEL, UNMAP, LOCK, UNLOCK, CHANGE_USER, EXEC, VM_PIN };

struct order {
	uint32_t command;
	int32_t fd;
	uint32_t id;
};

/* What the walk knows of a process. */
struct proc {
	pid_t pid;
	int sock;
	unsigned int user;
	bool changed;		/* cannot change again */
	unsigned int mm;	/* number of its address space */
};

/* Who pays for a model, as long as it is there. */
static struct {
	bool used;
	unsigned int user;
	unsigned int mm;
} model[N_FILES][FILE_MODELS + 1];

static struct proc procs[N_PROCS];
static int fds[N_FILES];
static unsigned int next_mm;
static uint64_t state = 1;

/* ---- a process ------------------------------------------------------------------------------- */

static int change_user(void)
{
	uid_t to = getuid() == uids[0] ? uids[1] : uids[0];

	/* By the saved uid 0, which goes with it. */
	return setresuid(0, 0, 0) || setresuid(to, to, to) ? -errno : 0;
}

static int obey(const struct order *o, int sock)
{
	static struct t_image own;
	static void *locked;
	uint32_t id;
	int err;

	switch (o->command) {
	case LOAD:
		if (!own.base)
			own = t_image_copy(&image);
		err = t_model_load(o->fd, &own, 0, NULL, &id);
		return err ? err : (int)id;
	case CLOSE_MODEL:
		return t_model_close(o->fd, o->id);
	case UNMAP:
		if (own.base)
			t_image_free(&own);
		return 0;
	case LOCK:
		if (!locked)
			locked = t_pages(4 * T_PAGE);
		return mlock(locked, 4 * T_PAGE) ? -errno : 0;
	case UNLOCK:
		return locked && munlock(locked, 4 * T_PAGE) ? -errno : 0;
	case CHANGE_USER:
		return change_user();
	case EXEC: {
		char number[16];

		snprintf(number, sizeof(number), "%d", sock);
		execl("/proc/self/exe", "pins_walk", "--child", number, NULL);
		return -errno;
	}
	default:
		return t_number_in("/proc/self/status", "VmPin", 0) * 1024 / T_PAGE;
	}
}

static int serve(int sock)
{
	struct order o;

	image = t_image_random(&t_tiny);
	while (read(sock, &o, sizeof(o)) == sizeof(o)) {
		int result = obey(&o, sock);

		if (write(sock, &result, sizeof(result)) != sizeof(result))
			break;
	}
	return 0;
}

static void become(unsigned int user)
{
	struct rlimit limit = {
		.rlim_cur = LIMIT_IMAGES * image.length + T_PAGE,
		.rlim_max = LIMIT_IMAGES * image.length + T_PAGE,
	};
	gid_t group = T_GID_BITNET;

	/* uid 0 stays as the saved one, without a capability that counts. */
	if (setrlimit(RLIMIT_MEMLOCK, &limit) || setgroups(1, &group) ||
	    setresuid(uids[user], uids[user], 0)) {
		perror("# becoming a user");
		_exit(99);
	}
}

static void birth(struct proc *p, unsigned int user)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		bail("socketpair: %s", strerror(errno));
	fcntl(pair[0], F_SETFD, FD_CLOEXEC);
	*p = (struct proc){ .sock = pair[0], .user = user, .mm = next_mm++ };
	p->pid = t_fork();
	if (!p->pid) {
		close(pair[0]);
		become(user);
		_exit(serve(pair[1]));
	}
	close(pair[1]);
}

static void death(struct proc *p)
{
	kill(p->pid, SIGKILL);
	waitpid(p->pid, NULL, 0);
	close(p->sock);
}

static int tell(struct proc *p, enum command command, int fd, uint32_t id)
{
	struct order o = { .command = command, .fd = fd, .id = id };
	int result;

	if (write(p->sock, &o, sizeof(o)) != sizeof(o) ||
	    read(p->sock, &result, sizeof(result)) != sizeof(result))
		bail("a process is gone");
	return result;
}

/* ---- the model ------------------------------------------------------------------------------- */

static unsigned int count(int user, int mm)
{
	unsigned int n = 0, f, i;

	for (f = 0; f < N_FILES; f++)
		for (i = 1; i <= FILE_MODELS; i++)
			n += model[f][i].used && (user < 0 || model[f][i].user == (unsigned int)user) &&
			     (mm < 0 || model[f][i].mm == (unsigned int)mm);
	return n;
}

static unsigned int lowest(unsigned int f)
{
	unsigned int id = 1;

	while (id <= FILE_MODELS && model[f][id].used)
		id++;
	return id;
}

/* One step. Return: what went wrong, or NULL */
static const char *step(void)
{
	uint64_t r = t_random(&state);
	struct proc *p = &procs[r % N_PROCS];
	unsigned int f = r / 8 % N_FILES, id = 1 + r / 64 % FILE_MODELS;
	int result, want;

	switch (r / 4096 % 32) {
	case 0 ... 11:
		want = lowest(f) > FILE_MODELS ? -EDQUOT :
		       count(p->user, -1) >= LIMIT_IMAGES ? -ENOMEM : (int)lowest(f);
		result = tell(p, LOAD, fds[f], 0);
		if (result != want) {
			diag("user %u has %u images: %d instead of %d", p->user,
			     count(p->user, -1), result, want);
			return "MODEL_LOAD";
		}
		if (result > 0) {
			model[f][result].used = true;
			model[f][result].user = p->user;
			model[f][result].mm = p->mm;
		}
		return NULL;
	case 12 ... 22:
		if (tell(p, CLOSE_MODEL, fds[f], id) != (model[f][id].used ? 0 : -ENOENT))
			return "MODEL_CLOSE";
		model[f][id].used = false;
		return NULL;
	case 23:
		return tell(p, UNMAP, 0, 0) ? "munmap" : NULL;
	case 24:
		/* mlock() has an account of its own. */
		return tell(p, LOCK, 0, 0) ? "mlock" : NULL;
	case 25:
		return tell(p, UNLOCK, 0, 0) ? "munlock" : NULL;
	case 26:
		if (p->changed)
			return NULL;
		if (tell(p, CHANGE_USER, 0, 0))
			return "setuid";
		p->user = !p->user;
		p->changed = true;
		return NULL;
	case 27: {
		struct order o = { .command = EXEC };

		/* It answers with its new self. */
		if (write(p->sock, &o, sizeof(o)) != sizeof(o))
			return "exec";
		p->mm = next_mm++;
		p->changed = true;
		return tell(p, VM_PIN, 0, 0) ? "VmPin after exec" : NULL;
	}
	case 28:
		death(p);
		birth(p, r / 131072 % 2);
		return NULL;
	default:
		f = image.length / T_PAGE * count(-1, p->mm);
		result = tell(p, VM_PIN, 0, 0);
		if ((unsigned int)result == f)
			return NULL;
		diag("%d pages instead of %u", result, f);
		return "VmPin";
	}
}

int main(int argc, char **argv)
{
	const unsigned int n = t_size(t_is_uml() ? 5000 : 400, 1000000);
	const char *wrong = NULL;
	struct t_leaks before;
	unsigned int i;

	if (argc == 3 && !strcmp(argv[1], "--child"))
		return serve(atoi(argv[2]));
	if (argc > 1)
		state = strtoull(argv[1], NULL, 0);
	before = t_leaks_start();
	image = t_image_random(&t_tiny);
	for (i = 0; i < N_FILES; i++) {
		/* They outlive an exec. */
		fds[i] = t_open();
		fcntl(fds[i], F_SETFD, 0);
	}
	for (i = 0; i < N_PROCS; i++)
		birth(&procs[i], i % 2);
	for (i = 0; !wrong && t_more(i, n, "steps of accounts"); i++)
		wrong = step();
	ok(!wrong, "%u steps: %s", i, wrong ? wrong : "limits and accounts are exact");
	is(t_pinned_pages() - before.pinned, image.length / T_PAGE * count(-1, -1),
	   "so many pages are pinned");
	for (i = 0; i < N_PROCS; i++)
		death(&procs[i]);
	is(t_pinned_pages() - before.pinned, image.length / T_PAGE * count(-1, -1),
	   "as long as there is a descriptor");
	for (i = 0; i < N_FILES; i++)
		close(fds[i]);
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}
