#!/usr/bin/env python3
"""Checks who includes whom.

check_includes.py SOURCE_FOLDER: every #include "folder/..." of a source file
must be an edge of EDGES, and every other quoted include is an error. Includes
in angle brackets are checked only against FORBIDDEN_SYSTEM.
"""

import pathlib
import re
import sys

# docs/architecture.md explains why each edge is there, and why no other is.
EDGES = {
    "emulation": {"emulation", "ops"},
    "isa": {"isa"},
    "ops": {"ops", "isa"},
    "trace": {"trace", "isa"},
    "vm": {"vm", "ops", "isa", "trace"},
    "model": {"model"},
    "scheduler": {"scheduler", "isa", "model", "trace"},
    "cli": {"cli", "isa", "ops", "trace", "vm", "model", "scheduler"},
    "bench": {"bench", "isa", "ops", "trace", "vm", "model", "scheduler",
              "cli"},
    "tests": {"tests", "emulation", "isa", "ops", "trace", "vm", "model",
              "scheduler", "cli"},
}
# Libraries that a folder may not use although others may.
LIBRARIES = {
    "absl/": set(EDGES),
    "nlohmann/": {"trace", "model", "scheduler", "cli", "bench", "tests"},
    "gtest/": {"tests"},
    "gmock/": {"tests"},
}
# The instruction set is for hosts without CUDA too.
FORBIDDEN_SYSTEM = {
    "isa": re.compile(r"cuda|nv_"),
    "trace": re.compile(r"cuda|nv_"),
    "model": re.compile(r"cuda|nv_"),
    "scheduler": re.compile(r"cuda|nv_"),
    "cli": re.compile(r"cuda|nv_"),
}
SUFFIXES = {".h", ".cc", ".cu", ".cuh", ".def"}
INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]')


def check_include(folder, quote, target):
    """Returns what is wrong with one include, or None."""
    for prefix, users in LIBRARIES.items():
        if target.startswith(prefix):
            return None if folder in users else f"{folder} may not use {target}"
    if quote == "<":
        forbidden = FORBIDDEN_SYSTEM.get(folder)
        if forbidden and forbidden.search(target):
            return f"{folder} may not use <{target}>"
        return None
    top = target.split("/")[0]
    if "/" not in target or top not in EDGES:
        return f'"{target}" is not a path from the project\'s root'
    if top not in EDGES[folder]:
        return f"{folder} may not include {top}"
    return None


def check_file(root, path):
    folder = path.relative_to(root).parts[0]
    problems = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        match = INCLUDE.match(line)
        if not match:
            continue
        problem = check_include(folder, match[1], match[2])
        if problem:
            problems.append(f"{path.relative_to(root)}:{number}: {problem}")
    return problems


def self_test():
    """The rules themselves: a check that accepts everything is no check."""
    assert check_include("scheduler", '"', "isa/program.h") is None
    assert check_include("vm", "<", "cuda_runtime.h") is None
    assert check_include("scheduler", '"', "vm/machine.h")
    assert check_include("vm", '"', "model/config.h")
    assert check_include("isa", '"', "ops/op_context.h")
    assert check_include("isa", "<", "cuda_runtime.h")
    assert check_include("ops", '"', "nlohmann/json.hpp")
    assert check_include("cli", '"', "flags.h")


def main():
    root = pathlib.Path(sys.argv[1]).resolve()
    self_test()
    files = [
        path
        for folder in EDGES
        for path in sorted((root / folder).rglob("*"))
        if path.suffix in SUFFIXES
    ]
    if len(files) < 20:
        sys.exit(f"only {len(files)} source files under {root}")
    problems = [p for path in files for p in check_file(root, path)]
    print("\n".join(problems))
    print(f"{len(files)} files, {len(problems)} forbidden includes")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
