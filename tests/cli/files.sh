#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# show, pack and verify.
. "$(dirname "$0")/tap.bash"

run bitnetctl show "$model"
is "$status:$err" "0:" "show"
like "$out" "6 layers, hidden 256, ffn 768, 4 heads of 64 \(2 key/value\), vocabulary 4096" "  shape"
like "$out" "context 512, squared ReLU, tied head, sub-norms" "  architecture"
like "$out" "weights +checked: sound" "  the weights were checked"
like "$out" "no output matrix: the head is the token embedding" "  what was repaired"
like "$out" "general.architecture = bitnet-b1.58" "  metadata"
unlike "$out" "blk.0.attn_q" "  no tensors unless asked for"
run bitnetctl show "$model" --tensors
like "$out" "blk\.5\.ffn_down\.weight +I2_S +256 x 768" "show --tensors"
run bitnetctl show "$model" --fast
like "$out" "not checked" "show --fast"
bitnetctl show "$model" -j --tensors >show.json
golden show.json show

run bitnetctl pack "$model" -o model.bitnet
is "$status:$err" "0:" "pack"
like "$out" "packed, digest 0x[0-9a-f]{16}, checked" "  says what it did"
bitnetctl pack "$model" -o again.bitnet -j >pack.json
golden pack.json pack
ok "packing is reproducible" cmp model.bitnet again.bitnet
bitnetctl pack model.bitnet -o third.bitnet >/dev/null
ok "packing an image gives it again" cmp model.bitnet third.bitnet
bitnetctl show model.bitnet -j --tensors >image.json
golden image.json image
is "$(field image.json digest)" "$(field show.json digest)" "GGUF and image have one digest"
is "$(local_run -p "Once upon a time" -n 30 --temp 0)" \
	"$(bitnetctl run ./model.bitnet --engine=local -q -p "Once upon a time" -n 30 --temp 0)" "and give the same text"
bitnetctl pack "$src/tests/golden/demo-tq2_0.gguf" -o tq2.bitnet >/dev/null
# Its architecture, "bitnet", means SiLU to all loaders; these weights were trained with squared ReLU.
unlike "$(bitnetctl run ./tq2.bitnet --engine=local -q -p "Once upon a time" -n 30 --temp 0)" "little girl" \
	"another activation, another text"
bitnetctl pack "$src/tests/golden/demo-tq2_0.gguf" --activation relu2 -o tq2.bitnet >/dev/null
is "$(bitnetctl run ./tq2.bitnet --engine=local -q -p "Once upon a time" -n 30 --temp 0)" \
	"$(local_run -p "Once upon a time" -n 30 --temp 0)" "a TQ2_0 file of the same weights gives the same text"
is "$(bitnetctl pack "$model" -o named --name "My Model" >/dev/null && bitnetctl run ./named --engine=local -q -j -p x -n 1 |
	field /dev/stdin model.name)" "My-Model" "pack --name"
printf old >old
chmod 640 old
bitnetctl pack "$model" -o old -q >/dev/null
ok "an old file is replaced" cmp old model.bitnet

# One run, both ways to print it: it computes everything 17 times.
bitnetctl verify model.bitnet --engine=local -n 1 -j -q >verify.json
is "$?" 0 "verify"
is "$(field verify.json same):$(field verify.json device)" "true:false" "  all the same, without the device"
count() { python3 -c 'import json, sys; print(eval(sys.argv[1], {"d": json.load(sys.stdin)}))' "$1"; }
is "$(count 'len(d["checks"])' <verify.json)" \
	"$(bitnetctl info -j --device /nonexistent | count '4 * sum(v["usable"] for v in d["variants"])')" \
	"  every usable variant, 1 and 2 threads, batch 1 and 8"
is "$(count 'all(c[s] for c in d["checks"] for s in ("greedy", "sampled", "score", "linear"))' <verify.json)" True \
	"  in every respect"
fails 3 "no device" "verify of a device that is not there" bitnetctl verify "$model" --engine=device --device /nonexistent
finish
