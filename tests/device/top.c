// SPDX-License-Identifier: GPL-2.0
/*
 * top.c - bitnetctl top on a terminal of the guest: shows the process that has a job, filters, and
 * ends it with a signal after asking
 */
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <termios.h>
#include <utmp.h>

#include "device.h"

#define PATIENCE_MS	60000	/* until something that must come is given up */

static int master, slave;
static char seen[1 << 16];
static size_t len;

/* Reads until one of two texts has come. Return: false if none does. */
static bool read_until(const char *text, const char *other)
{
	struct pollfd p = { .fd = master, .events = POLLIN };
	ssize_t n;

	while (!strstr(seen, text) && !strstr(seen, other)) {
		if (len + 1 == sizeof(seen) || poll(&p, 1, PATIENCE_MS) != 1)
			return false;
		n = read(master, seen + len, sizeof(seen) - 1 - len);
		if (n <= 0)
			return false;
		len += n;
		seen[len] = '\0';
	}
	return true;
}

static void forget(void)
{
	len = 0;
	seen[0] = '\0';
}

static void type(const char *keys)
{
	if (write(master, keys, strlen(keys)) != (ssize_t)strlen(keys))
		diag("the terminal takes no keys");
}

/*
 * Is it on the screen, soon? Has it drawn anew, again and again, since else only what differs is
 * written. The first line of a screen tells that the one before was whole.
 */
static bool shows(const char *text)
{
	bool found = false;

	for (int i = 0; i < 400 && !found; i++) {
		forget();
		type("\f");
		if (!read_until("bitnet ", "bitnet "))
			return false;
		forget();
		type("\f");
		if (!read_until(text, "bitnet "))
			return false;
		found = strstr(seen, text);
		t_sleep_ns(10000000);
	}
	return found;
}

/* A job that parks: nobody takes its tokens from a ring for two of them. */
static void client(int ready)
{
	struct t_image image = t_image_random(&t_tiny);
	uint32_t tokens[1] = { 1 };
	struct bitnet_job job;
	struct t_client c;

	t_client_open(&c, &image, 2);
	job = t_generate(c.session, tokens, 1, 20, 1);
	if (t_submit(c.fd, &job, 1, NULL))
		_exit(1);
	while (!t_stats(c.fd).out_parked)
		t_sleep_ns(1000000);
	if (write(ready, "x", 1) != 1)
		_exit(2);
	for (;;)
		pause();
}

static pid_t start_client(void)
{
	int ready[2];
	pid_t pid;
	char byte;

	if (pipe(ready))
		bail("pipe");
	pid = t_fork();
	if (!pid)
		client(ready[1]);
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		bail("the client");
	close(ready[0]);
	return pid;
}

static pid_t start_top(struct termios *before)
{
	struct winsize size = { .ws_row = 24, .ws_col = 100 };
	pid_t pid;

	if (openpty(&master, &slave, NULL, NULL, &size))
		return -1;
	tcgetattr(slave, before);
	pid = t_fork();
	if (!pid) {
		close(master);
		login_tty(slave);
		signal(SIGINT, SIG_DFL);
		setenv("TERM", "linux", 1);
		execlp("bitnetctl", "bitnetctl", "top", "--interval", "0.1", NULL);
		_exit(127);
	}
	return pid;
}

static int exit_code(pid_t pid)
{
	int status;

	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void check_top(pid_t job)
{
	char number[16], text[64];
	struct termios before, after;
	pid_t top = start_top(&before);

	if (top < 0) {
		skip("no pseudo-terminal");
		kill(job, SIGKILL);
		exit_code(job);
		return;
	}
	snprintf(number, sizeof(number), " %d root", (int)job);
	ok(read_until("PID USER", "PID USER"), "it starts");
	ok(shows(number), "and shows the process that has the job");
	type("/pid:1\r");
	ok(shows("filter '1'"), "a filter");
	snprintf(text, sizeof(text), "/pid:%d\r", (int)job);
	type(text);
	ok(shows(number), "another one, for the process");
	ok(shows("CPUs busy 0.0"), "a job that is parked costs nothing");

	type("k");
	snprintf(text, sizeof(text), "send SIGINT to %d (", (int)job);
	ok(shows(text), "k asks before it ends the process");
	type("n");
	ok(shows("k:end jobs"), "n is no");
	is(waitpid(job, NULL, WNOHANG), 0, "the process lives");
	type("k");
	ok(shows(text), "k again");
	type("y");
	is(exit_code(job), 128 + SIGINT, "y ends it by SIGINT");
	ok(shows("files 0"), "its file goes");

	type("q");
	is(exit_code(top), 0, "q ends top");
	tcgetattr(slave, &after);
	is(after.c_lflag, before.c_lflag, "the terminal is as it was");
	ok(after.c_iflag == before.c_iflag && after.c_oflag == before.c_oflag, "in all its modes");
	close(slave);
	close(master);
}

int main(void)
{
	struct t_leaks before = t_leaks_start();

	if (access("/bin/bitnetctl", X_OK))
		skip_all("there is no bitnetctl here");
	if (access("/lib/terminfo/l/linux", R_OK))
		skip_all("there is no terminal's description here");
	check_top(start_client());
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}
