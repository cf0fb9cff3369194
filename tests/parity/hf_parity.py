#!/usr/bin/env python3
"""mkvm against HuggingFace transformers on a random Qwen3 snapshot.

One command on a machine with a GPU, torch and transformers; nothing is
downloaded:

    tests/parity/hf_parity.py --mkvm build/mkvm

makes a snapshot of Qwen3-0.6B's exact geometry (bf16, norm weights not all
one) with transformers, and compares logits and greedy tokens with
transformers in float32 (the oracle) and in bf16 (the measure of how much error
is usual). Exit code 1 when something is off. `--geometry tiny --device cpu`
tries the script itself on a machine without a GPU.

What must hold:
  - teacher-forced logits: at every position, mkvm's error against the oracle
    is no larger than transformers-bf16's, in the L2 norm and in the maximum;
  - free-running greedy tokens equal the oracle's (teacher-forced along mkvm's
    tokens) wherever the oracle's top1-top2 gap exceeds the bf16 error there,
    and that is so for at least half of the tokens;
  - two runs give the same bits, and so do tagged edges and plain counters.
"""

import argparse
import datetime
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch
import transformers

GEOMETRIES = {
    "0.6b": dict(
        hidden_size=1024,
        intermediate_size=3072,
        num_hidden_layers=28,
        num_attention_heads=16,
        num_key_value_heads=8,
        vocab_size=151936,
    ),
    "tiny": dict(
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=2048,
    ),
}


def make_snapshot(folder, geometry, seed):
    """Writes a random bf16 snapshot whose logits are sharp and varied."""
    torch.manual_seed(seed)
    config = transformers.Qwen3Config(
        head_dim=128,
        max_position_embeddings=40960,
        rope_parameters={"rope_type": "default", "rope_theta": 1000000.0},
        rms_norm_eps=1e-6,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=1,
        **geometry,
    )
    model = transformers.Qwen3ForCausalLM(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            if "norm" in name:
                p.copy_(1 + 0.3 * noise)
            elif "embed" in name:
                p.copy_(0.05 * noise)
            else:
                # Each projection keeps the size of what comes in, but what is
                # added to the residual stream is a quarter of that: so bf16's
                # error is that of a trained model (1-2 %), and the top token
                # is neither always the last one nor left to rounding.
                added = "o_proj" in name or "down_proj" in name
                p.copy_((0.25 if added else 1) * noise / p.shape[1] ** 0.5)
    model.to(torch.bfloat16).save_pretrained(folder)


class Oracle:
    """transformers on the snapshot, in one dtype, eager attention."""

    # Tokens at a time: scores of all pairs of positions would not fit at 32,768.
    CHUNK = 1024

    def __init__(self, folder, dtype, device):
        self.device = device
        self.model = transformers.Qwen3ForCausalLM.from_pretrained(
            folder, dtype=dtype, attn_implementation="eager"
        ).to(device)
        self.model.eval()

    @torch.no_grad()
    def logits(self, ids, rows):
        """float32 [len(rows), vocab] after tokens 0..row of ids; rows ascend."""
        cache = transformers.DynamicCache(config=self.model.config)
        out = []
        for begin in range(0, len(ids), self.CHUNK):
            tokens = torch.tensor([ids[begin:begin + self.CHUNK]],
                                  device=self.device)
            hidden = self.model.model(tokens, past_key_values=cache,
                                      use_cache=True).last_hidden_state
            wanted = [row - begin for row in rows
                      if begin <= row < begin + tokens.shape[1]]
            out.append(self.model.lm_head(hidden[0, torch.tensor(
                wanted, dtype=torch.long)]).float().cpu())
        return torch.cat(out).numpy()


def compute_oracles(folder, sequences, device):
    """{dtype name: [logits of each (ids, rows)]}, one model at a time."""
    results = {}
    for name, dtype in (("f32", torch.float32), ("bf16", torch.bfloat16)):
        oracle = Oracle(folder, dtype, device)
        results[name] = [oracle.logits(ids, rows) for ids, rows in sequences]
        del oracle
        if device.startswith("cuda"):
            torch.cuda.empty_cache()
    return results


class Mkvm:
    def __init__(self, binary, folder, device, work):
        self.binary = binary
        self.folder = folder
        self.device = device
        self.work = work

    def call(self, verb, *args):
        command = [self.binary, verb, "--model", self.folder]
        command += ["--device", self.device, *args]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)}\n{done.stderr}")
        sys.stderr.write(done.stderr.splitlines()[-1] + "\n")
        return done.stdout

    def score(self, ids, rows, transport):
        ids_path = self.work / "ids.txt"
        ids_path.write_text(" ".join(map(str, ids)))
        out_path = self.work / "logits.npy"
        positions = ",".join(map(str, rows))
        self.call("score", "--ids", str(ids_path), "--positions", positions,
                  "--transport", transport, "-o", str(out_path))
        return np.load(out_path)

    def generate(self, prompt, count):
        prompt_ids = ",".join(map(str, prompt))
        out = self.call("run", "--prompt_ids", prompt_ids, "-n", str(count),
                        "--ignore_eos", "--json")
        return json.loads(out)


