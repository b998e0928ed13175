# SPDX-License-Identifier: GPL-2.0
"""fields.py - JSON for shell tests: "get PATH" (a.b.0), "mask" (pretty, without what varies)."""
import json
import os
import sys

# Fields that say how fast, where or when, not what.
VARYING = {"speed", "variant", "threads", "fallback", "pid", "version", "variants", "seed", "no_device", "digest"}


def mask(value, key=""):
    if key in VARYING:
        return "*"
    if key == "path":
        return os.path.basename(value)
    if isinstance(value, dict):
        return {k: mask(v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [mask(v) for v in value]
    return value


def main():
    document = json.load(sys.stdin)
    if sys.argv[1] == "mask":
        print(json.dumps(mask(document), indent=1, sort_keys=True, ensure_ascii=False))
        return
    for step in sys.argv[2].split("."):
        document = document[int(step)] if isinstance(document, list) else document[step]
    print(document if isinstance(document, str) else json.dumps(document))


main()
