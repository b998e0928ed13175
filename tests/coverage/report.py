#!/usr/bin/env python3
"""Lines of the module that tests have executed, out of those that begin a basic block.

report.py MISSED (KO SEEN)...

Each bitnet.ko was compiled with calls at its basic blocks; its SEEN has lines "text OFFSET" or
"init OFFSET" of those that were executed. A line counts as executed if a block that begins on it
was, in any of the modules. MISSED gets the list of the others. The SIMD variants are not compiled
so: checkasm walks them.
"""
import collections
import re
import subprocess
import sys


def lines_of(*command, text=None):
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout.splitlines()


def sections(ko):
    """Executable sections in the order in which the kernel lays them out: (name, kind, offset)."""
    at = {"text": 0, "init": 0}
    rows = lines_of("readelf", "-SW", ko)
    for row in rows:
        m = re.match(r"\s*\[\s*\d+\]\s+(\S+)\s+PROGBITS\s+\S+\s+\S+\s+(\S+)\s+\S+\s+AX\s+\d+\s+\d+\s+(\d+)", row)
        if not m:
            continue
        name, size, align = m.group(1), int(m.group(2), 16), max(1, int(m.group(3)))
        kind = "init" if name.startswith(".init") else "text"
        at[kind] = (at[kind] + align - 1) // align * align
        yield name, kind, at[kind]
        at[kind] += size


SCRATCH = {"rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11"}
TRACE = "__sanitizer_cov_trace_pc"


def whole(register):
    """The 64-bit register that one is part of: "eax" is in "rax", "r8d" in "r8"."""
    m = re.fullmatch(r"%(r\d+)[dwb]?", register)
    if m:
        return m.group(1)
    m = re.fullmatch(r"%[er]?([a-d])[xlh]", register)
    if m:
        return f"r{m.group(1)}x"
    m = re.fullmatch(r"%[er]?(si|di|bp|sp)l?", register)
    return f"r{m.group(1)}" if m else None


def blocks(ko, name):
    """Offsets behind the calls in one section.

    User Mode Linux calls through registers. Which of them, or which places on the stack, hold the
    function's address is followed in the order of the code: compilers load it once for a function.
    """
    holders = set()
    pending = False
    for row in lines_of("objdump", "-drw", "--no-show-raw-insn", "-j", name, ko):
        if re.match(r"[0-9a-f]+ <.*>:$", row):
            holders.clear()
        m = re.match(r"\s*([0-9a-f]+):\s+(\S+)\s*(\S*)", row)
        if not m:
            continue
        if pending:
            yield int(m.group(1), 16)
        op, args = m.group(2), m.group(3)
        pending = False
        if op.startswith("call"):
            target = args.lstrip("*")
            pending = (TRACE in row and not args.startswith("*")) or (
                args.startswith("*") and (whole(target) or target) in holders)
            holders -= SCRATCH
        elif op != "pop":
            # Commas inside of parentheses belong to one operand.
            parts = re.split(r",(?![^(]*\))", args)
            to = whole(parts[-1]) or parts[-1]
            holds = TRACE in row and op == "movabs" or (
                op.startswith("mov") and len(parts) == 2 and (whole(parts[0]) or parts[0]) in holders)
            if holds:
                holders.add(to)
            elif op not in ("cmp", "test", "cmpq", "testq", "push") and not op.startswith("j"):
                holders.discard(to)


def places(ko, name, offsets):
    """File and line of each offset; the call lies before it."""
    out = lines_of("addr2line", "-j", name, "-e", ko, text="".join(f"{o - 1:x}\n" for o in offsets))
    for row in out:
        path, _, line = row.partition(":")
        line = line.split()[0]
        at = path.rfind("/kmod/")
        yield (path[at + 1:], int(line)) if at >= 0 and line.isdigit() else None


def main():
    executed = collections.defaultdict(set)
    known = collections.defaultdict(set)
    n_blocks = n_seen = n_unknown = 0
    for ko, path in zip(sys.argv[2::2], sys.argv[3::2]):
        with open(path) as f:
            seen = {tuple(row.split()) for row in f if row.startswith(("text ", "init "))}
        for name, kind, base in sections(ko):
            offsets = list(blocks(ko, name))
            if not offsets:
                continue
            ends = base + (offsets[-1] if offsets else 0) + 1
            n_unknown += sum(1 for k, o in seen if k == kind and base <= int(o, 16) < ends
                             and int(o, 16) - base not in set(offsets))
            for offset, place in zip(offsets, places(ko, name, offsets)):
                hit = (kind, f"{base + offset:x}") in seen
                n_blocks += 1
                n_seen += hit
                if place:
                    known[place[0]].add(place[1])
                    if hit:
                        executed[place[0]].add(place[1])
    total = sum(map(len, known.values()))
    hits = sum(map(len, executed.values()))
    if not total:
        sys.exit("no instrumented module")
    with open(sys.argv[1], "w") as missed:
        for file in sorted(known):
            print(f"# {file:32} {len(executed[file]):5} of {len(known[file]):5} lines "
                  f"{100 * len(executed[file]) / len(known[file]):6.1f} %")
            for line in sorted(known[file] - executed[file]):
                print(f"{file}:{line}", file=missed)
    print(f"lines {hits} of {total}, {100 * hits / total:.1f} %")
    if n_unknown:
        print(f"# {n_unknown} blocks were executed that are not known as such")
    print(f"blocks {n_seen} of {n_blocks}, {100 * n_seen / n_blocks:.1f} %")


main()
