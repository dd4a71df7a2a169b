#!/usr/bin/env python3
"""The checks of .ci/panic-free, which builds the files that they read.

    check.py sites LIST PROGRAM...    every function in the programs that can panic is listed
    check.py api JSON SOURCE...       every public function of a crate is named in the sources

Each prints a line for every violation and then fails. LIST is listed.toml; a PROGRAM has symbols and
line tables; JSON is rustdoc's description of the crate.
"""

import functools
import json
import re
import struct
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter, defaultdict
from pathlib import Path

# Paths of the source of Rust's own library in the line tables.
LIBRARY = re.compile(r"/rustc/|/library/(core|alloc|std)/src/")


def output_of(*command, stdin=None):
    return subprocess.run(command, check=True, text=True, input=stdin, stdout=subprocess.PIPE).stdout


class Program:
    """A linked program: its functions, and which functions each of them mentions.

    A mention is a call, a jump, or taking the address.
    """

    def __init__(self, path):
        self.path = path
        self.functions = {}
        self.mentions = defaultdict(list)
        at = None
        for line in output_of("objdump", "-d", "-C", "--no-show-raw-insn", path).splitlines():
            if start := re.match(r"([0-9a-f]+) <(.*)>:$", line):
                at = int(start[1], 16)
                self.functions[at] = start[2]
            elif instruction := re.match(r" *([0-9a-f]+):\t.*\b([0-9a-f]+) <", line):
                place, mentioned = (int(number, 16) for number in instruction.groups())
                self.mentions[mentioned].append((place, at))

    def frames(self, places):
        """The functions that each place was inlined from, innermost first, with file and line."""
        frames, lines = defaultdict(list), iter(
            output_of(
                "addr2line", "-a", "-i", "-f", "-C", "-e", self.path, stdin="\n".join(map(hex, places))
            ).splitlines()
        )
        for line in lines:
            if line.startswith("0x"):
                place = int(line, 16)
            else:
                frames[place].append((without_closures(line), next(lines)))
        return frames

    def is_in_data(self, function):
        """Whether a table or another constant may hold the address of this function."""
        return struct.pack("<Q", function) in self.data

    @functools.cached_property
    def data(self):
        with tempfile.TemporaryDirectory() as folder:
            sections = Path(folder, "sections")
            names = [".rodata", ".data.rel.ro", ".data", ".got", ".init_array"]
            output_of(
                "objcopy", "-O", "binary", *(f"-j{name}" for name in names), self.path, str(sections)
            )
            return sections.read_bytes()


def without_closures(name):
    """The name of the function around a closure: a closure's checks count as that function's."""
    return re.sub(r"(::\{+closure(#\d+)?\}+)+$", "", name)


def sites(program, listed):
    """Walks back from the panic handler to the functions that can panic: (function, where, callee).

    A mention belongs to its innermost frame that is listed or outside Rust's library. If there is no
    such frame, the whole function is the library's and can panic, so the functions that mention it come next.
    """
    handlers = [at for at, name in program.functions.items() if "rust_begin_unwind" in name]
    assert len(handlers) == 1, f"{program.path}: no panic handler"
    found, can_panic, next_ones = set(), set(handlers), handlers
    while next_ones:
        callee = next_ones.pop()
        if program.is_in_data(callee):
            found.add(("a table of functions", "?", program.functions[callee]))
        mentions = [(place, by) for place, by in program.mentions[callee] if by != callee]
        frames = program.frames([place for place, _ in mentions])
        for place, by in mentions:
            # The symbol names the function even if the line tables do not cover the place.
            symbol = without_closures(program.functions[by])
            owner = next(
                (
                    (name, where)
                    for name, where in frames[place] + [(symbol, "/rustc/")]
                    if name in listed or not (LIBRARY.search(where) or where.startswith("?"))
                ),
                None,
            )
            if owner:
                found.add((*owner, program.functions[callee]))
            elif by not in can_panic:
                can_panic.add(by)
                next_ones.append(by)
    return found


