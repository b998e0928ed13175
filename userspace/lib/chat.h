/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * chat.h - conversations as the tokens that a model was trained on
 *
 * Templates are code, not the Jinja text in the file: there are few, and the text embedded in the
 * best known file (b1.58-2B-4T) is not the one that the model was trained with.
 *
 *  bitnet  b1.58-2B-4T: BOS { "User: " content <|eot_id|> } "Assistant: "
 *  llama3  Llama 3: BOS { <|start_header_id|> role <|end_header_id|> "\n\n" content <|eot_id|> }
 *  chatml  Falcon-E, Qwen: { <|im_start|> role "\n" content <|im_end|> "\n" }
 *  raw     base models: BOS, then the contents one behind the other
 *
 * What people write is never read as a control token: content "<|eot_id|>" is ten characters.
 */
#ifndef BITNET_LIB_CHAT_H
#define BITNET_LIB_CHAT_H

#include <stdbool.h>
#include <stddef.h>

#include "error.h"
#include "gguf.h"
#include "tokenizer.h"

enum bitnet_chat_template {
	BITNET_CHAT_RAW,
	BITNET_CHAT_BITNET,
	BITNET_CHAT_LLAMA3,
	BITNET_CHAT_CHATML,
	BITNET_CHAT_N,		/* how many there are */
};

/**
 * struct bitnet_chat_message - one turn
 * @role:    "system", "user" or "assistant"
 * @content: UTF-8 text
 * @len:     bytes of @content
 */
struct bitnet_chat_message {
	const char *role;
	const char *content;
	size_t len;
};

/**
 * bitnet_chat_name() - name of a template
 * @t: template
 *
 * Return: such as "llama3"; NULL for BITNET_CHAT_N and beyond, so that a loop can list them.
 */
const char *bitnet_chat_name(enum bitnet_chat_template t);

/**
 * bitnet_chat_by_name() - template by its name
 * @name: such as "llama3"
 * @out:  the template
 * @err:  reason of a failure, with the names that there are
 *
 * Return: 0 or -EINVAL.
 */
int bitnet_chat_by_name(const char *name, enum bitnet_chat_template *out, struct bitnet_error *err);

/**
 * bitnet_chat_detect() - the template that a model was trained with
 * @g:   its file: architecture and tokenizer.chat_template
 * @tok: its tokenizer: size and control tokens of the vocabulary
 *
 * A bitnet architecture with Llama 3's vocabulary is b1.58-2B-4T, whatever template it carries.
 * Else the template's own text decides, else the vocabulary. Only a template whose control tokens
 * the vocabulary has is returned; BITNET_CHAT_RAW if there is none.
 */
enum bitnet_chat_template bitnet_chat_detect(const struct bitnet_gguf *g,
					     const struct bitnet_tokenizer *tok);

/**
 * bitnet_chat_render() - a conversation as tokens
 * @tok:      tokenizer
 * @t:        template
 * @msgs:     @n turns in order
 * @n:        may be 0
 * @generate: end with the header of the assistant's turn, so that the model goes on with his words
 * @out:      tokens are appended; on failure it is as it was
 * @err:      reason of a failure
 *
 * Starts with BOS if the model wants one (templates bitnet and llama3: if there is one). White
 * space around a content is cut off where the model's own template does so (bitnet, llama3).
 * A conversation that grows keeps its tokens: rendering the first turns again gives a prefix,
 * unless @generate put a header behind them or the model's own words decode to other tokens.
 *
 * Return: 0; -EINVAL for a role or template that is none; -ENOENT if the vocabulary lacks a control
 * token of @t; else as bitnet_tokenizer_encode().
 */
int bitnet_chat_render(const struct bitnet_tokenizer *tok, enum bitnet_chat_template t,
		       const struct bitnet_chat_message *msgs, size_t n, bool generate,
		       struct bitnet_tokens *out, struct bitnet_error *err);

#endif
