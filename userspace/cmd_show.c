// SPDX-License-Identifier: GPL-2.0
/* cmd_show.c - what is in a model file, and what is wrong with it */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bitnet.h"
#include "bitnetctl.h"
#include "interrupt.h"
#include "model.h"

#define LIST_VALUES	4	/* elements of an array that are shown */
#define TEXT_BYTES	72	/* bytes of a string that are shown */

struct show_values {
	bool tensors, fast;
	struct file_args file;
};

const struct arg show_args[] = {
	ARG("tensors", 0, ARG_FLAG, struct show_values, tensors, NULL, "list the tensors too"),
	ARG("fast", 0, ARG_FLAG, struct show_values, fast, NULL,
	    "metadata only: do not read and check the weights"),
	FILE_ARGS(struct show_values, file),
	{ 0 }
};

/* ---- metadata as JSON ------------------------------------------------------------------------ */

static json_t *number_json(const struct bitnet_gguf_array *a, uint64_t i)
{
	int64_t integer;
	double real;

	if (a->type == BITNET_GGUF_BOOL && !bitnet_gguf_array_i64(a, i, &integer))
		return json_boolean(integer);
	if (!bitnet_gguf_array_i64(a, i, &integer))
		return json_integer(integer);
	/* NaN and infinity have no JSON */
	if (!bitnet_gguf_array_f64(a, i, &real)) {
		json_t *j = json_real(real);

		return j ? j : json_null();
	}
	return json_null();
}

/* Arrays are vocabularies, mostly: their type, size and first elements tell enough. */
static json_t *array_json(const struct bitnet_gguf_array *a)
{
	struct bitnet_gguf_array rest = *a;
	struct bitnet_gguf_str s;
	json_t *first = json_array();

	for (uint64_t i = 0; i < a->count && i < LIST_VALUES; i++) {
		if (a->type != BITNET_GGUF_STRING)
			json_array_append_new(first, number_json(a, i));
		else if (bitnet_gguf_array_next_str(&rest, &s))
			json_array_append_new(first, out_string(s.s, s.len));
	}
	return json_pack("{s:s, s:I, s:o}", "type", bitnet_gguf_type_name(a->type), "count",
			 (json_int_t)a->count, "first", first);
}

static json_t *value_json(const struct bitnet_gguf_kv *kv)
{
	struct bitnet_gguf_array a = kv->array;
	struct bitnet_gguf_str s;

	if (kv->type == BITNET_GGUF_ARRAY)
		return array_json(&kv->array);
	if (kv->type == BITNET_GGUF_STRING)
		return bitnet_gguf_array_next_str(&a, &s) ? out_string(s.s, s.len) : json_null();
	return number_json(&kv->array, 0);
}

static json_t *metadata_json(const struct bitnet_gguf *g)
{
	json_t *j = json_object(), *key;
	const struct bitnet_gguf_kv *kv;

	for (size_t i = 0; i < bitnet_gguf_n_kvs(g); i++) {
		kv = bitnet_gguf_kv_at(g, i);
		key = out_string(kv->key.s, kv->key.len);
		json_object_set_new(j, json_string_value(key) ? json_string_value(key) : "?",
				    value_json(kv));
		json_decref(key);
	}
	return j;
}

static json_t *shape_json(const struct bitnet_image_header *h)
{
	return json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:s, s:b, s:b}", "layers",
			 (int)h->n_layers, "hidden", (int)h->hidden, "ffn", (int)h->ffn, "heads",
			 (int)h->n_heads, "kv_heads", (int)h->n_kv_heads, "head_dim",
			 (int)h->head_dim, "vocab", (int)h->vocab, "context", (int)h->max_ctx,
			 "activation", h->activation == BITNET_ACT_SILU ? "silu" : "relu2",
			 "sub_norms", !!(h->flags & BITNET_IMAGE_F_SUB_NORMS), "tied_head",
			 !!(h->flags & BITNET_IMAGE_F_TIED));
}

static json_t *gguf_tensors_json(const struct bitnet_gguf *g)
{
	const struct bitnet_gguf_tensor *t;
	json_t *list = json_array(), *dims;

	for (size_t i = 0; i < bitnet_gguf_n_tensors(g); i++) {
		t = bitnet_gguf_tensor_at(g, i);
		dims = json_array();
		for (uint32_t d = t->n_dims; d--; )
			json_array_append_new(dims, json_integer(t->dims[d]));
		json_array_append_new(list, json_pack("{s:o, s:s, s:o, s:I}", "name",
						      out_string(t->name, strlen(t->name)), "type",
						      bitnet_tensor_type_name(t->type), "shape",
						      dims, "bytes", (json_int_t)t->n_bytes));
	}
	return list;
}

