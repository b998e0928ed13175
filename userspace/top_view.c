// SPDX-License-Identifier: GPL-2.0
/* top_view.c - see top_view.h */
#include <curses.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <time.h>
#include <unistd.h>

#include "args.h"
#include "interrupt.h"
#include "out.h"
#include "top_text.h"
#include "top_view.h"

#define MIN_INTERVAL_MS		100
#define MAX_INTERVAL_MS		3600000
#define FIRST_INTERVAL_MS	300	/* one snapshot gives no rates: the second comes soon */
#define ESCAPE_KEY		27
#define ESCAPE_DELAY_MS		25	/* for the rest of a key's sequence */
#define KEY_CTRL(c)		((c) & 0x1f)

/* Lines below which parts of the screen are left out. */
#define LINES_FOR_SUMMARY	9
#define LINES_FOR_TABS		4

enum colors { COLORS_TITLE = 1, COLORS_WARN };

enum asking { ASK_NOTHING, ASK_FILTER, ASK_INTERVAL, ASK_SIGNAL };

/**
 * struct view - what is on the screen
 * @order:	of the pane that is shown; @column, @reverse: of all panes
 * @selected:	the thing under the cursor; it stays selected wherever it is sorted to
 * @cursor:	its row, @first: row at the top of the table
 * @next_ms:	when to take the next snapshot
 * @over:	the recording has ended
 * @asking:	what the bottom line asks for, @input: what was typed so far
 * @target:	ASK_SIGNAL: process that would get the signal, @target_fd: pidfd of it
 * @message:	for the bottom line until the next key
 */
struct view {
	struct top_source *source;
	struct top_frame frame;
	struct top_order order;
	unsigned int column[SNAPSHOT_LISTS];
	bool reverse[SNAPSHOT_LISTS];
	struct record selected;
	size_t cursor, first;
	unsigned int interval_ms;
	int64_t next_ms;
	bool paused, help, over, done, colors;
	enum asking asking;
	char input[64];
	struct record target;
	int target_fd;
	char message[160];
};

static const char *const help_lines[] = {
	"Tab, 1 to 4       processes, users, models, workers",
	"Up, Down, PgUp, PgDn, Home, End     select",
	"< >               sort by the column to the left, to the right",
	"r                 sort the other way round",
	"/                 show only what matches: a text, or one of",
	"                  pid:N  user:NAME  command:TEXT  model:NAME",
	"Space, p          pause",
	"+ -               longer, shorter interval;  d  type it",
	"k                 end the selected process's jobs, see below",
	"Ctrl-L            draw anew;  ?  this help;  q  quit",
	"",
	"The device cancels jobs only for the process that submitted them. To end",
	"those of another one, k sends it SIGINT, as Ctrl-C would, after asking;",
	"bitnetctl then cancels its jobs and ends.",
	"",
	"QUEUED: how long jobs have waited for their first step, in all.",
	"LATE: tokens of class realtime that came late. CONTEXT: key/value caches.",
	"Token times: between the last two snapshots, to a factor of 2; root only.",
};

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

bool top_view_possible(void)
{
	const char *term = getenv("TERM");

	return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && term && *term &&
	       strcmp(term, "dumb");
}

/* ---- the screen -------------------------------------------------------------------------------- */

static bool want_colors(void)
{
	const char *no_color = getenv("NO_COLOR");

	if (out.color != OUT_COLOR_AUTO)
		return out.color == OUT_COLOR_ALWAYS;
	return !(no_color && *no_color);
}

static void start_colors(struct view *v)
{
	if (!want_colors() || !has_colors() || start_color() == ERR)
		return;
	use_default_colors();
	v->colors = init_pair(COLORS_TITLE, COLOR_BLACK, COLOR_GREEN) != ERR &&
		    init_pair(COLORS_WARN, COLOR_YELLOW, -1) != ERR;
}

static unsigned int table_line(void)
{
	return (LINES >= LINES_FOR_SUMMARY ? TOP_SUMMARY_LINES : 0) +
	       (LINES >= LINES_FOR_TABS ? 1 : 0);
}

