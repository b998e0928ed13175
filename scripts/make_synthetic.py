#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""make_synthetic.py - writes a BitNet model of any shape with random weights, as a GGUF file

    scripts/make_synthetic.py --preset 2b-4t model.gguf       1.19 GB, the shape of b1.58-2B-4T
    scripts/make_synthetic.py --preset tiny --type tq2_0 --hidden 512 --ffn 768 model.gguf

For tests and benchmarks that need a shape rather than an answer. The same options and seed give the
same bytes. Only Python's standard library; memory stays below 100 MiB, 2b-4t takes ten seconds.

What the weights are like
  Ternary matrices have 42 % zeros, as b1.58-2B-4T has, and a scale from 1.2 to 1.6. Gains of the norms
  in front of them make every matrix give values of variance 1. The residual stream starts with the
  embedding, standard deviation 0.05, and gets variance 1 from each half of a layer: a token's own
  embedding is soon a small part of it, so the next token is not the same one again. Logits have a
  standard deviation of about 3.

--gate-sparsity P
  makes the gate of the FFN positive for about the fraction P of its outputs (0.5 without it), for
  engines that skip what relu turned to zero. The first 32 dimensions of the residual stream become a
  constant: the embedding has the same value there for every token, and the matrices that write to the
  stream have only zeros in these rows. The FFN norm's gains scale them to a known size, and the gate
  has -1 for them in every row: that subtracts from every gate output the quantile that belongs to P.
  Of relu2's outputs, int8 then rounds the small ones to zero too: with 2b-4t's 6912 channels and P 0.25,
  15 % of the inputs of ffn_down are left, as in trained models (tests/golden/sparsity.c).
"""
import argparse
import math
import os
import random
import statistics
import struct
import sys

F32, F16, Q8_0, Q6_K, TQ1_0, TQ2_0, I2_S = 0, 1, 8, 14, 34, 35, 36
U32, FLOAT, BOOL, STRING, ARRAY = 4, 6, 7, 8, 9
ALIGNMENT = 32
CHUNK = 4 << 20         # bytes made at a time
ZEROS = 0.42            # of the ternary weights
EMBD_STD = 0.05
LOGIT_STD = 3.0
BIAS_DIMS = 32          # --gate-sparsity: constant dimensions of the residual stream
BIAS_VALUE = 0.15625    # their value; an outlier would take the range of fixed point from the others
NORMAL = statistics.NormalDist()

PRESETS = {
    "2b-4t": dict(name="bitnet2b", layers=30, hidden=2560, ffn=6912, heads=20, kv_heads=5, head_dim=128,
                  vocab=128256, ctx=4096, rope_theta=500000.0),
    # odd on purpose: head_dim is no power of two, hidden and ffn fit I2_S (128) but not TQ (256)
    "tiny": dict(name="tiny", layers=3, hidden=384, ffn=896, heads=4, kv_heads=2, head_dim=96, vocab=1111,
                 ctx=256, rope_theta=10000.0),
}

# ---- vocabulary ------------------------------------------------------------------------------------

def alphabet():
    """The 256 bytes in GPT-2's printable alphabet, in the order of its token ids."""
    shown = [*range(0x21, 0x7f), *range(0xa1, 0xad), *range(0xae, 0x100)]
    hidden = [b for b in range(256) if b not in shown]
    return [chr(b) for b in shown] + [chr(0x100 + i) for i in range(len(hidden))]

