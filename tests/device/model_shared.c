// SPDX-License-Identifier: GPL-2.0
/*
 * model_shared.c - a shared model has a name, outlives its file, and goes with its last user
 */
#include "device.h"

#define NAME	"shared-model"

static struct t_image image;

static int as_user(void *arg)
{
	const uint32_t tokens[2] = { 5, 6 };
	static struct t_result result;
	struct bitnet_model_info info;
	struct bitnet_job job;
	uint32_t id, session;
	struct t_ring ring;
	int fd;

	(void)arg;
	t_drop_privileges(1000, T_GID_BITNET);
	fd = t_open_flags(O_RDWR);
	if (fd < 0)
		return 100;
	if (t_model_load(fd, &image, BITNET_MODEL_F_SHARED, "other-name", &id) != -EPERM)
		return 1;
	if (t_model_unload(fd, NAME) != -EPERM)
		return 2;
	/* Whether a name exists is not for everybody to find out by UNLOAD. */
	if (t_model_unload(fd, "no-such-name") != -EPERM)
		return 3;
	if (t_model_open(fd, NAME, &id))
		return 4;
	if (t_model_info(fd, id, &info) || info.out_flags != BITNET_MODEL_F_SHARED)
		return 5;
	if (t_session_open(fd, id, 16, &session))
		return 6;
	t_ring_open(&ring, fd, 8, 0);
	job = t_generate(session, tokens, 2, 3, 1);
	if (t_run(&ring, &job, &result) || result.end.kind != BITNET_ENTRY_DONE || result.n != 3)
		return 7;
	return t_stats(fd).out_pinned_bytes ? 8 : 0;	/* they are the loader's */
}

int main(void)
{
	struct t_leaks before = t_leaks_start();
	long long pages;
	int fd = t_open(), second = t_open();
	struct bitnet_model_info info;
	static struct t_result result;
	const uint32_t tokens[2] = { 5, 6 };
	uint32_t id, other, session;
	struct bitnet_job job;
	struct t_ring ring;

	image = t_image_random(&t_tiny);
	pages = image.length / T_PAGE;

	is(t_model_open(fd, NAME, &id), -ENOENT, "OPEN of a name that nobody loaded");
	is(t_model_unload(fd, NAME), -ENOENT, "UNLOAD of it");
	is(t_model_open(fd, "", &id), -EINVAL, "OPEN of an empty name");
	is(t_model_open(fd, "no good", &id), -EINVAL, "OPEN of a name with a space");
	is(t_model_unload(fd, "no good"), -EINVAL, "UNLOAD of it");

	is(t_model_load(fd, &image, 0, NAME, &id), 0, "a private model may have the label");
	is(t_model_open(second, NAME, &other), -ENOENT, "which is not a name");
	is(t_model_close(fd, id), 0, "MODEL_CLOSE");

	is(t_model_load(fd, &image, BITNET_MODEL_F_SHARED, NAME, &id), 0, "LOAD shared");
	is(t_model_load(second, &image, BITNET_MODEL_F_SHARED, NAME, &other), -EEXIST,
	   "the name is taken");
	is(t_pinned_until(before.pinned + pages) - before.pinned, pages, "one image is pinned");
	is(t_model_open(second, NAME, &other), 0, "another file opens it");
	is(t_model_info(second, other, &info), 0, "MODEL_INFO there");
	is(info.out_flags, BITNET_MODEL_F_SHARED, "says that it is shared");
	is_str(info.out_name, NAME, "and its name");
	is(t_pinned_until(before.pinned + pages) - before.pinned, pages,
	   "still one image is pinned");
	is(t_in_child(as_user, NULL), 0,
	   "an ordinary user can open and use it, not load or unload");

	close(fd);
	is(t_model_close(second, other), 0, "the last handle is closed");
	is(t_pinned_until(before.pinned + pages) - before.pinned, pages, "the name alone keeps it");
	is(t_model_open(second, NAME, &other), 0, "OPEN again");

	is(t_session_open(second, other, 16, &session), 0, "a session");
	t_ring_open(&ring, second, 8, 0);
	is(t_model_unload(second, NAME), 0, "UNLOAD while it is open");
	is(t_model_unload(second, NAME), -ENOENT, "the name is gone");
	fd = t_open();
	is(t_model_open(fd, NAME, &id), -ENOENT, "for everybody");
	is(t_model_info(second, other, &info), 0, "the handle goes on");
	job = t_generate(session, tokens, 2, 3, 1);
	is(t_run(&ring, &job, &result), 0, "and computes");
	is(result.n, 3, "as before");

	is(t_model_load(fd, &image, BITNET_MODEL_F_SHARED, NAME, &id), 0,
	   "the name can be used again");
	is(t_pinned_until(before.pinned + 2 * pages) - before.pinned, 2 * pages,
	   "for a second image");
	is(t_model_close(second, other), 0, "the first one's handle is closed");
	is(t_pinned_until(before.pinned + 2 * pages) - before.pinned, 2 * pages,
	   "its session keeps it");
	is(t_model_info(second, other, &info), -ENOENT, "though it has no id any more");
	job = t_generate(session, tokens, 1, 1, 2);
	is(t_run(&ring, &job, &result), 0, "and still computes");
	is(t_session_close(second, session), 0, "the session is closed");
	is(t_pinned_until(before.pinned + pages) - before.pinned, pages, "and its image is gone");
	is(t_model_unload(fd, NAME), 0, "UNLOAD");
	close(fd);
	t_ring_unmap(&ring);
	close(second);
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}