/* Rows of the table that fit: between the titles and the bottom line. */
static size_t page(void)
{
	int rows = LINES - (int)table_line() - 2;

	return rows > 0 ? rows : 0;
}

static void put_line(int y, const char *text)
{
	char line[TOP_LINE_BYTES];

	if (y >= LINES)
		return;
	top_fit(line, text, COLS, false);
	mvaddstr(y, 0, line);
}

static void draw_summary(const struct view *v)
{
	char line[TOP_LINE_BYTES];

	for (int n = 0; n < TOP_SUMMARY_LINES; n++) {
		top_summary(&v->frame, n, line, COLS);
		if (!n)
			attron(A_BOLD);
		mvaddstr(n, 0, line);
		attroff(A_BOLD);
	}
}

static void draw_tabs(const struct view *v, int y)
{
	char text[TOP_LINE_BYTES];
	int n = 0;

	for (int i = 0; i < SNAPSHOT_LISTS; i++)
		n += snprintf(text + n, sizeof(text) - n, i == (int)v->order.list ? "[%d %s] " :
			      " %d %s  ", i + 1, top_panes[i].name);
	n += snprintf(text + n, sizeof(text) - n, " %g s", v->interval_ms / 1000.0);
	if (v->source->replay)
		n += snprintf(text + n, sizeof(text) - n, "  RECORDING %lu%s", v->source->shots,
			      v->over ? ", its end" : "");
	if (v->paused)
		n += snprintf(text + n, sizeof(text) - n, "  PAUSED");
	if (v->order.filter.kind != TOP_FILTER_NONE)
		snprintf(text + n, sizeof(text) - n, "  filter '%s'", v->order.filter.text);
	put_line(y, text);
}

static void draw_titles(const struct view *v, int y)
{
	const struct top_pane *pane = &top_panes[v->order.list];
	attr_t look = v->colors ? COLOR_PAIR(COLORS_TITLE) : A_REVERSE;
	char line[TOP_LINE_BYTES];
	unsigned int width;
	int x;

	top_line(&v->frame, NULL, line, COLS);
	attron(look);
	mvaddstr(y, 0, line);
	attroff(look);
	x = top_title(pane, v->order.column, COLS, &width);
	if (x >= 0)
		mvchgat(y, x, width, A_BOLD | A_UNDERLINE | look, v->colors ? COLORS_TITLE : 0,
			NULL);
}

static void draw_row(const struct view *v, int y, size_t i)
{
	const struct top_row *row = &v->frame.rows[i];
	char line[TOP_LINE_BYTES];
	attr_t look = i == v->cursor ? A_REVERSE : 0;

	if (v->colors && v->order.list == SNAPSHOT_FILES && row->now->value[BITNET_A_PARKED])
		look |= COLOR_PAIR(COLORS_WARN);
	top_line(&v->frame, row, line, COLS);
	attron(look);
	mvaddstr(y, 0, line);
	attroff(look);
}

static void draw_table(const struct view *v, int y)
{
	const struct top_pane *pane = &top_panes[v->order.list];

	draw_titles(v, y++);
	if (v->frame.now->list[v->order.list].error)
		put_line(y, pane->absent);
	for (size_t i = 0; i < page() && v->first + i < v->frame.n; i++)
		draw_row(v, y + i, v->first + i);
}

static void draw_help(void)
{
	for (size_t i = 0; i < sizeof(help_lines) / sizeof(help_lines[0]); i++)
		put_line(i, help_lines[i]);
	attron(A_REVERSE);
	put_line(LINES - 1, "any key: back");
	attroff(A_REVERSE);
}

static void bottom_text(const struct view *v, char *text, size_t size)
{
	switch (v->asking) {
	case ASK_FILTER:
		snprintf(text, size, "filter (text or pid: user: command: model:): %s",
			 v->input);
		return;
	case ASK_INTERVAL:
		snprintf(text, size, "seconds between snapshots: %s", v->input);
		return;
	case ASK_SIGNAL:
		snprintf(text, size, "send SIGINT to %llu (%s, %s)? y/N  The device cancels no other process's jobs.",
			 (unsigned long long)v->target.value[BITNET_A_PID], v->target.name,
			 v->target.user);
		return;
	case ASK_NOTHING:
		break;
	}
	snprintf(text, size, "%s", *v->message ? v->message :
		 "?:help  Tab:pane  <>:sort  /:filter  p:pause  d:interval  k:end jobs  q:quit");
}

