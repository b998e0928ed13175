// SPDX-License-Identifier: GPL-2.0
/*
 * bitnet_client.c - a sample in-kernel client: generates text when it is loaded
 *
 *   insmod bitnet_client.ko model=NAME tokens=1,2,3 n=16
 *
 * runs a GENERATE job on the shared model NAME, and offers the tokens in debugfs, bitnet_client/tokens: one
 * line each, "index token logprob". Then it rewinds the session and runs the job again, which must give the
 * same tokens.
 */
#include <linux/debugfs.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#include <bitnet_api.h>

#define MAX_PROMPT	64
#define MAX_TOKENS	256

static char *model = "demo";
module_param(model, charp, 0444);
MODULE_PARM_DESC(model, "name of a shared model");

static unsigned int tokens[MAX_PROMPT] = { 1 };
static unsigned int n_tokens = 1;
module_param_array(tokens, uint, &n_tokens, 0444);
MODULE_PARM_DESC(tokens, "token ids of the prompt");

static unsigned int n = 16;
module_param(n, uint, 0444);
MODULE_PARM_DESC(n, "tokens to generate");

struct output {
	unsigned int count;
	u32 token[MAX_TOKENS];
	s32 logprob[MAX_TOKENS];
};

static struct output *first, *second;
static struct dentry *dir;

static int keep(const struct bitnet_ring_entry *entry, void *arg)
{
	struct output *out = arg;

	if (out->count == MAX_TOKENS)
		return -ENOSPC;
	out->token[out->count] = entry->token;
	out->logprob[out->count] = entry->logprob;
	out->count++;
	return 0;
}

static int generate(struct bitnet_client *client, struct output *out)
{
	struct bitnet_job job = {
		.kind = BITNET_JOB_GENERATE,
		.input_count = n_tokens,
		.max_tokens = n,
	};
	struct bitnet_ring_entry final;
	int err;

	err = bitnet_job_run(client, &job, tokens, keep, out, &final);
	if (!err && final.n_tokens != out->count)
		err = -EIO;
	return err;
}

static int run(void)
{
	struct bitnet_client *client = bitnet_session_open(model, n_tokens + n);
	int err;

	if (IS_ERR(client))
		return PTR_ERR(client);
	err = generate(client, first);
	if (!err)
		err = bitnet_session_rewind(client, 0);
	if (!err)
		err = generate(client, second);
	bitnet_session_close(client);
	if (!err && memcmp(first, second, sizeof(*first)))
		err = -EIO;
	return err;
}

static int tokens_show(struct seq_file *m, void *unused)
{
	for (unsigned int i = 0; i < first->count; i++)
		seq_printf(m, "%u %u %d\n", i, first->token[i], first->logprob[i]);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(tokens);

static int __init client_init(void)
{
	int err = -ENOMEM;

	first = kzalloc(sizeof(*first), GFP_KERNEL);
	second = kzalloc(sizeof(*second), GFP_KERNEL);
	if (!first || !second)
		goto out;
	err = run();
	if (err)
		goto out;
	dir = debugfs_create_dir("bitnet_client", NULL);
	debugfs_create_file("tokens", 0400, dir, NULL, &tokens_fops);
	return 0;
out:
	kfree(first);
	kfree(second);
	return err;
}

static void __exit client_exit(void)
{
	debugfs_remove(dir);
	kfree(first);
	kfree(second);
}

module_init(client_init);
module_exit(client_exit);

MODULE_DESCRIPTION("Sample client of bitnet.ko");
MODULE_LICENSE("GPL");
