// SPDX-License-Identifier: GPL-2.0
/* out.c - see out.h */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "interrupt.h"
#include "out.h"
#include "utf8.h"

struct out_options out;

static bool stdout_color, stderr_tty, stderr_color;
static int write_error;		/* errno of the first write to stdout that failed */
static bool progress_shown;
static int64_t progress_since;	/* ms, 0: nothing is in progress */

#define PROGRESS_DELAY_MS	300
#define PROGRESS_STEP_MS	100

void out_init(void)
{
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
	bool want = !(no_color && *no_color) && !(term && !strcmp(term, "dumb"));

	stderr_tty = isatty(STDERR_FILENO);
	stdout_color = want && isatty(STDOUT_FILENO);
	stderr_color = want && stderr_tty;
	if (out.color != OUT_COLOR_AUTO)
		stdout_color = stderr_color = out.color == OUT_COLOR_ALWAYS;
	if (out.pretty)
		out.json = true;
	signal(SIGPIPE, SIG_IGN);
}

const char *out_style(enum out_style style)
{
	static const char *const codes[] = { "\033[0m", "\033[1m", "\033[2m", "\033[32m",
					     "\033[31m" };

	return stdout_color ? codes[style] : "";
}

static const char *code_name(int code)
{
	const char *name = strerrorname_np(code);

	return name ? name : "EIO";
}

int out_exit_code(const struct bitnet_error *err)
{
	switch (err->code) {
	case ENODEV:
	case EPERM:
	case EACCES:
		return OUT_NO_DEVICE;
	case EINTR:
	case ECANCELED:
		return interrupt_pending() ? 128 + interrupt_pending() : OUT_FAILURE;
	default:
		return OUT_FAILURE;
	}
}

static void say(const char *color, const char *fmt, va_list ap)
{
	out_progress_end();
	fprintf(stderr, "%sbitnetctl:%s ", stderr_color ? color : "",
		stderr_color ? "\033[0m" : "");
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
}

static void say_args(const char *color, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(color, fmt, ap);
	va_end(ap);
}

int out_error(const struct bitnet_error *err)
{
	json_t *e;

	if (out.json) {
		out_progress_end();
		e = json_pack("{s:s, s:o}", "code", code_name(err->code), "message",
			      out_string(err->msg, strlen(err->msg)));
		if (err->hint[0])
			json_object_set_new(e, "hint", out_string(err->hint, strlen(err->hint)));
		out_json(json_pack("{s:o}", "error", e));
	} else {
		say_args("\033[31m", "%s", err->msg);
		if (err->hint[0])
			fprintf(stderr, "hint: %s\n", err->hint);
	}
	return out_exit_code(err);
}

void out_note(const char *fmt, ...)
{
	va_list ap;

	if (out.quiet)
		return;
	va_start(ap, fmt);
	say("\033[2m", fmt, ap);
	va_end(ap);
}

void out_warn(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say("\033[33m", fmt, ap);
	va_end(ap);
}

void out_debug(const char *fmt, ...)
{
	va_list ap;

	if (!out.verbose)
		return;
	va_start(ap, fmt);
	say("\033[2m", fmt, ap);
	va_end(ap);
}

void out_hint(const char *hint)
{
	if (!out.quiet && *hint)
		fprintf(stderr, "hint: %s\n", hint);
}

static void write_failed(void)
{
	if (!write_error)
		write_error = errno ? errno : EIO;
}

static void dump(json_t *object, size_t flags)
{
	errno = 0;
	if (json_dumpf(object, stdout, flags | JSON_REAL_PRECISION(9)) < 0 ||
	    putchar('\n') == EOF || fflush(stdout))
		write_failed();
	json_decref(object);
}

void out_json(json_t *object)
{
	json_t *root = json_pack("{s:i}", "schema", OUT_SCHEMA);

	json_object_update(root, object);
	json_decref(object);
	dump(root, out.pretty ? JSON_INDENT(2) : JSON_COMPACT);
}

void out_json_line(json_t *object)
{
	json_t *root = json_pack("{s:i}", "schema", OUT_SCHEMA);

	json_object_update(root, object);
	json_decref(object);
	dump(root, JSON_COMPACT);
}

bool out_text(const void *text, size_t len)
{
	errno = 0;
	if (!write_error && (fwrite(text, 1, len, stdout) != len || fflush(stdout)))
		write_failed();
	return !write_error;
}

bool out_broken(void)
{
	return write_error;
}

int out_finish(int code)
{
	out_progress_end();
	errno = 0;
	if (fflush(stdout) || ferror(stdout))
		write_failed();
	if (write_error == EPIPE) {
		signal(SIGPIPE, SIG_DFL);
		raise(SIGPIPE);
	}
	if (write_error) {
		say_args("\033[31m", "cannot write to standard output: %s", strerror(write_error));
		return code ? code : OUT_FAILURE;
	}
	return code;
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

bool out_progress(void *label, uint64_t done, uint64_t total)
{
	static int64_t last;
	struct winsize size;
	unsigned int width = 30, filled;
	int64_t now = now_ms();
	char bar[64];

	if (interrupt_pending())
		return false;
	if (!stderr_tty || out.quiet || !total)
		return true;
	/* nobody needs a bar for what is over before he can read it */
	if (!progress_since)
		progress_since = now;
	if (now - progress_since < PROGRESS_DELAY_MS)
		return true;
	if (progress_shown && done < total && now - last < PROGRESS_STEP_MS)
		return true;
	last = now;
	if (done > total)
		done = total;
	if (!ioctl(STDERR_FILENO, TIOCGWINSZ, &size) && size.ws_col && size.ws_col < 70)
		width = size.ws_col > 40 ? size.ws_col - 40 : 0;
	filled = (double)done / total * width;
	memset(bar, '#', filled);
	memset(bar + filled, '.', width - filled);
	bar[width] = '\0';
	fprintf(stderr, "\r%.24s [%s] %3u%%\033[K", (const char *)label, bar,
		(unsigned int)((double)done / total * 100));
	fflush(stderr);
	progress_shown = true;
	return true;
}

void out_progress_end(void)
{
	if (progress_shown)
		fputs("\r\033[K", stderr);
	progress_shown = false;
	progress_since = 0;
}

const char *out_size(uint64_t bytes)
{
	static const char *const unit[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	static char text[8][24];
	static unsigned int next;
	char *s = text[next++ % 8];
	unsigned int u = 0;
	double v = bytes;

	while (v >= 1024 && u < 4) {
		v /= 1024;
		u++;
	}
	snprintf(s, sizeof(text[0]), u && v < 100 ? "%.1f %s" : "%.0f %s", v, unit[u]);
	return s;
}

json_t *out_hex64(uint64_t v)
{
	return json_sprintf("0x%016" PRIx64, v);
}

json_t *out_string(const char *s, size_t len)
{
	json_t *j = json_stringn(s, len);
	char *copy;
	size_t o = 0;
	int n;

	if (j)
		return j;
	copy = malloc(3 * len + 1);
	if (!copy)
		return json_null();
	for (size_t i = 0; i < len; i += n) {
		n = bitnet_utf8_scan(s + i, len - i, NULL);
		if (n > 0) {
			memcpy(copy + o, s + i, n);
			o += n;
			continue;
		}
		n = n ? -n : (int)(len - i);
		memcpy(copy + o, "\xef\xbf\xbd", 3);
		o += 3;
	}
	j = json_stringn(copy, o);
	free(copy);
	return j ? j : json_null();
}
