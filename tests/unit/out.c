// SPDX-License-Identifier: GPL-2.0
/*
 * out.c - what the tool prints: sizes, exit codes, error objects, text that is not UTF-8, colours
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bitnet.h"
#include "out.h"
#include "tap.h"

/* Runs @fn with stdout in a file; returns what it printed. */
static char *capture(void (*fn)(void))
{
	static char text[4096];
	FILE *f = tmpfile();
	int saved;
	size_t n;

	fflush(stdout);
	saved = dup(STDOUT_FILENO);
	dup2(fileno(f), STDOUT_FILENO);
	fn();
	fflush(stdout);
	dup2(saved, STDOUT_FILENO);
	close(saved);
	rewind(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	fclose(f);
	return text;
}

static void print_object(void)
{
	out_json(json_pack("{s:i}", "a", 1));
}

static void print_error(void)
{
	struct bitnet_error err = { 0 };

	bitnet_error_set(&err, ENODEV, "no \"device\"");
	bitnet_error_hint(&err, "modprobe");
	out_error(&err);
}

static void print_line(void)
{
	out_json_line(json_pack("{s:s}", "b", "c"));
}

static void t_json(void)
{
	out.json = true;
	is_str(capture(print_object), "{\"schema\":1,\"a\":1}\n",
	       "an object has a schema in front");
	out.pretty = true;
	is_str(capture(print_object), "{\n  \"schema\": 1,\n  \"a\": 1\n}\n", "pretty");
	is_str(capture(print_line), "{\"schema\":1,\"b\":\"c\"}\n",
	       "a line of a stream is never pretty");
	out.pretty = false;
	ok(strstr(capture(print_error), "{\"schema\":1,\"error\":{\"code\":\"ENODEV\",\"message\":"
		  "\"no \\\"device\\\"\",\"hint\":\"modprobe\"}}\n"), "an error is an object");
	out.json = false;
}

static void t_string(const char *in, size_t len, const char *want, const char *name)
{
	json_t *j = out_string(in, len);

	is(json_string_length(j), strlen(want), "%s: length", name);
	is_str(json_string_value(j), want, "%s", name);
	json_decref(j);
}

static void t_sizes(void)
{
	is_str(out_size(0), "0 B", "nothing");
	is_str(out_size(1023), "1023 B", "bytes");
	is_str(out_size(1024), "1.0 KiB", "one KiB");
	is_str(out_size(3465696), "3.3 MiB", "MiB");
	is_str(out_size(1187801280), "1.1 GiB", "GiB");
	is_str(out_size(300ULL << 20), "300 MiB", "no digits where there are enough");
	is_str(out_size(UINT64_MAX), "16777216 TiB", "the largest");
}

static int exit_code(int code)
{
	struct bitnet_error err = { .code = code };

	return out_exit_code(&err);
}

static void t_errors(void)
{
	static const int interface[] = {
		EINVAL, E2BIG, EFAULT, ENOTTY, ENOENT, EEXIST, EBUSY, EPERM, ENOMEM, EDQUOT, ENOSPC,
		ENOEXEC, EBADMSG, ENXIO, ERANGE, EOPNOTSUPP, ETIME, EINTR, ECANCELED, ENODEV,
	};
	const char *unknown = bitnet_strerror(-EXDEV);
	int described = 0;

	is(exit_code(ENODEV), OUT_NO_DEVICE, "no device");
	is(exit_code(EACCES), OUT_NO_DEVICE, "no permission");
	is(exit_code(EPERM), OUT_NO_DEVICE, "not allowed");
	is(exit_code(EBADMSG), OUT_FAILURE, "a damaged model");
	is(exit_code(ENOENT), OUT_FAILURE, "no such file");
	for (size_t i = 0; i < sizeof(interface) / sizeof(interface[0]); i++)
		described += strcmp(bitnet_strerror(-interface[i]), unknown) != 0;
	is(described, sizeof(interface) / sizeof(interface[0]),
	   "each errno of the interface has a sentence");
	is_str(bitnet_strerror(0), "success", "0");
}

/* What @fn writes to stderr when that is a terminal. */
static char *on_terminal(void (*fn)(void))
{
	static char text[4096];
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK), slave, saved;
	size_t len = 0;
	ssize_t n;

	if (master < 0 || grantpt(master) || unlockpt(master))
		return NULL;
	slave = open(ptsname(master), O_RDWR | O_NOCTTY);
	saved = dup(STDERR_FILENO);
	dup2(slave, STDERR_FILENO);
	out_init();
	fn();
	fflush(stderr);
	while (len < sizeof(text) - 1 && (n = read(master, text + len, sizeof(text) - 1 - len)) > 0)
		len += n;
	text[len] = '\0';
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(slave);
	close(master);
	out_init();
	return text;
}

static void short_work(void)
{
	for (int i = 0; i <= 100; i++)
		out_progress("packing", i, 100);
	out_progress_end();
}

static void long_work(void)
{
	for (int i = 0; i <= 40; i++) {
		out_progress("packing", i, 40);
		usleep(10000);
	}
	out_progress_end();
}

static void t_progress(void)
{
	char *seen = on_terminal(long_work);

	if (!seen) {
		skip("no pseudo-terminals");
		return;
	}
	ok(strstr(seen, "packing [##") && strstr(seen, "] 100%"), "a bar for long work on a terminal");
	is_str(seen + strlen(seen) - 4, "\r\033[K", "which is wiped at the end");
	is_str(on_terminal(short_work), "", "none for short work");
	out.quiet = true;
	is_str(on_terminal(long_work), "", "none with --quiet");
	out.quiet = false;
	ok(out_progress("packing", 1, 2), "work goes on without a terminal");
}

static void t_color(void)
{
	unsetenv("NO_COLOR");
	out.color = OUT_COLOR_ALWAYS;
	out_init();
	is_str(out_style(STYLE_BOLD), "\033[1m", "colours when asked for");
	out.color = OUT_COLOR_NEVER;
	out_init();
	is_str(out_style(STYLE_BOLD), "", "none when asked for none");
	out.color = OUT_COLOR_AUTO;
	out_init();
	is_str(out_style(STYLE_BOLD), isatty(STDOUT_FILENO) ? "\033[1m" : "", "only on a terminal");
	setenv("NO_COLOR", "1", 1);
	out_init();
	is_str(out_style(STYLE_BOLD), "", "NO_COLOR");
}

int main(void)
{
	json_t *j;

	t_json();
	t_string("plain", 5, "plain", "ASCII");
	t_string("a\xffz", 3, "a\xef\xbf\xbdz", "a byte that is no UTF-8");
	t_string("a\xe2\x82", 3, "a\xef\xbf\xbd", "a character cut off");
	t_string("\xf0\x9f\x98\x80", 4, "\xf0\x9f\x98\x80", "four bytes");
	t_sizes();
	t_errors();
	t_color();
	t_progress();
	j = out_hex64(0x1234);
	is_str(json_string_value(j), "0x0000000000001234", "a digest has all its digits");
	json_decref(j);
	return done();
}
