// SPDX-License-Identifier: GPL-2.0
/* jobs.c - see jobs.h */
#include <errno.h>
#include <fcntl.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "interrupt.h"
#include "jobs.h"

#define MAX_JOBS	9999
#define POLL_MS		20

/* ---- folders --------------------------------------------------------------------------------- */

static int make_own_dir(const char *path)
{
	struct stat st;

	if (mkdir(path, 0700) && errno != EEXIST)
		return -errno;
	/* in /tmp somebody else could have been faster */
	if (lstat(path, &st))
		return -errno;
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || st.st_mode & 022)
		return -EPERM;
	return 0;
}

static bool is_own_dir(const char *path)
{
	struct stat st;

	return !stat(path, &st) && S_ISDIR(st.st_mode) && st.st_uid == geteuid();
}

/* The user's folder for jobs; made if @create. */
static int jobs_dir(char *path, size_t size, bool create)
{
	const char *runtime = secure_getenv("XDG_RUNTIME_DIR");
	char base[PATH_MAX - 64];
	int ret;

	if (runtime && runtime[0] == '/' && is_own_dir(runtime) &&
	    strlen(runtime) < sizeof(base) - 16) {
		snprintf(base, sizeof(base), "%s/bitnet", runtime);
	} else {
		snprintf(base, sizeof(base), "/run/user/%u", geteuid());
		if (is_own_dir(base))
			strcat(base, "/bitnet");
		else
			snprintf(base, sizeof(base), "/tmp/bitnet-%u", geteuid());
	}
	snprintf(path, size, "%s/jobs", base);
	if (!create)
		return 0;
	ret = make_own_dir(base);
	return ret ? ret : make_own_dir(path);
}

static void job_path(char *path, size_t size, unsigned int id, const char *file)
{
	char dir[PATH_MAX - 48];

	jobs_dir(dir, sizeof(dir), false);
	snprintf(path, size, "%s/%u%s%s", dir, id, file ? "/" : "", file ? file : "");
}

static int compare(const void *a, const void *b)
{
	unsigned int x = *(const unsigned int *)a, y = *(const unsigned int *)b;

	return x < y ? -1 : x > y;
}

/* Ids in use, ascending; @ids has room for MAX_JOBS. */
static unsigned int list_ids(unsigned int *ids)
{
	char path[PATH_MAX];
	struct dirent *e;
	unsigned int n = 0;
	DIR *dir;

	jobs_dir(path, sizeof(path), false);
	dir = opendir(path);
	if (!dir)
		return 0;
	while (n < MAX_JOBS && (e = readdir(dir)))
		if (!jobs_parse_id(e->d_name, &ids[n]))
			n++;
	closedir(dir);
	qsort(ids, n, sizeof(*ids), compare);
	return n;
}

int jobs_parse_id(const char *text, unsigned int *id)
{
	char *end;
	unsigned long n;

	if (*text < '1' || *text > '9')
		return -EINVAL;
	n = strtoul(text, &end, 10);
	if (*end || n > INT_MAX)
		return -EINVAL;
	*id = n;
	return 0;
}

/* ---- the holder's side ----------------------------------------------------------------------- */

static int write_json(unsigned int id, const char *file, const json_t *j)
{
	char path[PATH_MAX], temporary[PATH_MAX];

	job_path(path, sizeof(path), id, file);
	job_path(temporary, sizeof(temporary), id, "new");
	errno = 0;
	if (json_dump_file(j, temporary, JSON_COMPACT) || rename(temporary, path))
		return errno ? -errno : -EIO;
	return 0;
}

static int make_job_dir(unsigned int *id)
{
	unsigned int *ids = malloc(MAX_JOBS * sizeof(*ids)), n;
	char path[PATH_MAX];
	int ret = 0;

	if (!ids)
		return -ENOMEM;
	n = list_ids(ids);
	*id = n ? ids[n - 1] + 1 : 1;
	free(ids);
	if (n == MAX_JOBS)
		return -EDQUOT;
	for (;; ++*id) {
		job_path(path, sizeof(path), *id, NULL);
		if (!mkdir(path, 0700))
			break;
		if (errno != EEXIST) {
			ret = -errno;
			break;
		}
	}
	return ret;
}

