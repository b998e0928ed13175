#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""make_tokenizer.py - writes tokenizer.json: texts and the tokens they must become

A second, slow implementation of the tokenizers, straight from their definitions: Python's re with
character classes spelled out from unicodedata, and merging by looking at all pairs each time. Standard
library only; tokenizer.json in the tree was made by Python 3.11 (Unicode 14).

    tests/golden/make_tokenizer.py > tests/golden/tokenizer.json
"""
import json, os, random, re, struct, sys, unicodedata

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
MODEL = os.path.join(ROOT, "userspace", "models", "demo-i2_s.gguf")

def read_keys(path):
    """The keys of a GGUF file, version 3."""
    data = open(path, "rb").read()
    pos = 24
    def take(fmt):
        nonlocal pos
        value = struct.unpack_from("<" + fmt, data, pos)
        pos += struct.calcsize("<" + fmt)
        return value
    def string():
        nonlocal pos
        (n,) = take("Q")
        pos += n
        return data[pos - n:pos].decode()
    def value(kind):
        if kind == 8:
            return string()
        if kind == 9:
            kind, n = take("IQ")
            return [value(kind) for _ in range(n)]
        return take("BbHhIif?xxQqd"[kind])[0]
    (count,) = struct.unpack_from("<Q", data, 16)
    keys = {}
    for _ in range(count):
        key = string()
        keys[key] = value(take("I")[0])
    return keys

def char_class(test):
    """Ranges of the characters that pass the test, for use inside [...] of a regular expression."""
    ranges, start = "", None
    for c in range(0x110001):
        if c < 0x110000 and not 0xd800 <= c < 0xe000 and test(chr(c)):
            start = c if start is None else start
        elif start is not None:
            ranges += "\\U%08x-\\U%08x" % (start, c - 1)
            start = None
    return ranges

L = char_class(lambda c: unicodedata.category(c)[0] == "L")
N = char_class(lambda c: unicodedata.category(c)[0] == "N")
P = char_class(lambda c: unicodedata.category(c)[0] == "P")
# White_Space of PropList.txt
S = "\\t-\\r\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000"

GPT2 = (f"'s|'t|'re|'ve|'m|'ll|'d| ?[{L}]+| ?[{N}]+| ?[^{S}{L}{N}]+|[{S}]+(?![^{S}])|[{S}]+")

def llama3(digits):
    return (f"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n{L}{N}]?[{L}]+|{digits}| ?[^{S}{L}{N}]+[\\r\\n]*|"
            f"[{S}]*[\\r\\n]+|[{S}]+(?![^{S}])|[{S}]+")

PRE = {
    "llama-bpe": [llama3(f"[{N}]{{1,3}}")],
    "qwen2": [llama3(f"[{N}]")],
    "gpt-2": [GPT2],
    "default": [f"[{P}$+<=>^~|]+", GPT2, f"[{N}]+", "[0-9][0-9][0-9]"],
    "falcon": [f"[{P}$+<=>^~|`]+", GPT2, "[0-9][0-9][0-9]"],
    "falcon_e": [f"[{P}$+<=>^~|`]+", GPT2, "[0-9]"],
}
PRE = {name: [re.compile(step) for step in steps] for name, steps in PRE.items()}

def split(pre, text):
    pieces = [text]
    for step in PRE[pre]:
        cut = []
        for piece in pieces:
            pos = 0
            for match in step.finditer(piece):
                cut += [piece[pos:match.start()], match.group()]
                pos = match.end()
            cut.append(piece[pos:])
        pieces = [piece for piece in cut if piece]
    return pieces

def alphabet():
    """byte -> character of GPT-2's printable alphabet"""
    same = [*range(0x21, 0x7f), *range(0xa1, 0xad), *range(0xae, 0x100)]
    others = [b for b in range(256) if b not in same]
    return {**{b: chr(b) for b in same}, **{b: chr(0x100 + i) for i, b in enumerate(others)}}