static const char *role_name(uint32_t role)
{
	static const char *const names[BITNET_ROLE_COUNT] = {
		[BITNET_ROLE_TOKEN_EMBD] = "token_embd",
		[BITNET_ROLE_TOKEN_EMBD_LOW] = "token_embd_low",
		[BITNET_ROLE_TOKEN_EMBD_SCALE] = "token_embd_scale",
		[BITNET_ROLE_OUTPUT] = "output",
		[BITNET_ROLE_OUTPUT_LOW] = "output_low",
		[BITNET_ROLE_OUTPUT_SCALE] = "output_scale",
		[BITNET_ROLE_OUTPUT_NORM] = "output_norm",
		[BITNET_ROLE_ROPE_FREQ] = "rope_freq",
		[BITNET_ROLE_ATTN_Q] = "attn_q",
		[BITNET_ROLE_ATTN_K] = "attn_k",
		[BITNET_ROLE_ATTN_V] = "attn_v",
		[BITNET_ROLE_ATTN_OUT] = "attn_output",
		[BITNET_ROLE_FFN_GATE] = "ffn_gate",
		[BITNET_ROLE_FFN_UP] = "ffn_up",
		[BITNET_ROLE_FFN_DOWN] = "ffn_down",
		[BITNET_ROLE_ATTN_NORM] = "attn_norm",
		[BITNET_ROLE_ATTN_SUB_NORM] = "attn_sub_norm",
		[BITNET_ROLE_FFN_NORM] = "ffn_norm",
		[BITNET_ROLE_FFN_SUB_NORM] = "ffn_sub_norm",
	};

	return role < BITNET_ROLE_COUNT && names[role] ? names[role] : "?";
}

static const char *format_name(uint32_t format)
{
	static const char *const names[] = {
		"?", "F32", "?", "F64", "T2", "T1", "T2_COLUMNS", "T1_COLUMNS", "?",
		"HIGH6", "LOW10",
	};

	return format < sizeof(names) / sizeof(names[0]) ? names[format] : "?";
}

static json_t *image_tensors_json(const struct bitnet_image *image)
{
	const struct bitnet_image_header *h = image->header;
	struct bitnet_image_tensor t;
	json_t *list = json_array();
	char name[64];

	for (uint32_t i = 0; i < h->tensor_count; i++) {
		memcpy(&t, (const char *)image->base + h->tensor_offset + i * sizeof(t), sizeof(t));
		if (t.role < BITNET_ROLE_LAYER)
			snprintf(name, sizeof(name), "%s", role_name(t.role));
		else
			snprintf(name, sizeof(name), "blk.%u.%s", t.layer, role_name(t.role));
		json_array_append_new(list,
				      json_pack("{s:s, s:s, s:[i, i], s:I}", "name", name, "type",
						format_name(t.format), "shape", (int)t.rows,
						(int)t.cols, "bytes", (json_int_t)t.bytes));
	}
	return list;
}

/* ---- traps ----------------------------------------------------------------------------------- */

static void note(json_t *list, const char *text)
{
	json_array_append_new(list, out_string(text, strlen(text)));
}

/* What other loaders are known to stumble over in such files, and what is done about it here. */
static json_t *notes_json(const struct bitnet_model_file *f, const struct file_args *args)
{
	const struct bitnet_image_header *h = f->image.header;
	const struct bitnet_tokenizer *tok = f->tokenizer;
	const uint32_t *stops;
	struct bitnet_gguf_str arch = { 0 };
	json_t *list = json_array();
	char text[256], key[128];
	size_t n;

	bitnet_gguf_get_str(f->gguf, "general.architecture", &arch);
	snprintf(key, sizeof(key), "%.*s.hidden_activation", (int)(arch.len < 64 ? arch.len : 64),
		 arch.s ? arch.s : "");
	if (h && !args->activation && !bitnet_gguf_kv_find(f->gguf, key)) {
		snprintf(text, sizeof(text),
			 "the file does not name its activation: %s, by architecture and shape",
			 h->activation == BITNET_ACT_SILU ? "SiLU" : "squared ReLU");
		note(list, text);
	}
	if (h && h->flags & BITNET_IMAGE_F_TIED)
		note(list, "no output matrix: the head is the token embedding");
	if (!strcmp(bitnet_tokenizer_model(tok), "gpt2") &&
	    !bitnet_gguf_kv_find(f->gguf, "tokenizer.ggml.pre")) {
		snprintf(text, sizeof(text),
			 "the file does not name its pre-tokenizer: taken for %s (--pre overrides)",
			 bitnet_tokenizer_pre(tok));
		note(list, text);
	}
	if (bitnet_tokenizer_warning(tok))
		note(list, bitnet_tokenizer_warning(tok));
	if (f->chat == BITNET_CHAT_BITNET &&
	    bitnet_gguf_kv_find(f->gguf, "tokenizer.chat_template"))
		note(list,
		     "the chat template in the file is not the one the model was trained with: 'bitnet' is used instead");
	n = bitnet_tokenizer_stops(tok, &stops);
	if (n > 1) {
		snprintf(text, sizeof(text), "%zu tokens end a text, the file names one", n);
		note(list, text);
	}
	if (h && h->vocab != bitnet_tokenizer_n_tokens(tok)) {
		snprintf(text, sizeof(text),
			 "the model has %u rows for %u tokens of the vocabulary", h->vocab,
			 bitnet_tokenizer_n_tokens(tok));
		note(list, text);
	}
	return list;
}

