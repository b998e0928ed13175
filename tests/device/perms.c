// SPDX-License-Identifier: GPL-2.0
/* perms.c - who may open the device: its mode and group decide, as they do for any file */
#include "device.h"

static int try_open(void *arg)
{
	const gid_t *group = arg;
	int fd;

	t_drop_privileges(T_UID_NOBODY, *group);
	fd = t_open_flags(O_RDWR);
	return fd < 0 ? -fd : 0;
}

static int try_chmod(void *arg)
{
	(void)arg;
	t_drop_privileges(1000, T_GID_BITNET);
	return chmod(BITNET_DEVICE_PATH, 0666) ? errno : 0;
}

/* In a user namespace of his own, a user is root of nothing here. */
static int try_userns(void *arg)
{
	struct t_image *image = arg;
	int fd, err;

	t_drop_privileges(1000, T_GID_BITNET);
	if (unshare(CLONE_NEWUSER))
		return 77;
	fd = t_open_flags(O_RDWR);
	if (fd < 0)
		return 1;
	err = t_model_load(fd, image, BITNET_MODEL_F_SHARED, "userns", NULL);
	if (err != -EPERM)
		return 2;
	return t_model_unload(fd, "userns") == -EPERM ? 0 : 3;
}

int main(void)
{
	struct t_leaks before = t_leaks_start();
	gid_t none = 0, bitnet = T_GID_BITNET, other = 65534;
	struct t_image image = t_image_random(&t_tiny);
	struct stat st;
	int result;

	is(stat(BITNET_DEVICE_PATH, &st), 0, "the device is there");
	ok(S_ISCHR(st.st_mode), "a character device");
	is(st.st_mode & 0777, 0660, "mode 0660");
	is(st.st_uid, 0, "owned by root");
	is(st.st_gid, T_GID_BITNET, "group bitnet (by the guest's udev rule)");
	is(t_in_child(try_open, &none), EACCES, "nobody may not open it");
	is(t_in_child(try_open, &other), EACCES, "nor in another group");
	is(t_in_child(try_open, &bitnet), 0, "in its group he may");
	is(t_in_child(try_chmod, NULL), EPERM, "its mode is root's business");
	result = t_in_child(try_userns, &image);
	if (result == 77)
		skip("no user namespaces here");
	else
		is(result, 0, "root of a user namespace has no more rights than before");
	ok(t_leaks_none(&before), "nothing is left");
	return done();
}
