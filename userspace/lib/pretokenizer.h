/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * pretokenizer.h - cuts text into the words that byte-pair merges do not cross
 *
 * A GGUF file names its pre-tokenizer, it does not contain it; what the names mean is defined by
 * llama.cpp (src/llama-vocab.cpp) and here by a table of regular expressions.
 */
#ifndef BITNET_LIB_PRETOKENIZER_H
#define BITNET_LIB_PRETOKENIZER_H

#include <stdbool.h>
#include <stddef.h>

#include "error.h"

struct bitnet_pretokenizer;

/**
 * bitnet_pretokenizer_new() - compile the regular expressions of a pre-tokenizer
 * @name: its name or an alias of it, NUL-terminated
 * @out:  for bitnet_pretokenizer_free(); may be used by any number of threads at the same time
 * @err:  reason of a failure; the hint has the names that there are
 *
 * Return: 0; -ENOTSUP for an unknown name; -ENOMEM.
 */
int bitnet_pretokenizer_new(const char *name, struct bitnet_pretokenizer **out,
			    struct bitnet_error *err);

/**
 * bitnet_pretokenizer_free() - free a pre-tokenizer
 * @p: may be NULL
 */
void bitnet_pretokenizer_free(struct bitnet_pretokenizer *p);

/**
 * bitnet_pretokenizer_name() - its main name
 * @p: pre-tokenizer
 */
const char *bitnet_pretokenizer_name(const struct bitnet_pretokenizer *p);

/**
 * bitnet_pretokenizer_whole_words() - is a word that is a token as a whole not merged from bytes?
 * @p: pre-tokenizer
 *
 * Known as ignore_merges elsewhere. It also means that the model wants a BOS unless it says no.
 */
bool bitnet_pretokenizer_whole_words(const struct bitnet_pretokenizer *p);

/**
 * bitnet_pretokenizer_split() - call a function for each word of a text, in order
 * @p:    pre-tokenizer
 * @text: valid UTF-8
 * @len:  bytes; the words cover all of them
 * @word: called with each word, never an empty one; stops the split by returning not 0
 * @arg:  for @word
 * @err:  reason of a failure of the split itself
 *
 * Return: 0; what @word returned; -ENOMEM; -EIO if PCRE2 gave up.
 */
int bitnet_pretokenizer_split(const struct bitnet_pretokenizer *p, const char *text, size_t len,
			      int (*word)(void *arg, const char *s, size_t len), void *arg,
			      struct bitnet_error *err);

#endif