def vocabulary(size, rand):
    """Tokens, their types, and merges: bytes, made-up words, and Llama 3's special tokens at the end."""
    n_special = 256 if size >= 1024 else 10
    tokens, merges = alphabet(), []
    if size < len(tokens) + n_special:
        sys.exit("a vocabulary has at least %d tokens" % (len(tokens) + n_special))
    seen = set(tokens)
    letters = "etaoinshrdlucmfwygpbvk"
    starts, parts = ["\u0120", *letters], list(letters)     # U+0120 stands for a space
    while len(tokens) < size - n_special:
        # short parts are common ones, as in a real vocabulary
        left = starts[int(len(starts) * rand.random() ** 2)]
        right = parts[int(len(parts) * rand.random() ** 3)]
        if left + right in seen or len(left + right) > 14:
            continue
        tokens.append(left + right)
        merges.append(left + " " + right)
        seen.add(left + right)
        starts.append(left + right)
        if not left.startswith("\u0120"):
            parts.append(left + right)
    special = ["<|begin_of_text|>", "<|end_of_text|>"]
    special += ["<|reserved_special_token_%d|>" % i for i in range(4)]
    special += ["<|start_header_id|>", "<|end_header_id|>", "<|reserved_special_token_4|>", "<|eot_id|>"]
    special += ["<|reserved_special_token_%d|>" % i for i in range(5, n_special - 5)]
    return tokens + special, [1] * len(tokens) + [3] * n_special, merges, len(tokens)

# ---- keys ------------------------------------------------------------------------------------------

def string(s):
    s = s.encode()
    return struct.pack("<Q", len(s)) + s

def key(name, kind, value):
    packed = {U32: lambda: struct.pack("<I", value), FLOAT: lambda: struct.pack("<f", value),
              BOOL: lambda: struct.pack("<?", value), STRING: lambda: string(value)}[kind]()
    return string(name) + struct.pack("<I", kind) + packed

def array(name, kind, values):
    packed = b"".join(map(string, values)) if kind == STRING else \
        struct.pack("<%d%s" % (len(values), "f" if kind == FLOAT else "I"), *values)
    return string(name) + struct.pack("<IIQ", ARRAY, kind, len(values)) + packed

def keys(o):
    """All keys, each packed; the names and their order are those of the published 2B-4T file."""
    tokens, types, merges, first_special = vocabulary(o.vocab, random.Random("%d/vocabulary" % o.seed))
    a = o.arch + "."
    result = [
        key("general.architecture", STRING, o.arch),
        key("general.name", STRING, o.name),
        key(a + "vocab_size", U32, o.vocab),
        key(a + "context_length", U32, o.ctx),
        key(a + "embedding_length", U32, o.hidden),
        key(a + "block_count", U32, o.layers),
        key(a + "feed_forward_length", U32, o.ffn),
        key(a + "rope.dimension_count", U32, o.head_dim),
        key(a + "attention.head_count", U32, o.heads),
        key(a + "attention.head_count_kv", U32, o.kv_heads),
        key(a + "attention.layer_norm_rms_epsilon", FLOAT, o.eps),
        key(a + "rope.freq_base", FLOAT, o.rope_theta),
        key("tokenizer.ggml.add_bos_token", BOOL, True),
        key("general.file_type", U32, {"i2_s": 40, "tq1_0": 36, "tq2_0": 37}[o.type]),
        key("tokenizer.ggml.model", STRING, "gpt2"),
        array("tokenizer.ggml.tokens", STRING, tokens),
        array("tokenizer.ggml.scores", FLOAT, [0.0] * len(tokens)),
        array("tokenizer.ggml.token_type", 5, types),
        array("tokenizer.ggml.merges", STRING, merges),
        key("tokenizer.ggml.bos_token_id", U32, first_special),
        key("tokenizer.ggml.eos_token_id", U32, first_special + 1),
        key("tokenizer.ggml.padding_token_id", U32, first_special + 1),
        key("general.quantization_version", U32, 2),
    ]
    if o.heads * o.head_dim != o.hidden:
        result += [key(a + "attention.key_length", U32, o.head_dim),
                   key(a + "attention.value_length", U32, o.head_dim)]
    if o.vocab != 128256:       # of this size, a reader has to know it without being told
        result.append(key("tokenizer.ggml.pre", STRING, "llama-bpe"))
    return result

# ---- numbers ---------------------------------------------------------------------------------------

def f16(x):
    return struct.pack("<e", x)

def quantiles():
    """256 values as likely as each other, together a normal distribution."""
    return [NORMAL.inv_cdf((i + 0.5) / 256) for i in range(256)]

