// SPDX-License-Identifier: GPL-2.0
/*
 * bitnet_coverage.c - remembers which basic blocks of bitnet.ko were executed
 *
 * gcc calls __sanitizer_cov_trace_pc() at the beginning of each basic block of what is compiled with
 * -fsanitize-coverage=trace-pc. Here it sets a bit for the place that it was called from: the
 * kernel needs neither KCOV nor gcov, and what is remembered outlives the loads of bitnet.ko. The
 * file /sys/kernel/debug/bitnet_coverage has the offsets in the module's text, and in its text for
 * loading.
 */
#include <linux/bitops.h>
#include <linux/debugfs.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/seq_file.h>

#define MOST	(2UL << 20)	/* bytes of text */

struct text {
	const char *name;
	enum mod_mem_type type;
	unsigned long base, bytes;
	unsigned long *seen;
};

static DECLARE_BITMAP(seen_text, MOST);
static DECLARE_BITMAP(seen_init, MOST);

static struct text texts[] = {
	{ .name = "text", .type = MOD_TEXT, .seen = seen_text },
	{ .name = "init", .type = MOD_INIT_TEXT, .seen = seen_init },
};

static struct dentry *file;

void __sanitizer_cov_trace_pc(void);

void notrace __sanitizer_cov_trace_pc(void)
{
	unsigned long ip = _RET_IP_;

	for (int i = 0; i < ARRAY_SIZE(texts); i++) {
		unsigned long at = ip - READ_ONCE(texts[i].base);

		if (at < texts[i].bytes && at < MOST && !test_bit(at, texts[i].seen))
			set_bit(at, texts[i].seen);
	}
}
EXPORT_SYMBOL_GPL(__sanitizer_cov_trace_pc);

static int on_module(struct notifier_block *nb, unsigned long state, void *data)
{
	const struct module *mod = data;

	if (state == MODULE_STATE_COMING && !strcmp(mod->name, "bitnet")) {
		for (int i = 0; i < ARRAY_SIZE(texts); i++) {
			texts[i].bytes = mod->mem[texts[i].type].size;
			WRITE_ONCE(texts[i].base, (unsigned long)mod->mem[texts[i].type].base);
		}
	}
	return NOTIFY_OK;
}

static struct notifier_block notifier = { .notifier_call = on_module };

static int seen_show(struct seq_file *m, void *unused)
{
	unsigned long at;

	for (int i = 0; i < ARRAY_SIZE(texts); i++)
		for_each_set_bit(at, texts[i].seen, MOST)
			seq_printf(m, "%s %lx\n", texts[i].name, at);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(seen);

static int __init coverage_init(void)
{
	file = debugfs_create_file("bitnet_coverage", 0400, NULL, NULL, &seen_fops);
	return register_module_notifier(&notifier);
}

static void __exit coverage_exit(void)
{
	unregister_module_notifier(&notifier);
	debugfs_remove(file);
}

module_init(coverage_init);
module_exit(coverage_exit);

MODULE_DESCRIPTION("Which basic blocks of bitnet.ko were executed");
MODULE_LICENSE("GPL");