def relative_error(values, oracle):
    error = values.astype(np.float64) - oracle
    return {
        "l2": float(np.linalg.norm(error) / np.linalg.norm(oracle)),
        "max": float(np.abs(error).max() / np.abs(oracle).max()),
    }


def gap(logits):
    second, first = np.partition(logits, -2)[-2:]
    return float(first - second)


def compare_positions(positions, mkvm, f32, bf16):
    rows = []
    for i, position in enumerate(positions):
        ours = relative_error(mkvm[i], f32[i])
        theirs = relative_error(bf16[i], f32[i])
        rows.append({
            "position": position,
            "mkvm": ours,
            "bf16": theirs,
            "mkvm_top1_agrees": int(mkvm[i].argmax()) == int(f32[i].argmax()),
            "bf16_top1_agrees": int(bf16[i].argmax()) == int(f32[i].argmax()),
            "gap": gap(f32[i]),
            # NaN compares false, so that it fails.
            "ok": ours["l2"] <= theirs["l2"] and ours["max"] <= theirs["max"],
        })
    return rows


def compare_tokens(tokens, f32, bf16):
    """The oracle's choice at each step along mkvm's own tokens."""
    forced = differing = ties = 0
    for token, exact, rounded in zip(tokens, f32, bf16):
        error = float(np.abs(rounded - exact).max())
        decided = gap(exact) > error
        equal = int(exact.argmax()) == token
        forced += decided
        differing += decided and not equal
        ties += not decided and not equal
    return {
        "tokens": len(tokens),
        "decided_by_gap": forced,
        "differing": differing,
        "differing_within_error": ties,
        "distinct": len(set(tokens)),
        "ok": differing == 0 and 2 * forced >= len(tokens),
    }