def check_sites(list_path, *paths):
    listed = {site["function"] for site in tomllib.loads(Path(list_path).read_text())["site"]}
    unseen = set(listed)
    for path in paths:
        for function, where, callee in sorted(sites(Program(path), listed)):
            unseen.discard(function)
            if function not in listed:
                yield f"{path}: {function} can panic at {where}, through {callee}"
    for function in sorted(unseen):
        yield f"{list_path}: {function} is not in the program or can no longer panic: remove it"


def public_functions(document):
    """Every function of the public API, named as in the program: `module::Type::function`, or
    `Trait::function for module::Type`. Types of other crates are `_`; for an item at the root, the name
    of the crate stands for the module."""
    items, paths = document["index"], document["paths"]
    crate, *modules = public_modules(document)
    shown = {}
    public = (item for item in items.values() if "module" in item["inner"] and item["name"] in modules)
    # What two modules show is named after the last one: `driver`, not `async_driver`.
    for module in sorted(public, key=lambda module: module["name"], reverse=True):
        for item in module["inner"]["module"]["items"]:
            use = items[str(item)]["inner"].get("use", {}) if str(item) in items else {}
            if "id" in use:
                shown.setdefault(use["id"], module["name"])

    def name_of(item):
        _, module, *_, name = paths[str(item)]["path"]
        # An item of a private module is named after the public one that shows it.
        module = module if module in modules else shown.get(item, crate)
        return f"{module}::{name}"

    def functions_of(owner):
        return (items[str(item)] for item in owner["items"] if "function" in items[str(item)]["inner"])

    for item in items.values():
        kind, inner = next(iter(item["inner"].items()))
        if item["crate_id"] != 0:
            continue
        if kind == "function" and str(item["id"]) in paths:
            yield name_of(item["id"])
        elif kind == "trait":
            for function in functions_of(inner):
                if function["inner"]["function"]["has_body"]:
                    yield f"{item['name']}::{function['name']} for _"
        elif kind == "impl" and not inner["is_synthetic"] and not inner["blanket_impl"]:
            of = inner["for"].get("resolved_path")
            of = name_of(of["id"]) if of else "_"
            for function in functions_of(inner):
                if inner["trait"]:
                    yield f"{inner['trait']['path']}::{function['name']} for {of}"
                else:
                    yield f"{of}::{function['name']}"


def public_modules(document):
    """The name of the crate, and those of its public modules."""
    root = document["index"][str(document["root"])]
    items = (document["index"][str(item)] for item in root["inner"]["module"]["items"])
    return [root["name"]] + [item["name"] for item in items if "module" in item["inner"]]


def kept_functions(source, modules):
    """The functions in the source of the program, in the same notation."""
    source = re.sub(r"//.*", "", source)
    generics = re.compile(r"(::)?<[^<>]*>")
    of_module = rf"\b(?:{'|'.join(modules)})(?:::\w+|::<[^<>]*>)+"
    for function in re.findall(of_module, source):
        yield generics.sub("", function)
    for trait, method, types in re.findall(r"(\w+)(?:<.*>)?: (\w+) for([^;]*);", source):
        for of in re.split(r",(?![^<]*>)", types):
            of = generics.sub("", of.strip())
            yield f"{trait}::{method} for {of if of.split('::')[0] in modules else '_'}"


def check_api(json_path, *sources):
    document = json.loads(Path(json_path).read_text())
    api = Counter(public_functions(document))
    source = "\n".join(Path(source).read_text() for source in sources)
    kept = Counter(kept_functions(source, public_modules(document)))
    for function in sorted(api):
        # A type may have a method several times, from one trait with different type arguments.
        if kept[function] < api[function]:
            yield f"{function} is public but not in the program: add it"


if __name__ == "__main__":
    wrong = list({"sites": check_sites, "api": check_api}[sys.argv[1]](*sys.argv[2:]))
    for line in wrong:
        print(line, file=sys.stderr)
    sys.exit(bool(wrong))