int jobs_create(const json_t *request, unsigned int *id, struct bitnet_error *err)
{
	char path[PATH_MAX];
	int lock = -1, ret;

	ret = jobs_dir(path, sizeof(path), true);
	if (ret)
		return bitnet_error_set(err, ret, "%s: %s", path, strerror(-ret));
	ret = make_job_dir(id);
	if (ret)
		return bitnet_error_set(err, ret, "%s: %s", path, ret == -EDQUOT ?
					"too many jobs; collect some with 'bitnetctl wait'" :
					strerror(-ret));
	job_path(path, sizeof(path), *id, "lock");
	lock = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB))
		ret = -errno;
	if (!ret)
		ret = write_json(*id, "request.json", request);
	if (!ret)
		return lock;
	if (lock >= 0)
		close(lock);
	jobs_remove(*id);
	return bitnet_error_set(err, ret, "%s: %s", path, strerror(-ret));
}

int jobs_set_holder(int lock, pid_t pid)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%d\n", pid);

	return pwrite(lock, text, n, 0) == n ? 0 : -EIO;
}

int jobs_finish(unsigned int id, const json_t *result)
{
	return write_json(id, "result.json", result);
}

/* ---- everybody else's side ------------------------------------------------------------------- */

/* Return: descriptor, or negative errno. */
static int open_lock(unsigned int id)
{
	char path[PATH_MAX];
	int fd;

	job_path(path, sizeof(path), id, "lock");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static bool is_locked(int fd)
{
	if (flock(fd, LOCK_SH | LOCK_NB))
		return true;
	flock(fd, LOCK_UN);
	return false;
}

int jobs_wait(unsigned int id, int64_t timeout_ms)
{
	const struct timespec pause = { .tv_nsec = POLL_MS * 1000000 };
	int fd = open_lock(id), ret = 0;

	if (fd < 0)
		return -ENOENT;
	/* flock() has no timeout, and the holder nobody to signal: so look now and then */
	while (is_locked(fd)) {
		if (interrupt_pending()) {
			ret = -EINTR;
			break;
		}
		if (timeout_ms >= 0) {
			if (timeout_ms < POLL_MS) {
				ret = -ETIME;
				break;
			}
			timeout_ms -= POLL_MS;
		}
		nanosleep(&pause, NULL);
	}
	close(fd);
	return ret;
}

json_t *jobs_result(unsigned int id)
{
	char path[PATH_MAX];

	job_path(path, sizeof(path), id, "result.json");
	return json_load_file(path, JSON_ALLOW_NUL, NULL);
}

int jobs_signal(unsigned int id, int signo)
{
	int fd = open_lock(id), pidfd = -1, ret = -ESRCH;
	char text[16] = "";
	pid_t pid;

	if (fd < 0)
		return -ENOENT;
	if (pread(fd, text, sizeof(text) - 1, 0) > 0) {
		pid = atoi(text);
		pidfd = pid > 0 ? pidfd_open(pid, 0) : -1;
	}
	/*
	 * While the lock is held, the process that wrote its id is alive; so if it still is held
	 * now, pidfd is that process and no later one with the same number.
	 */
	if (pidfd >= 0 && is_locked(fd) && !pidfd_send_signal(pidfd, signo, NULL, 0))
		ret = 0;
	if (pidfd >= 0)
		close(pidfd);
	close(fd);
	return ret;
}

void jobs_remove(unsigned int id)
{
	static const char *const files[] = { "result.json", "request.json", "new", "lock", NULL };
	char path[PATH_MAX];

	for (int i = 0; i < 5; i++) {
		job_path(path, sizeof(path), id, files[i]);
		remove(path);
	}
}

int jobs_each(int (*fn)(void *arg, const struct job_state *job), void *arg)
{
	unsigned int *ids = malloc(MAX_JOBS * sizeof(*ids)), n;
	struct job_state job;
	char path[PATH_MAX];
	json_t *request;
	int fd, ret = 0;

	if (!ids)
		return 0;
	n = list_ids(ids);
	for (unsigned int i = 0; i < n && !ret; i++) {
		fd = open_lock(ids[i]);
		if (fd < 0)
			continue;
		job_path(path, sizeof(path), ids[i], "request.json");
		request = json_load_file(path, 0, NULL);
		job.id = ids[i];
		job.running = is_locked(fd);
		close(fd);
		job_path(path, sizeof(path), ids[i], "result.json");
		job.ended = !access(path, F_OK);
		job.request = request;
		ret = fn(arg, &job);
		json_decref(request);
	}
	free(ids);
	return ret;
}
