/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * tokenizer.h - text to tokens and back, for the two kinds of vocabulary that GGUF files hold
 *
 *  "gpt2"   byte-level BPE: the text is cut into words by a regular expression (the pre-tokenizer,
 *           which the file only names), then bytes are merged by rank
 *  "llama"  SentencePiece BPE: spaces become U+2581, characters are merged by the score of the
 *           result, what is left without a token is spelled in byte tokens
 *
 * Pre-tokenizers: llama-bpe (alias llama3, llama-v3, falcon3, falcon-h1), falcon_e, falcon, qwen2,
 * gpt-2, default. falcon3 means what upstream llama.cpp means by it, the regex of llama-bpe;
 * bitnet.cpp's fork cuts differently there: its way is called falcon_e, and can be asked for.
 *
 * Text is bytes. Where it is not valid UTF-8, each invalid byte is a word of its own, so that
 * decoding gives back the same bytes. No Unicode normalisation takes place.
 *
 * A tokenizer keeps no pointer into the GGUF, does not change once made, and may be used by any
 * number of threads at the same time. A decoder belongs to one stream.
 */
#ifndef BITNET_LIB_TOKENIZER_H
#define BITNET_LIB_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "gguf.h"

/* Kinds of tokens, as numbered in tokenizer.ggml.token_type. */
enum bitnet_token_kind {
	BITNET_TOKEN_NORMAL = 1,
	BITNET_TOKEN_UNKNOWN = 2,
	BITNET_TOKEN_CONTROL = 3,
	BITNET_TOKEN_USER_DEFINED = 4,
	BITNET_TOKEN_UNUSED = 5,
	BITNET_TOKEN_BYTE = 6,
};

/* add the tokens that the model wants at the start and end of a text (BOS, EOS) */
#define BITNET_ENCODE_F_ADD_SPECIAL	(1u << 0)
/* take "<|eot_id|>" and the like for the token of that name; never for text of a user */
#define BITNET_ENCODE_F_PARSE_SPECIAL	(1u << 1)

/* show control tokens by their name; without it they decode to nothing */
#define BITNET_DECODE_F_SPECIAL		(1u << 0)
/* the stream starts a text: drop the space that a SentencePiece model put in front of it */
#define BITNET_DECODE_F_START		(1u << 1)

/* No text can have a token of this id. */
#define BITNET_TOKEN_NONE		UINT32_MAX

struct bitnet_tokenizer;
struct bitnet_decoder;

/**
 * struct bitnet_tokens - a growing list of token ids; all zero is an empty one
 * @ids: the ids
 * @n:   how many there are
 * @cap: how many fit before the list grows
 */
struct bitnet_tokens {
	uint32_t *ids;
	size_t n;
	size_t cap;
};

/**
 * bitnet_tokens_push() - append one id
 * @t:  list
 * @id: token
 *
 * Return: 0 or -ENOMEM (the list is unchanged).
 */
int bitnet_tokens_push(struct bitnet_tokens *t, uint32_t id);

/**
 * bitnet_tokens_free() - free the ids; the list is empty and usable afterwards
 * @t: list
 */
void bitnet_tokens_free(struct bitnet_tokens *t);

/**
 * bitnet_tokenizer_from_gguf() - make the tokenizer that a model file describes
 * @g:            open file; may be closed afterwards
 * @override_pre: name of the pre-tokenizer instead of the file's tokenizer.ggml.pre, or NULL
 * @out:          the tokenizer, for bitnet_tokenizer_free()
 * @err:          reason of a failure
 *
 * A gpt2 vocabulary without tokenizer.ggml.pre gets llama-bpe if it has Llama 3's 128256 tokens,
 * else the default regexes with a warning.
 *
 * Return: 0; -ENOENT if the file has no tokenizer; -ENOTSUP for a model or pre-tokenizer not known
 * here; -EBADMSG if the vocabulary is inconsistent; -ENOMEM.
 */
int bitnet_tokenizer_from_gguf(const struct bitnet_gguf *g, const char *override_pre,
			       struct bitnet_tokenizer **out, struct bitnet_error *err);

/**
 * bitnet_tokenizer_free() - free a tokenizer; its decoders must be gone
 * @tok: may be NULL
 */
void bitnet_tokenizer_free(struct bitnet_tokenizer *tok);

/**
 * bitnet_tokenizer_warning() - what a user should know before trusting this tokenizer
 * @tok: tokenizer
 *
 * Return: a sentence, or NULL if all is well.
 */
const char *bitnet_tokenizer_warning(const struct bitnet_tokenizer *tok);

/**
 * bitnet_tokenizer_model() - "gpt2" or "llama"
 * @tok: tokenizer
 */
const char *bitnet_tokenizer_model(const struct bitnet_tokenizer *tok);

/**
 * bitnet_tokenizer_pre() - name of the pre-tokenizer in use; "none" for a llama vocabulary
 * @tok: tokenizer
 */
const char *bitnet_tokenizer_pre(const struct bitnet_tokenizer *tok);

/**
 * bitnet_tokenizer_n_tokens() - size of the vocabulary
 * @tok: tokenizer
 */
uint32_t bitnet_tokenizer_n_tokens(const struct bitnet_tokenizer *tok);

