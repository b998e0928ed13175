// SPDX-License-Identifier: GPL-2.0
/*
 * stats.c - counters: of a file, a session or a user by ioctl, of the device in debugfs
 */
#include <linux/debugfs.h>
#include <linux/log2.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#include "bitnet.h"

static struct dentry *debug_dir;

/** bitnet_bucket() - bucket of a histogram, see BITNET_HIST_BUCKETS */
u32 bitnet_bucket(u64 ns)
{
	return ns < 2 ? 0 : min_t(u32, ilog2(ns), BITNET_HIST_BUCKETS - 1);
}

static void fill_counters(struct bitnet_stats *u, const struct bitnet_counters *count)
{
	u->out_jobs_submitted = count->jobs_submitted;
	u->out_jobs_done = count->jobs_done;
	u->out_jobs_failed = count->jobs_failed;
	u->out_jobs_cancelled = count->jobs_cancelled;
	u->out_tokens_in = count->tokens_in;
	u->out_tokens_out = count->tokens_out;
	u->out_cpu_ns = count->cpu_ns;
	u->out_queue_ns = count->queue_ns;
	u->out_weight_bytes = count->weight_bytes;
	u->out_late = count->late;
	u->out_realtime_tokens = count->realtime_tokens;
	memcpy(u->out_class_cpu_ns, count->class_cpu_ns, sizeof(u->out_class_cpu_ns));
	memcpy(u->out_token_ns, count->token_ns, sizeof(u->out_token_ns));
}

static void fill_limits_locked(struct bitnet_stats *u, const struct bitnet_user *user)
{
	u->out_limit_sessions = bitnet_user_limit_locked(user, BITNET_RES_SESSIONS);
	u->out_limit_jobs = bitnet_user_limit_locked(user, BITNET_RES_JOBS);
	u->out_limit_kv_bytes = bitnet_user_limit_locked(user, BITNET_RES_KV_BYTES);
	u->out_limit_pinned_bytes = bitnet_user_limit_locked(user, BITNET_RES_PINNED_BYTES);
	u->out_limit_realtime_ppm = bitnet_user_limit_locked(user, BITNET_RES_REALTIME_PPM);
	u->out_realtime_ppm = user->used[BITNET_RES_REALTIME_PPM];
}

static void fill_file_locked(struct bitnet_stats *u, const struct bitnet_file *file)
{
	u->out_models = file->n_models;
	u->out_sessions = file->n_sessions;
	u->out_jobs = file->n_jobs;
	u->out_parked = file->n_parked;
	u->out_pinned_bytes = file->pinned_bytes;
	u->out_kv_bytes = file->kv_bytes;
	fill_counters(u, &file->count);
}

/* Jobs that SUBMIT is preparing are among a user's. */
static void fill_user_locked(struct bitnet_stats *u, const struct bitnet_user *user)
{
	u->out_models = user->used[BITNET_RES_MODELS];
	u->out_sessions = user->used[BITNET_RES_SESSIONS];
	u->out_jobs = user->used[BITNET_RES_JOBS];
	u->out_parked = user->n_parked;
	u->out_pinned_bytes = user->used[BITNET_RES_PINNED_BYTES];
	u->out_kv_bytes = user->used[BITNET_RES_KV_BYTES];
	fill_counters(u, &user->count);
}

static void fill_session_locked(struct bitnet_stats *u, const struct bitnet_session *session)
{
	const struct bitnet_counters *count = &session->count;
	const struct bitnet_kjob *job;

	u->out_models = 0;
	u->out_sessions = 0;
	/* That of RUN is in no list. */
	u->out_jobs = count->jobs_submitted - count->jobs_done - count->jobs_failed -
		      count->jobs_cancelled;
	u->out_parked = 0;
	list_for_each_entry(job, &session->jobs, session_node)
		u->out_parked += job->state == BITNET_STATE_PARKED;
	u->out_pinned_bytes = 0;
	u->out_kv_bytes = session->kv_bytes + session->inl_bytes;
	fill_counters(u, count);
}

int bitnet_stats(struct bitnet_call *call)
{
	struct bitnet_stats *u = call->u;
	struct bitnet_file *file = call->file;
	struct bitnet_session *session = NULL;

	if (u->__resv || (u->flags && u->flags != BITNET_STATS_F_SESSION &&
			  u->flags != BITNET_STATS_F_USER))
		return -EINVAL;
	if (u->flags == BITNET_STATS_F_SESSION) {
		session = bitnet_session_get(file, u->session_id);
		if (!session)
			return -ENOENT;
	} else if (u->session_id) {
		return -EINVAL;
	}

	spin_lock(&bitnet.lock);
	if (session)
		fill_session_locked(u, session);
	else if (u->flags == BITNET_STATS_F_USER)
		fill_user_locked(u, file->user);
	else
		fill_file_locked(u, file);
	fill_limits_locked(u, file->user);
	spin_unlock(&bitnet.lock);
	if (session)
		bitnet_session_put(session);
	return bitnet_respond(call);
}