static json_t *tokenizer_json(const struct bitnet_model_file *f)
{
	const struct bitnet_tokenizer *tok = f->tokenizer;
	const uint32_t *stops;
	json_t *j, *list = json_array();
	size_t n = bitnet_tokenizer_stops(tok, &stops);

	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, json_integer(stops[i]));
	j = json_pack("{s:s, s:s, s:i, s:b, s:o, s:s}", "model", bitnet_tokenizer_model(tok), "pre",
		      bitnet_tokenizer_pre(tok), "tokens", (int)bitnet_tokenizer_n_tokens(tok),
		      "add_bos", bitnet_tokenizer_add_bos(tok), "stop_tokens", list,
		      "chat_template", bitnet_chat_name(f->chat));
	if (bitnet_tokenizer_bos(tok) != BITNET_TOKEN_NONE)
		json_object_set_new(j, "bos", json_integer(bitnet_tokenizer_bos(tok)));
	if (bitnet_tokenizer_eos(tok) != BITNET_TOKEN_NONE)
		json_object_set_new(j, "eos", json_integer(bitnet_tokenizer_eos(tok)));
	return j;
}

/* ---- plain ----------------------------------------------------------------------------------- */

static void heading(const char *text)
{
	printf("\n%s%s%s\n", out_style(STYLE_BOLD), text, out_style(STYLE_PLAIN));
}

/* Strings of a file on a terminal: one line, nothing that moves the cursor. */
static void print_text(const char *s)
{
	size_t len = strlen(s), shown = len;

	if (shown > TEXT_BYTES) {
		shown = TEXT_BYTES;
		while (shown && (s[shown] & 0xc0) == 0x80)
			shown--;
	}
	for (size_t i = 0; i < shown; i++) {
		if (s[i] == '\n')
			printf("\\n");
		else
			putchar((unsigned char)s[i] < 0x20 || s[i] == 0x7f ? '?' : s[i]);
	}
	if (shown < len)
		printf("... (%zu bytes)", len);
}

static void print_value(const json_t *v)
{
	const json_t *e;
	size_t i;

	switch (json_typeof(v)) {
	case JSON_STRING:
		print_text(json_string_value(v));
		break;
	case JSON_INTEGER:
		printf("%" JSON_INTEGER_FORMAT, json_integer_value(v));
		break;
	case JSON_REAL:
		printf("%g", json_real_value(v));
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		printf("%s", json_is_true(v) ? "true" : "false");
		break;
	case JSON_OBJECT:
		printf("[%" JSON_INTEGER_FORMAT " %s]",
		       json_integer_value(json_object_get(v, "count")),
		       json_string_value(json_object_get(v, "type")));
		json_array_foreach(json_object_get(v, "first"), i, e) {
			printf(" ");
			print_value(e);
		}
		printf(" ...");
		break;
	default:
		printf("-");
	}
}

static void print_shape(const struct bitnet_image_header *h)
{
	printf("shape        %u layers, hidden %u, ffn %u, %u heads of %u (%u key/value), vocabulary %u\n",
	       h->n_layers, h->hidden, h->ffn, h->n_heads, h->head_dim, h->n_kv_heads, h->vocab);
	printf("             context %u, %s, %s head%s\n", h->max_ctx,
	       h->activation == BITNET_ACT_SILU ? "SiLU" : "squared ReLU",
	       h->flags & BITNET_IMAGE_F_TIED ? "tied" : "own",
	       h->flags & BITNET_IMAGE_F_SUB_NORMS ? ", sub-norms" : "");
	printf("image        %s pinned when loaded, digest 0x%016" PRIx64 "\n",
	       out_size(h->total_bytes), (uint64_t)h->digest);
}