/**
 * bitnet_tokenizer_kind() - what kind of token this is
 * @tok: tokenizer
 * @id:  token
 *
 * A user-defined token that looks like "<|this|>" counts as control: some converters mislabel them.
 *
 * Return: enum bitnet_token_kind; 0 if there is no such token.
 */
uint32_t bitnet_tokenizer_kind(const struct bitnet_tokenizer *tok, uint32_t id);

/**
 * bitnet_tokenizer_bos() - the token in front of every text
 * @tok: tokenizer
 *
 * Return: its id, or BITNET_TOKEN_NONE.
 */
uint32_t bitnet_tokenizer_bos(const struct bitnet_tokenizer *tok);

/**
 * bitnet_tokenizer_eos() - the token that ends a text
 * @tok: tokenizer
 *
 * Return: its id, or BITNET_TOKEN_NONE.
 */
uint32_t bitnet_tokenizer_eos(const struct bitnet_tokenizer *tok);

/**
 * bitnet_tokenizer_eot() - the token that ends a turn of a conversation
 * @tok: tokenizer
 *
 * Return: its id, or BITNET_TOKEN_NONE.
 */
uint32_t bitnet_tokenizer_eot(const struct bitnet_tokenizer *tok);

/**
 * bitnet_tokenizer_add_bos() - does the model want a BOS in front of a text?
 * @tok: tokenizer
 */
bool bitnet_tokenizer_add_bos(const struct bitnet_tokenizer *tok);

/**
 * bitnet_tokenizer_add_eos() - does the model want an EOS behind a text?
 * @tok: tokenizer
 */
bool bitnet_tokenizer_add_eos(const struct bitnet_tokenizer *tok);

/**
 * bitnet_tokenizer_stops() - the tokens that end a generation
 * @tok: tokenizer
 * @ids: the ids, owned by @tok: EOS first if there is one, then every other end of turn or text
 *
 * Return: how many.
 */
size_t bitnet_tokenizer_stops(const struct bitnet_tokenizer *tok, const uint32_t **ids);

/**
 * bitnet_tokenizer_find() - a control token by its name, such as "<|eot_id|>"
 * @tok:  tokenizer
 * @name: NUL-terminated
 *
 * Return: its id, or BITNET_TOKEN_NONE if the vocabulary has no control or user-defined token of
 * this name.
 */
uint32_t bitnet_tokenizer_find(const struct bitnet_tokenizer *tok, const char *name);

/**
 * bitnet_tokenizer_encode() - text to tokens
 * @tok:   tokenizer
 * @text:  bytes, usually UTF-8, NULs included; may be NULL if @len is 0
 * @len:   bytes, less than 2 GiB
 * @flags: BITNET_ENCODE_F_*
 * @out:   tokens are appended; on failure it is as it was
 * @err:   reason of a failure
 *
 * Cost: O(n log n) in the longest word; tens of MB/s of prose at best, and no input makes it
 * quadratic.
 *
 * Return: 0; -EINVAL for an unknown flag or too long a text; -EILSEQ if the vocabulary has no token
 * for a byte of the text; -ENOMEM.
 */
int bitnet_tokenizer_encode(const struct bitnet_tokenizer *tok, const char *text, size_t len,
			    unsigned int flags, struct bitnet_tokens *out,
			    struct bitnet_error *err);

/**
 * bitnet_tokenizer_piece() - the bytes that a token stands for
 * @tok:     tokenizer
 * @id:      token
 * @special: give control tokens their name; without it they are empty
 * @len:     bytes
 *
 * The bytes need not be valid UTF-8 on their own: use a decoder for text to show.
 *
 * Return: the bytes, owned by @tok, not NUL-terminated; NULL if there is no such token.
 */
const char *bitnet_tokenizer_piece(const struct bitnet_tokenizer *tok, uint32_t id, bool special,
				   size_t *len);

/**
 * bitnet_decoder_new() - a stream of tokens that becomes text
 * @tok:   tokenizer, must outlive the decoder
 * @flags: BITNET_DECODE_F_*
 *
 * Return: the decoder for bitnet_decoder_free(), or NULL without memory.
 */
struct bitnet_decoder *bitnet_decoder_new(const struct bitnet_tokenizer *tok, unsigned int flags);

/**
 * bitnet_decoder_free() - free a decoder
 * @d: may be NULL
 */
void bitnet_decoder_free(struct bitnet_decoder *d);

/**
 * bitnet_decoder_push() - the next token of the stream
 * @d:   decoder
 * @id:  token; one that the vocabulary does not have decodes to U+FFFD
 * @len: bytes of the text, may be 0
 *
 * A character whose last bytes are still to come is held back; bytes that can be no character
 * become U+FFFD, one for each maximal part of one (Unicode 15, section 3.9). So what comes out is
 * always whole, valid UTF-8, and does not depend on where the tokens are cut.
 *
 * Return: text, valid until the next call, not NUL-terminated; NULL without memory.
 */
const char *bitnet_decoder_push(struct bitnet_decoder *d, uint32_t id, size_t *len);

/**
 * bitnet_decoder_finish() - end of the stream: a character still incomplete becomes U+FFFD
 * @d:   decoder; starts a new stream afterwards, as if just made
 * @len: bytes of the text, may be 0
 *
 * Return: as bitnet_decoder_push().
 */
const char *bitnet_decoder_finish(struct bitnet_decoder *d, size_t *len);

#endif
