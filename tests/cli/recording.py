# SPDX-License-Identifier: GPL-2.0
"""recording.py N - a recording for "bitnetctl top --replay": N snapshots, a second apart.

Three processes of two users: alice's decodes 40 tokens/s on half a CPU, her other one 10 tokens/s and is
parked, bob's feeds 100 tokens/s of a prompt. Tokens take 2^20 .. 2^21 ns.
"""
import json
import sys


def process(t, number, pid, uid, user, comm, rate_in, rate_out, cpu, parked=0, late=0):
    return {"file": number, "pid": pid, "uid": uid, "user": user, "comm": comm, "models": 1, "sessions": 1,
            "jobs": 1, "parked": parked, "tokens_in": rate_in * t, "tokens_out": rate_out * t,
            "cpu_ns": int(cpu * t * 1e9), "queue_ns": 2500000 * number, "late": late * t,
            "realtime_tokens": late * 10 * t}


def snapshot(t):
    files = [process(t, 1, 101, 1000, "alice", "bitnetctl", 0, 40, 0.5),
             process(t, 2, 102, 1000, "alice", "editor", 0, 10, 0.1, parked=1),
             process(t, 3, 203, 1001, "bob", "indexer", 100, 0, 0.9, late=1)]
    def total(key):
        return sum(f[key] for f in files)
    return {"schema": 1, "time_ns": 5000000000 + t * 1000000000, "module_version": "9.9", "abi": 1,
            "variant": "avx2", "workers": 2,
            "totals": {"models": 2, "sessions": 3, "jobs": 3, "files_open": 3, "tokens_in": total("tokens_in"),
                       "tokens_out": total("tokens_out"), "jobs_done": t, "jobs_failed": 0, "jobs_cancelled": 0,
                       "pinned_bytes": 3 << 20, "kv_bytes": 1 << 20, "cpu_ns": total("cpu_ns"), "steps": 50 * t,
                       "section_max_ns": 23000, "batch_floor_ppm": 50000},
            "files": files,
            "models": [{"name": "story", "bytes": 2 << 20, "shared": 1, "handles": 2, "sessions": 2, "uid": 0,
                        "user": "root", "digest": "0x00000000000000aa"},
                       {"name": "poem", "bytes": 1 << 20, "shared": 0, "handles": 1, "sessions": 1, "uid": 1001,
                        "user": "bob", "digest": "0x00000000000000bb"}],
            "cpus": [{"cpu": 2, "parked": 0, "online": 1, "cpu_ns": t * 900000000, "section_max_ns": 23000,
                      "throttled_ns": 0},
                     {"cpu": 3, "parked": 1, "online": 1, "cpu_ns": 0, "section_max_ns": 0, "throttled_ns": 0}],
            "token_ns": [[1 << 20, 50 * t]]}


for second in range(int(sys.argv[1])):
    print(json.dumps(snapshot(second + 1)))