static void draw(const struct view *v)
{
	int y = table_line();
	char text[TOP_LINE_BYTES];

	erase();
	if (v->help) {
		draw_help();
		refresh();
		return;
	}
	if (LINES >= LINES_FOR_SUMMARY)
		draw_summary(v);
	if (LINES >= LINES_FOR_TABS)
		draw_tabs(v, y - 1);
	draw_table(v, y);
	if (LINES >= 2) {
		bottom_text(v, text, sizeof(text));
		if (v->asking || *v->message)
			attron(A_BOLD);
		put_line(LINES - 1, text);
		attroff(A_BOLD);
	}
	curs_set(v->asking == ASK_FILTER || v->asking == ASK_INTERVAL);
	if (v->asking)
		move(LINES - 1, (int)strlen(text) < COLS ? (int)strlen(text) : COLS - 1);
	refresh();
}

/* ---- data -------------------------------------------------------------------------------------- */

static void keep_cursor_in_sight(struct view *v)
{
	if (v->cursor >= v->frame.n)
		v->cursor = v->frame.n ? v->frame.n - 1 : 0;
	if (v->first > v->cursor)
		v->first = v->cursor;
	if (page() && v->cursor >= v->first + page())
		v->first = v->cursor - page() + 1;
	if (v->frame.n)
		v->selected = *v->frame.rows[v->cursor].now;
}

/* Sorts and filters anew; the cursor follows what was selected. */
static int arrange(struct view *v, struct bitnet_error *err)
{
	v->order.column = v->column[v->order.list];
	v->order.reverse = v->reverse[v->order.list];
	if (top_frame_make(&v->frame, top_source_now(v->source), top_source_before(v->source),
			   &v->order))
		return bitnet_error_set(err, ENOMEM, "out of memory");
	for (size_t i = 0; v->selected.has && i < v->frame.n; i++) {
		if (top_same(v->order.list, v->frame.rows[i].now, &v->selected)) {
			v->cursor = i;
			break;
		}
	}
	keep_cursor_in_sight(v);
	return 0;
}

static int take_snapshot(struct view *v, struct bitnet_error *err)
{
	int ret = v->over ? -ENODATA : top_source_next(v->source, err);

	v->next_ms = now_ms() + v->interval_ms;
	if (ret == -ENODATA) {
		v->over = true;
		return 0;
	}
	return ret ? ret : arrange(v, err);
}

/* ---- keys -------------------------------------------------------------------------------------- */

static void set_interval(struct view *v, uint64_t ms)
{
	v->interval_ms = ms < MIN_INTERVAL_MS ? MIN_INTERVAL_MS :
			 ms > MAX_INTERVAL_MS ? MAX_INTERVAL_MS : ms;
	v->next_ms = now_ms() + v->interval_ms;
}

static void select_pane(struct view *v, int list)
{
	v->order.list = list;
	v->cursor = v->first = 0;
	memset(&v->selected, 0, sizeof(v->selected));
}

static void move_cursor(struct view *v, long by)
{
	if (by < 0 && v->cursor < (size_t)-by)
		v->cursor = 0;
	else
		v->cursor += by;
	keep_cursor_in_sight(v);
}

static void sort_by_neighbour(struct view *v, int by)
{
	const struct top_column *columns = top_panes[v->order.list].columns;
	unsigned int *column = &v->column[v->order.list];

	if (by < 0 ? *column > 0 : columns[*column + 1].title != NULL)
		*column += by;
	v->reverse[v->order.list] = false;
}

static void ask(struct view *v, enum asking what, const char *input)
{
	v->asking = what;
	snprintf(v->input, sizeof(v->input), "%s", input);
}

