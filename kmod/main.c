// SPDX-License-Identifier: GPL-2.0
/*
 * main.c - loading and unloading
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/mm.h>
#include <linux/module.h>

#include "bitnet.h"

static char *variant = "fastest";
module_param(variant, charp, 0444);
MODULE_PARM_DESC(variant, "SIMD variant: fastest, ref, avx2, avxvnni, avx512vnni, avx512vbmi");

static char *cpus = "";
module_param(cpus, charp, 0444);
MODULE_PARM_DESC(cpus,
		 "CPUs with a worker thread, as a list (default: all but 0 if more than two, else the last)");

module_param_named(sparse, bitnet.sparse, bool, 0444);
MODULE_PARM_DESC(sparse,
		 "read only weights that can matter (default: yes; no is to measure what that is worth)");

static char *policy = "other";
module_param(policy, charp, 0444);
MODULE_PARM_DESC(policy, "scheduling policy of the workers: other, or fifo:N with priority N");

static unsigned long max_pinned_mb;
module_param(max_pinned_mb, ulong, 0444);
MODULE_PARM_DESC(max_pinned_mb,
		 "limit of pinned image memory over all users, MiB (default: 3/4 of RAM)");

static unsigned long max_kv_mb;
module_param(max_kv_mb, ulong, 0444);
MODULE_PARM_DESC(max_kv_mb,
		 "limit of key/value cache memory over all users, MiB (default: half of RAM)");

static unsigned int user_percent = 75;
module_param(user_percent, uint, 0444);
MODULE_PARM_DESC(user_percent,
		 "share of these that one user may have; CAP_SYS_RESOURCE exempts (default: 75)");

static u64 __init limit_bytes(unsigned long mb, u64 by_default)
{
	return mb ? (u64)min(mb, 1UL << 40) << 20 : by_default;
}

static int __init limits_init(void)
{
	u64 ram = (u64)totalram_pages() << PAGE_SHIFT;

	if (!user_percent || user_percent > 100) {
		pr_err("user_percent=%u: not 1 .. 100\n", user_percent);
		return -EINVAL;
	}
	/*
	 * Handles, files and jobs are bounded by the limits of each user; the device has no other.
	 */
	for (int i = 0; i < BITNET_RES_COUNT; i++)
		bitnet.limit[i] = U64_MAX;
	bitnet.limit[BITNET_RES_PINNED_BYTES] = limit_bytes(max_pinned_mb, ram / 4 * 3);
	bitnet.limit[BITNET_RES_KV_BYTES] = limit_bytes(max_kv_mb, ram / 2);

	bitnet.limit_start[BITNET_RES_FILES] = BITNET_USER_FILES;
	bitnet.limit_start[BITNET_RES_MODELS] = BITNET_USER_MODELS;
	bitnet.limit_start[BITNET_RES_SESSIONS] = BITNET_USER_SESSIONS;
	bitnet.limit_start[BITNET_RES_JOBS] = BITNET_USER_JOBS;
	bitnet.limit_start[BITNET_RES_RING_BYTES] = BITNET_USER_RING_BYTES;
	bitnet.limit_start[BITNET_RES_PINNED_BYTES] =
		bitnet.limit[BITNET_RES_PINNED_BYTES] / 100 * user_percent;
	bitnet.limit_start[BITNET_RES_KV_BYTES] =
		bitnet.limit[BITNET_RES_KV_BYTES] / 100 * user_percent;
	bitnet.limit_start[BITNET_RES_REALTIME_PPM] = BITNET_USER_REALTIME_PPM;
	memcpy(bitnet.limit_user, bitnet.limit_start, sizeof(bitnet.limit_user));
	bitnet.batch_floor_ppm = BITNET_BATCH_FLOOR_PPM;
	return 0;
}

static int __init bitnet_init(void)
{
	int err;

	err = limits_init();
	if (err)
		return err;
	bitnet_fpu_init();
	err = bitnet_variant_init(variant);
	if (err)
		return err;
	/*
	 * Unbound: it must not run on the CPUs of the workers only because they have asked for it.
	 */
	bitnet.wq = alloc_workqueue("bitnet", WQ_UNBOUND, 0);
	if (!bitnet.wq)
		return -ENOMEM;
	err = bitnet_job_init();
	if (err)
		goto out_wq;
	err = bitnet_workers_init(cpus, policy);
	if (err)
		goto out_job;
	err = bitnet_netlink_init();
	if (err)
		goto out_workers;
	bitnet_stats_init();
	err = bitnet_dev_init();
	if (err)
		goto out_stats;
	pr_info("version %s, ABI %u, variant %s, workers %u\n", BITNET_MODULE_VERSION,
		BITNET_ABI_VERSION, bitnet.ops->name, bitnet_workers_count());
	return 0;

out_stats:
	bitnet_stats_exit();
	bitnet_netlink_exit();
out_workers:
	bitnet_workers_exit();
out_job:
	bitnet_job_exit();
out_wq:
	destroy_workqueue(bitnet.wq);
	/* Netlink may have been asked to set limits meanwhile. */
	bitnet_users_exit();
	return err;
}

/*
 * No file is open and no client module is there: each holds the module.
 *
 * 1. Nobody can come in: device and debugfs.
 * 2. Stop the workers. A step whose jobs have all been cancelled may have been in flight.
 * 3. Let the work queue free what they have left.
 * 4. Unload the shared models, tell so, and leave netlink.
 * After this nothing of ours is referenced by anybody.
 */
static void __exit bitnet_exit(void)
{
	bitnet_dev_exit();
	bitnet_stats_exit();
	bitnet_workers_exit();
	flush_workqueue(bitnet.wq);
	bitnet_models_exit();
	bitnet_netlink_exit();
	destroy_workqueue(bitnet.wq);
	bitnet_job_exit();
	bitnet_users_exit();
}

module_init(bitnet_init);
module_exit(bitnet_exit);

MODULE_DESCRIPTION("Inference of ternary (BitNet b1.58) language models");
MODULE_VERSION(BITNET_MODULE_VERSION);
MODULE_LICENSE("GPL");
