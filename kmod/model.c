// SPDX-License-Identifier: GPL-2.0
/*
 * model.c - loaded images: made from a process' memory, found by id or name, gone with the last
 * reference
 *
 * The image's structure (header, tensor table, scales) is copied and checked once. The rest is read
 * in place through a read-only mapping of the pinned pages, and is hostile for ever: the engine
 * makes do with any bytes.
 */
#include <linux/capability.h>
#include <linux/mm.h>
#include <linux/nospec.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "bitnet.h"
#include "trace.h"

/* Ids of models that the file itself has loaded carry this mark: their pins count as the file's. */
#define LOADED_HERE	XA_MARK_1

static DEFINE_MUTEX(bitnet_models_lock);
static LIST_HEAD(models);

static void model_destroy(struct kref *ref)
{
	struct bitnet_model *model = container_of(ref, struct bitnet_model, ref);

	if (!list_empty(&model->node)) {
		mutex_lock(&bitnet_models_lock);
		list_del(&model->node);
		mutex_unlock(&bitnet_models_lock);
		bitnet_event_model(model, false);
	}
	bitnet_big_free(model->scratch, model->scratch_bytes);
	kvfree(model->chunks);
	vunmap(model->base);
	if (model->pins)
		bitnet_pins_destroy(model->pins);
	kvfree(model->layers);
	/* Its step still has the token ids of the last rows. */
	kfree_sensitive(model);
}

/** bitnet_model_put() - give a reference back. Context: no locks held; may sleep */
void bitnet_model_put(struct bitnet_model *model)
{
	kref_put(&model->ref, model_destroy);
}

/*
 * bitnet_model_get() - find a model of a file and take a reference. Return: NULL if there is none
 */
struct bitnet_model *bitnet_model_get(struct bitnet_file *file, u32 id)
{
	struct bitnet_model *model;

	if (id > BITNET_FILE_MODELS)
		return NULL;
	id = array_index_nospec(id, BITNET_FILE_MODELS + 1);
	xa_lock(&file->models);
	model = xa_load(&file->models, id);
	if (model)
		kref_get(&model->ref);
	xa_unlock(&file->models);
	return model;
}

static struct bitnet_model *name_lookup(const char *name)
{
	struct bitnet_model *model;

	lockdep_assert_held(&bitnet_models_lock);
	list_for_each_entry(model, &models, node)
		if (model->flags & BITNET_MODEL_F_SHARED && !strcmp(model->name, name))
			return model;
	return NULL;
}

/** bitnet_model_find() - find a shared model and take a reference. Return: NULL if there is none */
struct bitnet_model *bitnet_model_find(const char *name)
{
	struct bitnet_model *model;

	mutex_lock(&bitnet_models_lock);
	model = name_lookup(name);
	if (model && model->named)
		kref_get(&model->ref);
	else
		model = NULL;
	mutex_unlock(&bitnet_models_lock);
	return model;
}