static void stop_asking(struct view *v)
{
	if (v->target_fd >= 0)
		close(v->target_fd);
	v->target_fd = -1;
	v->asking = ASK_NOTHING;
}

/*
 * A process is held by its pidfd before a snapshot confirms that it is still the one that has the
 * file open, so that the signal cannot reach another that got its number since.
 */
static int ask_for_signal(struct view *v, struct bitnet_error *err)
{
	struct record wanted = v->selected;
	int ret;

	if (v->source->replay || v->order.list != SNAPSHOT_FILES || !v->frame.n) {
		snprintf(v->message, sizeof(v->message), v->source->replay ?
			 "this is a recording: there is no process to end" :
			 "select a process first (1)");
		return 0;
	}
	v->target_fd = pidfd_open(wanted.value[BITNET_A_PID], 0);
	if (v->target_fd < 0) {
		snprintf(v->message, sizeof(v->message), "process %llu: %s",
			 (unsigned long long)wanted.value[BITNET_A_PID], strerror(errno));
		return 0;
	}
	ret = take_snapshot(v, err);
	if (ret || !top_same(SNAPSHOT_FILES, &v->selected, &wanted)) {
		snprintf(v->message, sizeof(v->message), "it has gone already");
		stop_asking(v);
		return ret;
	}
	v->target = wanted;
	v->asking = ASK_SIGNAL;
	return 0;
}

static void send_signal(struct view *v)
{
	unsigned long long pid = v->target.value[BITNET_A_PID];

	if (pidfd_send_signal(v->target_fd, SIGINT, NULL, 0))
		snprintf(v->message, sizeof(v->message), "process %llu: %s", pid, strerror(errno));
	else
		snprintf(v->message, sizeof(v->message), "SIGINT was sent to %llu", pid);
}

static void take_answer(struct view *v)
{
	uint64_t ppm;

	if (v->asking == ASK_FILTER) {
		top_filter_parse(&v->order.filter, v->input);
		v->cursor = v->first = 0;
	} else if (args_ppm(v->input, &ppm)) {
		snprintf(v->message, sizeof(v->message), "'%s' is not a number of seconds",
			 v->input);
	} else {
		set_interval(v, ppm / 1000);
	}
}

static void edit_answer(struct view *v, int key)
{
	size_t len = strlen(v->input);

	if (key == KEY_BACKSPACE || key == 127 || key == '\b') {
		/* the whole of a character */
		while (len && (v->input[--len] & 0xc0) == 0x80)
			;
		v->input[len] = '\0';
	} else if (key == KEY_CTRL('u')) {
		v->input[0] = '\0';
	} else if (key >= ' ' && key <= 0xff && len + 1 < sizeof(v->input)) {
		v->input[len] = key;
		v->input[len + 1] = '\0';
	}
}

static void answer_key(struct view *v, int key)
{
	if (v->asking == ASK_SIGNAL) {
		if (key == 'y' || key == 'Y')
			send_signal(v);
		stop_asking(v);
	} else if (key == '\n' || key == '\r' || key == KEY_ENTER) {
		take_answer(v);
		stop_asking(v);
	} else if (key == ESCAPE_KEY) {
		stop_asking(v);
	} else {
		edit_answer(v, key);
	}
}

/* Keys that move the cursor. Return: false if this is none. */
static bool cursor_key(struct view *v, int key)
{
	switch (key) {
	case KEY_UP:
		move_cursor(v, -1);
		return true;
	case KEY_DOWN:
		move_cursor(v, 1);
		return true;
	case KEY_PPAGE:
		move_cursor(v, -(long)page());
		return true;
	case KEY_NPAGE:
		move_cursor(v, page());
		return true;
	case KEY_HOME:
		move_cursor(v, -(long)v->cursor);
		return true;
	case KEY_END:
		move_cursor(v, v->frame.n);
		return true;
	default:
		return false;
	}
}