def print_report(report):
    print(f"{'position':>8} | {'mkvm L2':>9} {'bf16 L2':>9} | {'mkvm max':>9} "
          f"{'bf16 max':>9} | {'top-1':>5} {'bf16':>5} | {'gap':>7} |")
    for row in report["teacher_forced"]:
        print(f"{row['position']:>8} | {row['mkvm']['l2']:9.2e} "
              f"{row['bf16']['l2']:9.2e} | {row['mkvm']['max']:9.2e} "
              f"{row['bf16']['max']:9.2e} | "
              f"{'same' if row['mkvm_top1_agrees'] else 'other':>5} "
              f"{'same' if row['bf16_top1_agrees'] else 'other':>5} | "
              f"{row['gap']:7.3f} | {'ok' if row['ok'] else 'FAILED'}")
    free = report["free_running"]
    print(f"free-running: {free['tokens']} tokens ({free['distinct']} "
          f"distinct), {free['decided_by_gap']} with a gap above the bf16 "
          f"error, of which {free['differing']} differ; "
          f"{free['differing_within_error']} others differ: "
          f"{'ok' if free['ok'] else 'FAILED'}")
    for name, same in report["same_bits"].items():
        print(f"same bits, {name}: {'ok' if same else 'FAILED'}")


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mkvm", default="build/mkvm", help="the binary")
    parser.add_argument("--device", default="cuda:0", help="mkvm's device")
    parser.add_argument("--torch_device",
                        default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--geometry", default="0.6b", choices=GEOMETRIES)
    parser.add_argument("--positions", default="1,130,1000,4096")
    parser.add_argument("--repeat_below", type=int, default=8192,
                        help="compare bits of runs up to this position")
    parser.add_argument("--tokens", type=int, default=96,
                        help="free-running tokens")
    parser.add_argument("--prompt_tokens", type=int, default=33,
                        help="length of the free-running prompt")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", help="folder for the snapshot (temporary)")
    parser.add_argument("--json", default="hf_parity.json",
                        help="result file")
    return parser.parse_args()


def measure(args, work):
    positions = sorted(map(int, args.positions.split(",")))
    geometry = GEOMETRIES[args.geometry]
    folder = str(work / "snapshot")
    if not os.path.exists(folder + "/config.json"):
        make_snapshot(folder, geometry, args.seed)
    rng = np.random.default_rng(args.seed)
    ids = rng.integers(2, geometry["vocab_size"], positions[-1] + 1).tolist()
    prompt = ids[: args.prompt_tokens]
    mkvm = Mkvm(args.mkvm, folder, args.device, work)

    tagged = mkvm.score(ids, positions, "tagged")
    again = [p for p in positions if p <= args.repeat_below] or positions[:1]
    def same_again(transport):
        logits = mkvm.score(ids[: again[-1] + 1], again, transport)
        return np.array_equal(tagged[: len(again)].view(np.int32),
                              logits.view(np.int32))
    same_bits = {
        "second score": same_again("tagged"),
        "tagged and counters": same_again("counters"),
    }
    run = mkvm.generate(prompt, args.tokens)
    same_bits["second run"] = (
        mkvm.generate(prompt, args.tokens)["ids"] == run["ids"])
    if len(run["ids"]) != args.tokens:
        sys.exit(f"mkvm made {len(run['ids'])} tokens, not {args.tokens}")

    # The logits that chose token i are those after everything before it.
    along = prompt + run["ids"]
    steps = list(range(len(prompt) - 1, len(along) - 1))
    oracles = compute_oracles(
        folder, [(ids, positions), (along, steps)], args.torch_device)
    return {
        "date": datetime.date.today().isoformat(),
        "command": " ".join(sys.argv),
        "geometry": args.geometry,
        "mkvm_device": run["device"],
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "tokens_per_s": run["tokens_per_s"],
        "teacher_forced": compare_positions(
            positions, tagged, oracles["f32"][0], oracles["bf16"][0]),
        "free_running": compare_tokens(
            run["ids"], oracles["f32"][1], oracles["bf16"][1]),
        "same_bits": same_bits,
    }


def main():
    args = parse_args()
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    with tempfile.TemporaryDirectory() as temporary:
        work = pathlib.Path(args.work or temporary)
        work.mkdir(parents=True, exist_ok=True)
        report = measure(args, work)
    report["ok"] = (
        all(row["ok"] for row in report["teacher_forced"])
        and report["free_running"]["ok"]
        and all(report["same_bits"].values()))
    pathlib.Path(args.json).write_text(json.dumps(report, indent=1) + "\n")
    print_report(report)
    print("PASSED" if report["ok"] else "FAILED")
    sys.exit(0 if report["ok"] else 1)


if __name__ == "__main__":
    main()