def translate_at(buf, rand, start, step, table):
    """Every @step-th byte from @start on becomes a random one of the table."""
    n = len(range(start, len(buf), step))
    buf[start::step] = rand.randbytes(n).translate(table)

# ---- ternary matrices ------------------------------------------------------------------------------

def random_codes(n, rand):
    """256 tuples of @n codes; in each place the right share of zeros, and the rest -1 and +1 in turn."""
    zeros = round(256 * ZEROS)
    column = [1] * zeros + [0, 2] * ((256 - zeros) // 2) + [2] * (zeros % 2)
    return list(zip(*(rand.sample(column, 256) for _ in range(n))))

def pack_i2_s(codes):
    return sum(c << (6 - 2 * i) for i, c in enumerate(codes))

def pack_tq2_0(codes):
    return sum(c << (2 * i) for i, c in enumerate(codes))

def pack_tq1_0(codes):
    value = sum(c * 3 ** (4 - i) for i, c in enumerate(codes))
    return (value * 256 + 242) // 243

class Ternary:
    """One ternary type: bytes of a row, and how codes become bytes.

    In all three, the first 32 elements of a row are the first codes of its first 32 bytes.
    """
    def __init__(self, kind):
        self.kind = kind
        self.block, self.n_codes, self.pack = {
            I2_S: (128, 4, pack_i2_s), TQ2_0: (256, 4, pack_tq2_0), TQ1_0: (256, 5, pack_tq1_0)}[kind]
        self.block_bytes = {I2_S: 32, TQ2_0: 66, TQ1_0: 54}[kind]

    def row_bytes(self, cols):
        return cols // self.block * self.block_bytes

    def nbytes(self, rows, cols):
        return rows * self.row_bytes(cols) + (32 if self.kind == I2_S else 0)

    def table(self, rand, first=None, n=None):
        """256 packed bytes to choose from; @first: what the first code is instead of random."""
        codes = random_codes(n or self.n_codes, rand)
        return bytes(self.pack(c if first is None else (first, *c[1:])) for c in codes)

    def write(self, out, rows, cols, scale, rand, minus_cols=0, zero_rows=0):
        """@minus_cols first columns are -1 (0 or 32), @zero_rows first rows are 0."""
        table = self.table(rand)
        minus = self.table(rand, first=0)
        tail = self.table(rand, n=4)
        row_bytes = self.row_bytes(cols)
        step = max(1, CHUNK // row_bytes)
        for start in range(0, rows, step):
            n = min(step, rows - start)
            buf = bytearray(rand.randbytes(n * row_bytes).translate(table))
            if self.kind == TQ1_0:
                for i in range(48, 52):
                    translate_at(buf, rand, i, 54, tail)
            for i in range(minus_cols):
                translate_at(buf, rand, i, row_bytes, minus)
            self.clear_rows(buf, row_bytes, max(0, min(n, zero_rows - start)))
            if self.kind != I2_S:
                # the scale of a block is 1: the matrix' own is in a tensor beside it
                for i, byte in enumerate(f16(1.0)):
                    at = range(self.block_bytes - 2 + i, len(buf), self.block_bytes)
                    buf[at.start::self.block_bytes] = bytes([byte]) * len(at)
            out.write(buf)
        if self.kind == I2_S:
            out.write(struct.pack("<f", scale) * 8)

    def clear_rows(self, buf, row_bytes, n):
        zero = bytes([self.pack((1,) * self.n_codes)]) * self.block_bytes
        if self.kind == TQ1_0:
            zero = zero[:48] + bytes([self.pack((1,) * 4)]) * 4 + zero[52:]
        buf[:n * row_bytes] = zero * (n * row_bytes // self.block_bytes)

# ---- embedding -------------------------------------------------------------------------------------

class Embedding:
    """A matrix of normally distributed numbers; @constant: value of the first 32 in each row, or None."""
    def __init__(self, kind):
        self.kind = kind
        self.block, self.block_bytes = {F32: (1, 4), F16: (1, 2), Q8_0: (32, 34), Q6_K: (256, 210)}[kind]

    def nbytes(self, rows, cols):
        return rows * cols // self.block * self.block_bytes

    def write(self, out, rows, cols, std, rand, constant):
        row_bytes = cols // self.block * self.block_bytes
        step = max(1, CHUNK // row_bytes)
        fill = {F32: self.fill_f32, F16: self.fill_f16, Q8_0: self.fill_q8_0, Q6_K: self.fill_q6_k}[self.kind]
        for start in range(0, rows, step):
            n = min(step, rows - start)
            buf = bytearray(rand.randbytes(n * row_bytes))
            fill(buf, std, rand)
            if constant is not None:
                self.set_constant(buf, n, row_bytes, constant)
            out.write(buf)

    # The bytes that decide come from a table of quantiles, the low bits of the mantissas stay random.

    def fill_f16(self, buf, std, rand):
        translate_at(buf, rand, 1, 2, bytes(f16(std * q)[1] for q in quantiles()))

    def fill_f32(self, buf, std, rand):
        choice = rand.randbytes(len(buf) // 4)
        for i in (2, 3):
            buf[i::4] = choice.translate(bytes(struct.pack("<f", std * q)[i] for q in quantiles()))

    def fill_q8_0(self, buf, std, rand):
        table = bytes(round(q * 40) & 255 for q in quantiles())     # the largest is 2.9 * 40
        buf[:] = buf.translate(table)
        for i, byte in enumerate(f16(std / 40)):
            buf[i::34] = bytes([byte]) * (len(buf) // 34)

    def fill_q6_k(self, buf, std, rand):
        # -32..31 with equal chances: standard deviation 18.5, times a scale of 64
        for i in range(192, 208):
            buf[i::210] = bytes([64]) * (len(buf) // 210)
        for i, byte in enumerate(f16(std / 18.5 / 64)):
            buf[208 + i::210] = bytes([byte]) * (len(buf) // 210)

    def set_constant(self, buf, n, row_bytes, value):
        if self.kind in (F32, F16):
            packed = (f16(value) if self.kind == F16 else struct.pack("<f", value)) * BIAS_DIMS
            for i, byte in enumerate(packed):
                buf[i::row_bytes] = bytes([byte]) * n
        elif self.kind == Q8_0:
            for i, byte in enumerate(f16(value / 100) + bytes([100]) * BIAS_DIMS):
                buf[i::row_bytes] = bytes([byte]) * n
        else:
            # element l < 32: the low half of byte l and the low bits of byte 128 + l; 16 is 48 - 32
            low = bytes(b & 0xf0 for b in range(256))
            high = bytes(b & 0xfc | 3 for b in range(256))
            for i in range(BIAS_DIMS):
                buf[i::row_bytes] = buf[i::row_bytes].translate(low)
                buf[128 + i::row_bytes] = buf[128 + i::row_bytes].translate(high)
            # scales 0 and 1 are those of the constants: their part of the block's d
            block_scale = struct.unpack("<e", buf[208:210])[0]
            scale = max(1, min(127, round(value / 16 / block_scale)))
            for i in (192, 193):
                buf[i::row_bytes] = bytes([scale]) * n

    def constant_value(self, value, std):
        """What set_constant() really stores for @value."""
        if self.kind != Q6_K:
            return value
        d = struct.unpack("<e", f16(std / 18.5 / 64))[0]
        return 16 * d * max(1, min(127, round(value / 16 / d)))

# ---- the model -------------------------------------------------------------------------------------

class Model:
    """The list of tensors, each with its size and a function that writes its data."""
    def __init__(self, o):
        self.o = o
        self.tensors = []       # name, dims, type, bytes, writer
        self.ternary = Ternary({"i2_s": I2_S, "tq1_0": TQ1_0, "tq2_0": TQ2_0}[o.type])
        self.embedding = Embedding({"f32": F32, "f16": F16, "q8_0": Q8_0, "q6_k": Q6_K}[o.embd])
        self.sub_norms = o.arch.startswith("bitnet")
        self.constant = None
        if o.gate_sparsity is not None:
            self.constant = self.embedding.constant_value(BIAS_VALUE, EMBD_STD)
        self.add_all()

    def rand(self, name):
        return random.Random("%d/%s" % (self.o.seed, name))

    def vector(self, name, values):
        packed = struct.pack("<%df" % len(values), *values)
        self.tensors.append((name, (len(values),), F32, len(packed), lambda out: out.write(packed)))

    def norm(self, name, n, gain):
        """Gains around @gain."""
        rand = self.rand(name)
        self.vector(name, [gain * rand.uniform(0.8, 1.2) for _ in range(n)])

    def scale(self, name):
        return self.rand(name + "/scale").uniform(1.2, 1.6)

    def gain(self, name, cols):
        """What gives the matrix @name, fed with inputs of this standard deviation, outputs of 1."""
        return 1 / (self.scale(name) * math.sqrt(cols * (1 - ZEROS)))

    def matrix(self, name, rows, cols, **special):
        scale, kind = self.scale(name), self.ternary
        if cols % kind.block:
            sys.exit("%s: %d columns are no multiple of the %d of %s" % (name, cols, kind.block, self.o.type))
        self.tensors.append((name + ".weight", (cols, rows), kind.kind, kind.nbytes(rows, cols),
                             lambda out: kind.write(out, rows, cols, scale, self.rand(name), **special)))
        if kind.kind != I2_S:
            self.vector(name + ".scale", [scale])

    def add_embedding(self, name):
        o, e = self.o, self.embedding
        if o.hidden % e.block:
            sys.exit("%s: %d columns are no multiple of the %d of %s" % (name, o.hidden, e.block, o.embd))
        self.tensors.append((name, (o.hidden, o.vocab), e.kind, e.nbytes(o.vocab, o.hidden),
                             lambda out: e.write(out, o.vocab, o.hidden, EMBD_STD, self.rand(name),
                                                 self.constant)))

    def add_ffn_norm(self, layer, name, gain):
        """With --gate-sparsity, the constant dimensions come out of the norm as a known number."""
        o, rand = self.o, self.rand(name)
        gains = [gain * rand.uniform(0.8, 1.2) for _ in range(o.hidden)]
        if self.constant is not None:
            gate = "blk.%d.ffn_gate" % layer
            # spread of the gate's outputs: gains vary, and the matrix has no constant columns
            spread = math.sqrt(sum(g * g for g in gains[BIAS_DIMS:]) * (1 - ZEROS)) * self.scale(gate)
            shift = -NORMAL.inv_cdf(o.gate_sparsity) * spread
            # 2 * layer + 1 half layers have added their variance to the stream
            rms = math.sqrt(((EMBD_STD ** 2 + 2 * layer + 1) * (o.hidden - BIAS_DIMS) +
                             self.constant ** 2 * BIAS_DIMS) / o.hidden)
            wanted = shift / (BIAS_DIMS * self.scale(gate))
            gains[:BIAS_DIMS] = [wanted * rms / self.constant] * BIAS_DIMS
        self.vector(name, gains)

    def add_layer(self, i):
        o, b = self.o, "blk.%d." % i
        q_rows, kv_rows = o.heads * o.head_dim, o.kv_heads * o.head_dim
        biased = self.constant is not None
        writes = dict(zero_rows=BIAS_DIMS if biased else 0)
        self.norm(b + "attn_norm.weight", o.hidden, self.gain(b + "attn_v", o.hidden))
        if self.sub_norms:
            self.norm(b + "attn_sub_norm.weight", q_rows, self.gain(b + "attn_output", q_rows))
        self.matrix(b + "attn_q", q_rows, o.hidden)
        self.matrix(b + "attn_k", kv_rows, o.hidden)
        self.matrix(b + "attn_v", kv_rows, o.hidden)
        self.matrix(b + "attn_output", o.hidden, q_rows, **writes)
        self.add_ffn_norm(i, b + "ffn_norm.weight", self.gain(b + "ffn_gate", o.hidden))
        if self.sub_norms:
            self.norm(b + "ffn_sub_norm.weight", o.ffn, self.gain(b + "ffn_down", o.ffn))
        self.matrix(b + "ffn_gate", o.ffn, o.hidden, minus_cols=BIAS_DIMS if biased else 0)
        self.matrix(b + "ffn_up", o.ffn, o.hidden)
        self.matrix(b + "ffn_down", o.hidden, o.ffn, **writes)

    def add_all(self):
        o = self.o
        self.add_embedding("token_embd.weight")
        for i in range(o.layers):
            self.add_layer(i)
        self.norm("output_norm.weight", o.hidden, LOGIT_STD / (math.sqrt(o.hidden) * EMBD_STD))
        if o.untied:
            self.add_embedding("output.weight")

    def header(self):
        packed = keys(self.o)
        infos, offset = [], 0
        for name, dims, kind, nbytes, _ in self.tensors:
            infos.append(string(name) + struct.pack("<I%dQIQ" % len(dims), len(dims), *dims, kind, offset))
            offset += -(-nbytes // ALIGNMENT) * ALIGNMENT
        return struct.pack("<4sIQQ", b"GGUF", 3, len(infos), len(packed)) + b"".join(packed + infos)

    def write(self, out):
        pad(out, out.write(self.header()))
        for name, _, _, nbytes, writer in self.tensors:
            if sys.stderr.isatty():
                print("\r\033[K%s" % name, end="", file=sys.stderr, flush=True)
            start = out.tell()
            writer(out)
            if out.tell() - start != nbytes:
                raise AssertionError(name)
            pad(out, nbytes)
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)

def pad(out, n):
    out.write(b"\0" * (-n % ALIGNMENT))

def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("output", help="file to write")
    p.add_argument("--preset", choices=PRESETS, default="tiny", help="shape to start from (default tiny)")
    p.add_argument("--type", choices=("i2_s", "tq1_0", "tq2_0"), default="i2_s", help="of ternary matrices")
    p.add_argument("--embd", choices=("f16", "f32", "q8_0", "q6_k"), default="f16", help="type of the embedding")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--gate-sparsity", type=float, metavar="P", help="fraction of positive gate outputs, see above")
    p.add_argument("--untied", action="store_true", help="with an output.weight of its own")
    p.add_argument("--arch", default="bitnet-b1.58", help="general.architecture; bitnet* has sub-norms")
    p.add_argument("--eps", type=float, default=1e-5)
    p.add_argument("--name")
    for name in ("layers", "hidden", "ffn", "heads", "kv-heads", "head-dim", "vocab", "ctx"):
        p.add_argument("--" + name, type=int)
    p.add_argument("--rope-theta", type=float)
    o = p.parse_args()
    for name, value in PRESETS[o.preset].items():
        if getattr(o, name) is None:
            setattr(o, name, value)
    sizes = (o.layers, o.hidden, o.ffn, o.heads, o.kv_heads, o.head_dim, o.ctx)
    if min(sizes) < 1 or o.head_dim % 2 or o.heads % o.kv_heads:
        p.error("sizes are positive, head-dim is even, heads a multiple of kv-heads")
    if o.gate_sparsity is not None and not 0 < o.gate_sparsity < 1:
        p.error("--gate-sparsity is between 0 and 1")
    if o.gate_sparsity is not None and not o.arch.startswith("bitnet"):
        p.error("--gate-sparsity needs the sub-norms of a bitnet architecture")
    return o

def main():
    o = options()
    part = o.output + ".part"
    try:
        with open(part, "wb") as out:
            Model(o).write(out)
        os.replace(part, o.output)
    except BaseException:
        if os.path.exists(part):
            os.unlink(part)
        raise

if __name__ == "__main__":
    main()