static int command_key(struct view *v, int key, struct bitnet_error *err)
{
	switch (key) {
	case 'q':
		v->done = true;
		break;
	case '?':
	case 'h':
	case KEY_F(1):
		v->help = true;
		break;
	case '\t':
		select_pane(v, (v->order.list + 1) % SNAPSHOT_LISTS);
		break;
	case '1' ... '0' + SNAPSHOT_LISTS:
		select_pane(v, key - '1');
		break;
	case '<':
		sort_by_neighbour(v, -1);
		break;
	case '>':
		sort_by_neighbour(v, 1);
		break;
	case 'r':
		v->reverse[v->order.list] = !v->reverse[v->order.list];
		break;
	case '/':
		ask(v, ASK_FILTER, "");
		break;
	case 'd':
		ask(v, ASK_INTERVAL, "");
		break;
	case '+':
		set_interval(v, 2ULL * v->interval_ms);
		break;
	case '-':
		set_interval(v, v->interval_ms / 2);
		break;
	case ' ':
	case 'p':
		v->paused = !v->paused;
		break;
	case 'k':
		return ask_for_signal(v, err);
	}
	return 0;
}

static int on_key(struct view *v, int key, struct bitnet_error *err)
{
	int ret = 0;

	if (key == KEY_RESIZE)
		return arrange(v, err);
	if (key == KEY_CTRL('l')) {
		clearok(curscr, TRUE);
		return 0;
	}
	v->message[0] = '\0';
	if (v->help)
		v->help = false;
	else if (v->asking)
		answer_key(v, key);
	else if (!cursor_key(v, key))
		ret = command_key(v, key, err);
	return ret ? ret : arrange(v, err);
}

/* ---- the loop ---------------------------------------------------------------------------------- */

static int wait_ms(const struct view *v)
{
	int64_t left = v->next_ms - now_ms();

	if (v->paused || v->over)
		return -1;
	return left > 0 ? left : 0;
}

/* Waits for a key, a signal or the time of the next snapshot, and does what it asks for. */
static int turn(struct view *v, struct bitnet_error *err)
{
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
	int key, ret = 0;

	draw(v);
	if (poll(&p, 1, wait_ms(v)) < 0 && errno != EINTR)
		return bitnet_error_set(err, errno, "terminal: %s", strerror(errno));
	if (interrupt_pending())
		return -EINTR;
	/* also without input: a new size of the terminal comes as a key */
	while (!ret && !v->done && (key = getch()) != ERR)
		ret = on_key(v, key, err);
	if (!ret && p.revents & (POLLHUP | POLLERR | POLLNVAL))
		return bitnet_error_set(err, EIO, "the terminal has gone");
	if (!ret && !v->done && !v->paused && !v->over && now_ms() >= v->next_ms)
		ret = take_snapshot(v, err);
	return interrupt_pending() ? -EINTR : ret;
}

static void start_screen(struct view *v)
{
	set_escdelay(ESCAPE_DELAY_MS);
	start_colors(v);
	cbreak();
	noecho();
	keypad(stdscr, TRUE);
	nodelay(stdscr, TRUE);
}

int top_view_run(struct top_source *source, const struct top_order *order,
		 unsigned int interval_ms, struct bitnet_error *err)
{
	struct view v = { .source = source, .order = *order, .target_fd = -1 };
	SCREEN *screen;
	int ret;

	for (int i = 0; i < SNAPSHOT_LISTS; i++)
		v.column[i] = top_panes[i].sort;
	v.column[order->list] = order->column;
	v.reverse[order->list] = order->reverse;
	set_interval(&v, interval_ms);
	/* before curses looks: it leaves the signals alone for which there is a handler */
	interrupt_catch(true);
	screen = newterm(NULL, stdout, stdin);
	if (!screen)
		return bitnet_error_set(err, EOPNOTSUPP, "curses does not know the terminal '%s'",
					getenv("TERM"));
	start_screen(&v);
	if (v.interval_ms > FIRST_INTERVAL_MS)
		v.next_ms = now_ms() + FIRST_INTERVAL_MS;
	ret = arrange(&v, err);
	while (!ret && !v.done)
		ret = turn(&v, err);
	stop_asking(&v);
	endwin();
	delscreen(screen);
	top_frame_free(&v.frame);
	return ret;
}