static int parse(struct bitnet_model *model, const struct bitnet_image_header *hdr)
{
	u32 n = hdr->tensor_count;
	struct bitnet_image_tensor *table;
	int err;

	model->layers = kvcalloc(hdr->n_layers, sizeof(*model->layers),
				 GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	table = kvmalloc_array(n, sizeof(*table), GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	err = -ENOMEM;
	if (!model->layers || !table)
		goto out;
	/* bn_image_check_header() has found the table inside the image. */
	memcpy(table, model->base + hdr->tensor_offset, n * sizeof(*table));
	err = bitnet_errno(bn_model_parse(&model->core, model->layers, hdr, table, model->base,
					  model->bytes, NULL));
out:
	kvfree(table);
	return err;
}

static bool in_one_piece(struct page **pages, unsigned long n)
{
	for (unsigned long i = 1; i < n; i++)
		if (page_to_pfn(pages[i]) != page_to_pfn(pages[0]) + i)
			return false;
	return true;
}

/*
 * Where the loader got huge pages, the kernel's own map of memory is a shorter way to them than the
 * small pages of vmap(). It is writable, but nothing here writes.
 */
static int find_chunks(struct bitnet_model *model)
{
	const unsigned long n_pages = model->pins->n_pages;
	const unsigned long per_chunk = BN_CHUNK_BYTES >> PAGE_SHIFT;

	model->chunks = kvcalloc(DIV_ROUND_UP(n_pages, per_chunk), sizeof(*model->chunks),
				 GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!model->chunks)
		return -ENOMEM;
	for (unsigned long at = 0; at < n_pages; at += per_chunk) {
		struct page **pages = model->pins->pages + at;
		unsigned long n = min(per_chunk, n_pages - at);

		if (!PageHighMem(pages[0]) && in_one_piece(pages, n)) {
			model->chunks[at / per_chunk] = page_address(pages[0]);
			model->chunk_bytes += n << PAGE_SHIFT;
		}
		cond_resched();
	}
	if (!model->chunk_bytes) {
		kvfree(model->chunks);
		model->chunks = NULL;
	}
	return 0;
}

/* Pins, maps, checks. The model is in no list yet. */
static struct bitnet_model *model_create(struct bitnet_user *user,
					 const struct bitnet_model_load *u)
{
	struct bitnet_image_header hdr;
	struct bitnet_model *model;
	enum bn_err bad;
	int err;

	if (u->length < sizeof(hdr))
		return ERR_PTR(-ENOEXEC);
	if (copy_from_user(&hdr, u64_to_user_ptr(u->addr), sizeof(hdr)))
		return ERR_PTR(-EFAULT);
	bad = bn_image_check_header(&hdr, u->length);
	if (bad)
		return ERR_PTR(bad == BN_EMAGIC ? -ENOEXEC : -EBADMSG);
	if (!PAGE_ALIGNED(u->length))
		return ERR_PTR(-EBADMSG);

	model = kzalloc(sizeof(*model), GFP_KERNEL_ACCOUNT);
	if (!model)
		return ERR_PTR(-ENOMEM);
	kref_init(&model->ref);
	INIT_LIST_HEAD(&model->node);
	model->flags = u->flags;
	model->uid = current_uid();
	strscpy(model->name, u->name, sizeof(model->name));
	model->bytes = u->length;

	model->pins = bitnet_pins_create(user, u->addr, u->length);
	if (IS_ERR(model->pins)) {
		err = PTR_ERR(model->pins);
		model->pins = NULL;
		goto out;
	}
	model->base = vmap(model->pins->pages, model->pins->n_pages, VM_MAP, PAGE_KERNEL_RO);
	err = model->base ? 0 : -ENOMEM;
	if (err)
		goto out;
	err = parse(model, &hdr);
	if (!err)
		err = find_chunks(model);
	if (err)
		goto out;
	model->core.chunks = (const u8 *const *)model->chunks;
	model->scratch_bytes = bn_scratch_bytes(&model->core);
	model->scratch = bitnet_big_alloc(model->scratch_bytes);
	err = model->scratch ? 0 : -ENOMEM;
	if (err)
		goto out;
	bn_step_init(&model->step, &model->core, bitnet.ops, model->scratch);
	model->step.dense = !bitnet.sparse;
	bn_costs_guess(&model->costs, &model->core, bitnet.ops->macs_per_us);
	trace_bitnet_sched_cost(BITNET_COST_LAYER, 0, model->costs.layer[BN_SCHED_SIZES]);
	trace_bitnet_sched_cost(BITNET_COST_LAYERS, 0, model->costs.layers[BN_SCHED_SIZES]);
	trace_bitnet_sched_cost(BITNET_COST_HEAD, 0, model->costs.head[BN_SCHED_SIZES]);
	return model;
out:
	bitnet_model_put(model);
	return ERR_PTR(err);
}

/* Sets an id aside and charges for it; nobody can find it before handle_publish(). */
static int handle_reserve(struct bitnet_file *file, u32 *id)
{
	int err = bitnet_charge(file->user, BITNET_RES_MODELS, 1);

	if (err)
		return err;
	err = xa_alloc(&file->models, id, NULL, XA_LIMIT(1, BITNET_FILE_MODELS),
		       GFP_KERNEL_ACCOUNT);
	if (err) {
		bitnet_uncharge(file->user, BITNET_RES_MODELS, 1);
		return err == -EBUSY ? -EDQUOT : err;
	}
	return 0;
}

static void handle_cancel(struct bitnet_file *file, u32 id)
{
	xa_erase(&file->models, id);
	bitnet_uncharge(file->user, BITNET_RES_MODELS, 1);
}

static void handle_account(struct bitnet_file *file, struct bitnet_model *model, bool loaded,
			   int sign)
{
	atomic_add(sign, &model->handles);
	spin_lock(&bitnet.lock);
	file->n_models += sign;
	if (loaded)
		file->pinned_bytes += sign * (s64)model->bytes;
	spin_unlock(&bitnet.lock);
}

/* The caller's reference becomes the id's. */
static void handle_publish(struct bitnet_file *file, u32 id, struct bitnet_model *model,
			   bool loaded)
{
	handle_account(file, model, loaded, 1);
	xa_lock(&file->models);
	__xa_store(&file->models, id, model, GFP_KERNEL_ACCOUNT);
	if (loaded)
		__xa_set_mark(&file->models, id, LOADED_HERE);
	xa_unlock(&file->models);
}

static int handle_remove(struct bitnet_file *file, u32 id)
{
	struct bitnet_model *model;
	bool loaded = false;

	/* An id that is only set aside looks empty here, and stays. */
	xa_lock(&file->models);
	model = xa_load(&file->models, id);
	if (model) {
		loaded = xa_get_mark(&file->models, id, LOADED_HERE);
		__xa_erase(&file->models, id);
	}
	xa_unlock(&file->models);
	if (!model)
		return -ENOENT;
	handle_account(file, model, loaded, -1);
	bitnet_uncharge(file->user, BITNET_RES_MODELS, 1);
	bitnet_model_put(model);
	return 0;
}

/* Into the list of models; a shared one takes its name, but cannot be found by it yet. */
static int list_insert(struct bitnet_model *model)
{
	int err = 0;

	mutex_lock(&bitnet_models_lock);
	if (model->flags & BITNET_MODEL_F_SHARED && name_lookup(model->name))
		err = -EEXIST;
	else
		list_add_tail(&model->node, &models);
	mutex_unlock(&bitnet_models_lock);
	return err;
}

static void list_remove(struct bitnet_model *model)
{
	mutex_lock(&bitnet_models_lock);
	list_del_init(&model->node);
	mutex_unlock(&bitnet_models_lock);
}

int bitnet_model_load(struct bitnet_call *call)
{
	struct bitnet_model_load *u = call->u;
	struct bitnet_file *file = call->file;
	struct bitnet_model *model;
	u32 id;
	int err;

	if (u->flags & ~__BITNET_MODEL_F_ALL || u->__resv || !PAGE_ALIGNED(u->addr) || !u->length ||
	    u->length > BN_MAX_IMAGE_BYTES)
		return -EINVAL;
	err = bitnet_name_check(u->name, !(u->flags & BITNET_MODEL_F_SHARED));
	if (err)
		return err;
	if (u->flags & BITNET_MODEL_F_SHARED && !capable(CAP_SYS_ADMIN))
		return -EPERM;

	err = handle_reserve(file, &id);
	if (err)
		return err;
	model = model_create(file->user, u);
	if (IS_ERR(model)) {
		err = PTR_ERR(model);
		goto out_id;
	}
	err = list_insert(model);
	if (err)
		goto out_model;
	u->out_model_id = id;
	err = bitnet_respond(call);
	if (err)
		goto out_list;

	/* Before anybody can find it, and unload it. */
	bitnet_event_model(model, true);
	if (model->flags & BITNET_MODEL_F_SHARED) {
		mutex_lock(&bitnet_models_lock);
		kref_get(&model->ref);
		model->named = true;
		mutex_unlock(&bitnet_models_lock);
	}
	handle_publish(file, id, model, true);
	return 0;

out_list:
	list_remove(model);
out_model:
	bitnet_model_put(model);
out_id:
	handle_cancel(file, id);
	return err;
}

int bitnet_model_open(struct bitnet_call *call)
{
	struct bitnet_model_open *u = call->u;
	struct bitnet_file *file = call->file;
	struct bitnet_model *model;
	u32 id;
	int err;

	if (u->flags || u->__resv)
		return -EINVAL;
	err = bitnet_name_check(u->name, false);
	if (err)
		return err;
	model = bitnet_model_find(u->name);
	if (!model)
		return -ENOENT;
	err = handle_reserve(file, &id);
	if (err)
		goto out_model;
	u->out_model_id = id;
	err = bitnet_respond(call);
	if (err)
		goto out_id;
	handle_publish(file, id, model, false);
	return 0;

out_id:
	handle_cancel(file, id);
out_model:
	bitnet_model_put(model);
	return err;
}

int bitnet_model_close(struct bitnet_call *call)
{
	const struct bitnet_model_close *u = call->u;

	if (u->model_id > BITNET_FILE_MODELS)
		return -ENOENT;
	return handle_remove(call->file, array_index_nospec(u->model_id, BITNET_FILE_MODELS + 1));
}

static void unname_locked(struct bitnet_model *model)
{
	lockdep_assert_held(&bitnet_models_lock);
	model->named = false;
	/* MODEL_INFO reads them without the lock. */
	WRITE_ONCE(model->flags, model->flags & ~BITNET_MODEL_F_SHARED);
}

int bitnet_model_unload(struct bitnet_call *call)
{
	const struct bitnet_model_unload *u = call->u;
	struct bitnet_model *model;
	int err;

	if (u->flags)
		return -EINVAL;
	err = bitnet_name_check(u->name, false);
	if (err)
		return err;
	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	mutex_lock(&bitnet_models_lock);
	model = name_lookup(u->name);
	if (model && model->named)
		unname_locked(model);
	else
		model = NULL;
	mutex_unlock(&bitnet_models_lock);
	if (!model)
		return -ENOENT;
	bitnet_model_put(model);
	return 0;
}

int bitnet_model_info(struct bitnet_call *call)
{
	struct bitnet_model_info *u = call->u;
	struct bitnet_model *model;
	u32 id = u->model_id, size = u->size;
	int err;

	model = bitnet_model_get(call->file, id);
	if (!model)
		return -ENOENT;
	*u = (struct bitnet_model_info){
		.size = size,
		.model_id = id,
		.out_flags = READ_ONCE(model->flags),
		.out_packing = model->core.packing == BN_T1 ? BITNET_IMAGE_FMT_T1 :
							      BITNET_IMAGE_FMT_T2,
		.out_digest = model->core.digest,
		.out_image_bytes = model->bytes,
		.out_kv_bytes_per_token = bn_kv_bytes(&model->core, 1),
		.out_n_layers = model->core.n_layers,
		.out_hidden = model->core.hidden,
		.out_ffn = model->core.ffn,
		.out_n_heads = model->core.n_heads,
		.out_n_kv_heads = model->core.n_kv_heads,
		.out_head_dim = model->core.head_dim,
		.out_vocab = model->core.vocab,
		.out_max_ctx = model->core.max_ctx,
	};
	strscpy(u->out_name, model->name, sizeof(u->out_name));
	err = bitnet_respond(call);
	bitnet_model_put(model);
	return err;
}

/** bitnet_models_close() - give all model ids of a file back that nobody can use any more */
void bitnet_models_close(struct bitnet_file *file)
{
	struct bitnet_model *model;
	unsigned long id;

	xa_for_each(&file->models, id, model)
		handle_remove(file, id);
	xa_destroy(&file->models);
}

/**
 * bitnet_models_each() - call a function for each model, until it returns an error
 * @from:	number of the first
 * @fn:		called under bitnet_models_lock
 * @arg:	for @fn
 *
 * Return: number of the model that @fn failed for, or of all.
 */
int bitnet_models_each(unsigned long from, int (*fn)(const struct bitnet_model *m, void *arg),
		       void *arg)
{
	struct bitnet_model *model;
	unsigned long n = 0;

	mutex_lock(&bitnet_models_lock);
	list_for_each_entry(model, &models, node) {
		if (n >= from && fn(model, arg))
			break;
		n++;
	}
	mutex_unlock(&bitnet_models_lock);
	return n;
}

/** bitnet_models_exit() - unload all shared models; no file is open any more */
void bitnet_models_exit(void)
{
	struct bitnet_model *model, *next;
	LIST_HEAD(named);

	mutex_lock(&bitnet_models_lock);
	list_for_each_entry_safe(model, next, &models, node)
		if (!WARN_ON_ONCE(!model->named)) {
			unname_locked(model);
			list_move(&model->node, &named);
		}
	mutex_unlock(&bitnet_models_lock);
	list_for_each_entry_safe(model, next, &named, node)
		bitnet_model_put(model);
}