ALPHABET = alphabet()

def merge(parts, rank):
    """Join the pair of the smallest rank, the leftmost of equals, until no pair has one."""
    while True:
        ranked = [(rank(a, b), i) for i, (a, b) in enumerate(zip(parts, parts[1:]))]
        ranked = [r for r in ranked if r[0] is not None]
        if not ranked:
            return parts
        i = min(ranked)[1]
        parts[i:i + 2] = [parts[i] + parts[i + 1]]

class ByteLevel:
    def __init__(self, keys):
        self.ids = {t: i for i, t in enumerate(keys["tokenizer.ggml.tokens"])}
        self.ranks = {tuple(m.split(" ")): i for i, m in enumerate(keys["tokenizer.ggml.merges"])}

    def encode(self, pre, text):
        ids = []
        for word in split(pre, text):
            word = "".join(ALPHABET[b] for b in word.encode())
            if pre == "llama-bpe" and word in self.ids:
                ids.append(self.ids[word])
            else:
                ids += [self.ids[p] for p in merge(list(word), lambda a, b: self.ranks.get((a, b)))]
        return ids

class SentencePiece:
    """tokens: [text, score, type] each"""
    def __init__(self, tokens, prefix):
        self.ids = {t: i for i, (t, _, kind) in enumerate(tokens) if kind in (1, 4, 5)}
        self.scores = [score for _, score, _ in tokens]
        self.bytes = {int(t[3:5], 16): i for i, (t, _, kind) in enumerate(tokens) if kind == 6}
        self.user = sorted((t for t, _, kind in tokens if kind == 4), key=lambda t: -len(t))
        self.prefix = "\u2581" if prefix else ""

    def rank(self, a, b):
        i = self.ids.get(a + b)
        return None if i is None else -self.scores[i]

    def plain(self, text):
        ids = []
        for p in merge(list(self.prefix + text.replace(" ", "\u2581")), self.rank):
            ids += [self.ids[p]] if p in self.ids else [self.bytes[b] for b in p.encode()]
        return ids

    def encode(self, text):
        ids, start, pos = [], 0, 0
        while pos < len(text):
            user = next((t for t in self.user if text.startswith(t, pos)), None)
            if user is None:
                pos += 1
                continue
            ids += (self.plain(text[start:pos]) if pos > start else []) + [self.ids[user]]
            pos += len(user)
            start = pos
        return ids + (self.plain(text[start:]) if start < len(text) else [])

TEXTS = [
    "", " ", "  ", "\n", "a", " a", "a ", "Hello world", "Hello  world", "Hello   \n  world ",
    "Once upon a time, there was a little girl named Lily. She", "I'm you're he's we've she'll they'd can't",
    "I'M YOU'RE HE'S WE'VE SHE'LL THEY'D CAN'T", "'\u017f is a long s", "\u2019s 's''s", "1", "12", "123",
    "1234", "12345678901", "3.14159 + 2,718", "x1y22z333w4444", "\u0661\u0662\u0663\u0664", "\u00bd \u00b2 \u2167 \u2460\u2461",
    "caf\u00e9 cafe\u0301 na\u00efve", "\u4f60\u597d\uff0c\u4e16\u754c\uff01", "\u3053\u3093\u306b\u3061\u306f \u4e16\u754c", "\ud55c\uad6d\uc5b4 \ud14d\uc2a4\ud2b8",
    "\u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e", "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645", "\u05e9\u05b8\u05dc\u05d5\u05b9\u05dd", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35",
    "\U0001f600", "\U0001f468\u200d\U0001f469\u200d\U0001f467 family", "\U0001f1e9\U0001f1ea flag", "a\U0001f600b", "\u00a0\u00a0x\u00a0",
    "\u3000\u3000x\u2028y\u2029z", "\u180e's", "\x00\x01\x1f\x7f", "\x85x\x0b\x0c", "tab\tand\r\nreturn\r", "\r\n\r\n  \r\n",
    "no\nnewline\n\nat\n\n\nend", "   leading and trailing   ", "!!!???...", "#include <stdio.h>\n\tint main(void)",
    "a_b __init__ $x+y=z^2~|`", "C++ & C# -> {}[]()", "\"Can I play with you?\" asked Tom.\n",
    "http://example.org/?q=1&r=%20", "<|begin_of_text|><|end_of_text|>", "<|not_a_token|>", "\ufeffBOM", "\U000e0041 tag",
    "ABCdefGHI\u01c5\u1f88", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "thethethethethethethe", " the the  the", "\u2581 under \u2581\u2581 blocks", "<0x41> is no byte",
]

