# SPDX-License-Identifier: GPL-2.0
"""tracepoints.py - the tracepoints of kmod/trace.h, compared with who depends on them.

    tracepoints.py check TRACE_H SCRIPT...    each bpftrace script uses only events and fields that there are
    tracepoints.py document TRACE_H README    the README's table has exactly these events and fields
    tracepoints.py classes BITNET_H SCRIPT    the script's names of classes are those of the interface
    tracepoints.py tracefs TRACE_H FOLDER     makes FOLDER look like the kernel's tracefs with these events

Prints what is wrong; the exit code says whether anything is.
"""
import os
import re
import sys

SIZES = {"u64": 8, "u32": 4, "int": 4, "u16": 2, "u8": 1}
COMMON = [("unsigned short", "common_type", 2, 0), ("unsigned char", "common_flags", 1, 0),
          ("unsigned char", "common_preempt_count", 1, 0), ("int", "common_pid", 4, 1)]


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def events_of(header):
    """{event: [(type, field)]}, with classes of events resolved."""
    text = read(header)
    fields = {}
    for block in re.split(r"\n(?=TRACE_EVENT|DECLARE_EVENT_CLASS|DEFINE_EVENT)", text)[1:]:
        kind, names = re.match(r"(\w+)\(([^;]*?),\n", block).groups()
        names = [n.strip() for n in names.split(",")]
        if kind == "DEFINE_EVENT":
            fields[names[1]] = fields[names[0]]
        else:
            fields[names[0]] = re.findall(r"__field\((\w+),\s*(\w+)\)", block)
            if kind == "DECLARE_EVENT_CLASS":
                fields["class " + names[0]] = fields.pop(names[0])
                fields[names[0]] = fields["class " + names[0]]
    used = set(re.findall(r"DEFINE_EVENT\((\w+)", text))
    return {e: f for e, f in fields.items() if not e.startswith("class ") and e not in used}


def check(header, scripts):
    events = events_of(header)
    wrong = []
    for path in scripts:
        text = re.sub(r"/\*.*?\*/", "", read(path), flags=re.S)
        text = re.sub(r"//.*", "", text)
        probes = re.split(r"^(?=tracepoint:|BEGIN|END)", text, flags=re.M)
        if not any(p.startswith("tracepoint:") for p in probes):
            wrong.append(f"{path}: no probe")
        for probe in probes:
            name = re.match(r"tracepoint:(\w+):(\w+)", probe)
            if not name:
                continue
            if name[1] != "bitnet" or name[2] not in events:
                wrong.append(f"{path}: there is no event {name[1]}:{name[2]}")
                continue
            have = {f for _, f in events[name[2]]}
            for used in re.findall(r"\bargs(?:->|\.)(\w+)", probe):
                if used not in have:
                    wrong.append(f"{path}: {name[2]} has no field {used}")
    return wrong


def document(header, readme):
    events = events_of(header)
    told = {}
    for line in read(readme).splitlines():
        row = re.match(r"\| `(bitnet_\w+)` \| ([^|]*) \|", line)
        if row:
            told[row[1]] = re.findall(r"`(\w+)`", row[2])
    wrong = [f"{readme}: nothing about {e}" for e in events if e not in told]
    wrong += [f"{readme}: there is no event {e}" for e in told if e not in events]
    for event in events.keys() & told.keys():
        have = [f for _, f in events[event]]
        if sorted(have) != sorted(told[event]):
            wrong.append(f"{readme}: {event} has the fields {' '.join(have)}")
    return wrong


def classes(header, script):
    have = {int(n): name.lower() for name, n in
            re.findall(r"#define BITNET_CLASS_(\w+)\s+(\d+)$", read(header), flags=re.M)}
    told = {int(n): name for n, name in re.findall(r'@class\[(\d+)\] = "(\w+)"', read(script))}
    return [] if have and have == told else [f"{script}: classes are {have}, not {told}"]


def tracefs(header, folder):
    for event, fields in events_of(header).items():
        path = os.path.join(folder, "events/bitnet", event)
        os.makedirs(path)
        offset = 0
        lines = [f"name: {event}", "ID: 1", "format:"]
        rows = COMMON + [(t, n, SIZES[t], int(t == "int")) for t, n in fields]
        for kind, name, size, signed in rows:
            offset = -(-offset // size) * size
            lines.append(f"\tfield:{kind} {name};\toffset:{offset};\tsize:{size};\tsigned:{signed};")
            offset += size
            if name == "common_pid":
                lines.append("")
        with open(os.path.join(path, "format"), "w", encoding="utf-8") as f:
            f.write("\n".join(lines) + '\n\nprint fmt: ""\n')
    with open(os.path.join(folder, "available_events"), "w", encoding="utf-8") as f:
        f.writelines(f"bitnet:{e}\n" for e in events_of(header))
    with open(os.path.join(folder, "available_filter_functions"), "w", encoding="utf-8"):
        pass
    return []


def main():
    what, header, rest = sys.argv[1], sys.argv[2], sys.argv[3:]
    actions = {"check": lambda: check(header, rest), "document": lambda: document(header, rest[0]),
               "classes": lambda: classes(header, rest[0]), "tracefs": lambda: tracefs(header, rest[0])}
    wrong = actions[what]()
    print("\n".join(wrong))
    sys.exit(bool(wrong))


main()