static void print_plain(const struct show_values *v, const json_t *root,
			const struct bitnet_model_file *f)
{
	const json_t *e, *shape, *notes = json_object_get(root, "notes");
	const struct bitnet_tokenizer *tok = f->tokenizer;
	const char *key;
	json_t *value;
	char dims[64];
	size_t i, d, len;

	printf("file         %s, %s%s\n", f->path,
	       f->packed ? "packed image" : "GGUF version ",
	       f->packed ? "" : f->gguf && bitnet_gguf_version(f->gguf) == 2 ? "2" : "3");
	printf("model        %s\n", json_string_value(json_object_get(root, "architecture")));
	if (f->image.header)
		print_shape(f->image.header);
	printf("tokenizer    %s, pre-tokenizer %s, %u tokens, chat template %s\n",
	       bitnet_tokenizer_model(tok), bitnet_tokenizer_pre(tok),
	       bitnet_tokenizer_n_tokens(tok), bitnet_chat_name(f->chat));
	printf("weights      %s\n", v->fast ? "not checked (--fast)" : "checked: sound");

	if (json_array_size(notes))
		heading("notes");
	json_array_foreach(notes, i, e)
		printf("  - %s\n", json_string_value(e));
	heading("metadata");
	json_object_foreach(json_object_get(root, "metadata"), key, value) {
		printf("  ");
		print_text(key);
		printf(" = ");
		print_value(value);
		printf("\n");
	}
	if (!v->tensors)
		return;
	heading("tensors");
	json_array_foreach(json_object_get(root, "tensors"), i, e) {
		len = 0;
		dims[0] = '\0';
		shape = json_object_get(e, "shape");
		for (d = 0; d < json_array_size(shape) && len < sizeof(dims); d++)
			len += snprintf(dims + len, sizeof(dims) - len, "%s%lld", d ? " x " : "",
					(long long)json_integer_value(json_array_get(shape, d)));
		printf("  %-28s %-6s %-16s %10s\n", json_string_value(json_object_get(e, "name")),
		       json_string_value(json_object_get(e, "type")), dims,
		       out_size(json_integer_value(json_object_get(e, "bytes"))));
	}
}

int cmd_show(const struct command *self, int argc, char **argv)
{
	struct show_values v = { 0 };
	struct bitnet_model_file f = { 0 };
	struct bitnet_error err = { 0 };
	struct bitnet_gguf_str arch = { 0 };
	char name[BITNET_NAME_BYTES];
	json_t *root;
	int code, ret;

	code = command_parse(self, argc, argv, &v, NULL);
	if (code >= 0)
		return code;
	interrupt_catch(false);
	ret = model_find_file(argv[1], &v.file, &f, name, &err);
	if (ret)
		return out_error(&err);
	if (f.packed || !v.fast)
		ret = model_image(&f, &v.file, "checking", NULL, &err);
	if (!ret && f.packed && !v.fast)
		ret = model_check_image(&f.image, f.path, &err);
	if (ret) {
		bitnet_model_file_close(&f);
		return out_error(&err);
	}

	bitnet_gguf_get_str(f.gguf, "general.architecture", &arch);
	root = json_pack("{s:o, s:s, s:o, s:o, s:b}", "path", out_string(f.path, strlen(f.path)),
			 "format", f.packed ? "image" : "gguf", "architecture",
			 out_string(arch.s ? arch.s : "", arch.len), "tokenizer",
			 tokenizer_json(&f), "checked", !v.fast);
	if (f.image.header) {
		json_object_set_new(root, "digest", out_hex64(f.image.header->digest));
		json_object_set_new(root, "image_bytes", json_integer(f.image.header->total_bytes));
		json_object_set_new(root, "shape", shape_json(f.image.header));
	}
	json_object_set_new(root, "notes", notes_json(&f, &v.file));
	json_object_set_new(root, "metadata", metadata_json(f.gguf));
	if (v.tensors)
		json_object_set_new(root, "tensors", f.packed ? image_tensors_json(&f.image) :
				    gguf_tensors_json(f.gguf));
	if (out.json) {
		out_json(root);
	} else {
		print_plain(&v, root, &f);
		json_decref(root);
	}
	bitnet_model_file_close(&f);
	return OUT_OK;
}
