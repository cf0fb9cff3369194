#!/usr/bin/env python3
"""mkvm's tokenizer beside HuggingFace's `tokenizers`, in the same run.

    bench/tokenizer_speed.py --mkvm build/mkvm --model DIR FILE...

Tokenizes each file whole, in turn with both, checks that the ids are the same,
and prints a row of docs/tokenizer.md for each. One thread each; the median of
--rounds calls, the fastest and the slowest in parentheses; reading files and
loading the tokenizer are not counted. Exit code 1 where ids differ.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

# Read when the library starts.
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
import tokenizers  # noqa: E402  pylint: disable=wrong-import-position


def mkvm_seconds(args, path):
    out = subprocess.check_output(
        [args.mkvm, "tokenize", "--model", args.model, "--file", path]
        + ["--benchmark", "1", "--json"]
    )
    return json.loads(out)["seconds"][0]


def cell(num_bytes, seconds):
    rate = [num_bytes / 1e6 / s for s in seconds]
    return (
        f"{statistics.median(rate):.1f} MB/s "
        f"({min(rate):.1f} to {max(rate):.1f})"
    )


def measure(args, oracle, path):
    """One row; True if the ids agree."""
    text = pathlib.Path(path).read_bytes().decode()
    num_bytes = len(text.encode())
    ours, theirs = [], []
    for _ in range(args.rounds):
        ours.append(mkvm_seconds(args, path))
        begin = time.perf_counter()
        wanted = oracle.encode(text, add_special_tokens=False).ids
        theirs.append(time.perf_counter() - begin)
    out = subprocess.check_output(
        [args.mkvm, "tokenize", "--model", args.model, "--file", path]
    )
    same = list(map(int, out.split())) == wanted
    print(
        f"| {os.path.basename(path)} | {num_bytes / 1e6:.1f} MB | "
        f"{len(wanted):,} | {cell(num_bytes, ours)} | "
        f"{cell(num_bytes, theirs)} | {'same' if same else 'DIFFERENT'} |"
    )
    return same


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mkvm", required=True)
    parser.add_argument("--model", required=True, help="with tokenizer.json")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("files", nargs="+")
    args = parser.parse_args()
    file = os.path.join(args.model, "tokenizer.json")
    oracle = tokenizers.Tokenizer.from_file(file)
    print(
        f"| document | size | tokens | mkvm | tokenizers "
        f"{tokenizers.__version__} | ids |"
    )
    print("|---|---|---|---|---|---|")
    sys.exit(0 if all([measure(args, oracle, f) for f in args.files]) else 1)


if __name__ == "__main__":
    main()