static int variants_show(struct seq_file *m, void *unused)
{
	bitnet_variant_show(m);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(variants);

static void show_histogram(struct seq_file *m, const u64 *buckets)
{
	seq_puts(m, "from_ns count\n");
	for (int i = 0; i < BITNET_HIST_BUCKETS; i++)
		if (buckets[i])
			seq_printf(m, "%llu %llu\n", i ? 1ULL << i : 0, buckets[i]);
}

/* One section in @one_in is longer than what is said, which is too much by an eighth at most. */
static void show_section_share(struct seq_file *m, const char *name, u32 one_in, const u64 *buckets,
			       u64 max_ns)
{
	u64 total = 0, seen = 0;
	u32 i;

	for (i = 0; i < BITNET_SECTION_BUCKETS; i++)
		total += buckets[i];
	for (i = 0; i < BITNET_SECTION_BUCKETS - 1; i++) {
		seen += buckets[i];
		if (seen >= total - total / one_in)
			break;
	}
	seq_printf(m, "%s_ns %llu\n", name, min(bitnet_section_bucket_ns(i + 1) - 1, max_ns));
}

static int sections_show(struct seq_file *m, void *unused)
{
	u64 max_ns, *buckets;

	buckets = kcalloc(BITNET_SECTION_BUCKETS, sizeof(*buckets), GFP_KERNEL_ACCOUNT);
	if (!buckets)
		return -ENOMEM;
	max_ns = bitnet_section_histogram(buckets);
	seq_puts(m, "from_ns count\n");
	for (u32 i = 0; i < BITNET_SECTION_BUCKETS; i++)
		if (buckets[i])
			seq_printf(m, "%llu %llu\n", bitnet_section_bucket_ns(i), buckets[i]);
	show_section_share(m, "p50", 2, buckets, max_ns);
	show_section_share(m, "p99", 100, buckets, max_ns);
	show_section_share(m, "p99.9", 1000, buckets, max_ns);
	seq_printf(m, "max_ns %llu\n", max_ns);
	kfree(buckets);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(sections);

static int tokens_show(struct seq_file *m, void *unused)
{
	u64 buckets[BITNET_HIST_BUCKETS];

	spin_lock(&bitnet.lock);
	memcpy(buckets, bitnet.count.token_ns, sizeof(buckets));
	spin_unlock(&bitnet.lock);
	show_histogram(m, buckets);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(tokens);

struct model_bytes {
	u64 chunks, scratch;
};

static int add_bytes(const struct bitnet_model *model, void *arg)
{
	struct model_bytes *sum = arg;

	sum->chunks += model->chunk_bytes;
	sum->scratch += model->scratch_bytes;
	return 0;
}

static int stats_show(struct seq_file *m, void *unused)
{
	struct bitnet_counters count;
	u64 used[BITNET_RES_COUNT], steps, yields;
	struct model_bytes bytes = {};

	spin_lock(&bitnet.lock);
	count = bitnet.count;
	memcpy(used, bitnet.used, sizeof(used));
	steps = bitnet.steps;
	yields = bitnet.yields;
	spin_unlock(&bitnet.lock);

	bitnet_models_each(0, add_bytes, &bytes);
	seq_printf(m, "workers %u\nfiles %llu\nmodels %llu\nsessions %llu\njobs %llu\n",
		   bitnet_workers_count(), used[BITNET_RES_FILES], used[BITNET_RES_MODELS],
		   used[BITNET_RES_SESSIONS], used[BITNET_RES_JOBS]);
	seq_printf(m, "pinned_bytes %llu\ndirect_bytes %llu\nkv_bytes %llu\nring_bytes %llu\n"
		   "scratch_bytes %llu\n",
		   used[BITNET_RES_PINNED_BYTES], bytes.chunks, used[BITNET_RES_KV_BYTES],
		   used[BITNET_RES_RING_BYTES], bytes.scratch);
	seq_printf(m, "steps %llu\nyields %llu\njobs_submitted %llu\njobs_done %llu\njobs_failed %llu\n"
		   "jobs_cancelled %llu\ntokens_in %llu\ntokens_out %llu\n"
		   "cpu_ns %llu\nqueue_ns %llu\nweight_bytes %llu\n"
		   "late %llu\nrealtime_tokens %llu\n",
		   steps, yields, count.jobs_submitted, count.jobs_done, count.jobs_failed,
		   count.jobs_cancelled, count.tokens_in, count.tokens_out, count.cpu_ns,
		   count.queue_ns, count.weight_bytes, count.late, count.realtime_tokens);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(stats);

/** bitnet_stats_init() - the folder in debugfs. Nothing depends on whether this works */
void bitnet_stats_init(void)
{
	debug_dir = debugfs_create_dir("bitnet", NULL);
	debugfs_create_file("variants", 0400, debug_dir, NULL, &variants_fops);
	debugfs_create_file("sections", 0400, debug_dir, NULL, &sections_fops);
	debugfs_create_file("tokens", 0400, debug_dir, NULL, &tokens_fops);
	debugfs_create_file("stats", 0400, debug_dir, NULL, &stats_fops);
}

void bitnet_stats_exit(void)
{
	debugfs_remove(debug_dir);
}