def random_texts(n):
    """Pieces that like to go wrong, in random order."""
    rand = random.Random(58)
    pieces = ["Hello", " world", "'s", "'LL", "\n", "\r\n", " ", "  ", "\t", "1", "23", "4567", "\u0664", "\u00bd", "\u2167",
              "\u00e9", "e\u0301", "\u4f60\u597d", "\U0001f600", "\u200d", "!", "...", "_", "#$%", "\u00a0", "\u3000", "\u2028", "\x85",
              "\u180e", "\x00", "\u0e33", "\u093f", "<|", "the", " little", "`", "+", "=", "$", "^", "~", "\u2019s", "\u05b7"]
    return ["".join(rand.choice(pieces) for _ in range(rand.randrange(2, 12))) for _ in range(n)]

def pieces_vocabulary(extra):
    """A SentencePiece vocabulary: control tokens, bytes, characters, and pieces with falling scores."""
    tokens = [["<unk>", 0.0, 2], ["<s>", 0.0, 3], ["</s>", 0.0, 3]]
    tokens += [["<0x%02X>" % b, 0.0, 6] for b in range(256)]
    words = ["\u2581\u2581", "he", "in", "\u2581t", "\u2581the", "er", "\u2581a", "on", "the", "\u2581l", "re", "ll", "lo", "\u2581w",
             "or", "\u2581he", "llo", "hello", "\u2581hello", "ld", "world", "\u2581world", "it", "tt", "itt", "litt",
             "\u2581\u2581\u2581\u2581", "le", "little", "aa", "aaaa", "th", "\u2581th", "12", "\u4f60\u597d"] + extra
    tokens += [[w, -float(i), 1] for i, w in enumerate(words)]
    chars = sorted(set("".join(words)) | set("abcdefghijklmnopqrstuvwxyz.,!HW01\u00e9"))
    tokens += [[c, -1000.0 - i, 1] for i, c in enumerate(chars)]
    return tokens + [["<tool>", 0.0, 4], ["<tool>x", 0.0, 4], ["unusedpiece", -5.0, 5]]

def main():
    keys = read_keys(MODEL)
    model = ByteLevel(keys)
    texts = TEXTS + random_texts(60)
    byte_level = [dict(pre=pre, text=text, ids=model.encode(pre, text))
                  for pre in PRE for text in (texts if pre == "llama-bpe" else TEXTS[10:] + random_texts(15))]
    own = ["hello world", " hello", "hello  world", "the little    world", "aaaaaaa", "</s><s><unk>", "a<tool>b",
           "<tool><tool>x<tool", "unusedpiece", "hello\u2581world", "the a on", "it a b a\u2581b"]
    sentencepiece = []
    for prefix, extra in ((True, []), (False, []), (True, ["a\u2581b", "o\u2581"])):
        tokens = pieces_vocabulary(extra)
        model = SentencePiece(tokens, prefix)
        sentencepiece.append(dict(add_space_prefix=prefix, tokens=tokens,
                                  cases=[dict(text=t, ids=model.encode(t)) for t in own + TEXTS[:40]]))
    json.dump(dict(byte_level=byte_level, sentencepiece=sentencepiece), sys.stdout, separators=(",", ":"))
    print()

if __name__ == "__main__":
    main()
