#!/usr/bin/env python3
"""mkvm's greedy tokens with models/mkvm-tiny against HuggingFace's.

    tests/parity/tiny_parity.py --mkvm build/mkvm [--model DIR] [--write]
        [--prompts N] [--device cpu|cuda:0]

The oracle is transformers in float32 on the snapshot's own bf16 weights. Checks
golden.json of the snapshot, which tests/parity/tiny_model_test.cc goes by
without python; --write makes it anew first. Then runs N prompts made of the
training text's questions and compares every token. Where the two part, the gap
between the oracle's best two logits there is printed. Exit code 1 when golden.json
is off, or when they part at a gap of 0.2 or more: below that rounding may decide.
(With this model, mkvm's moves the gap by 0.013 in the mean, 0.13 at most;
transformers' own in bf16 by 0.06 and 0.35.)
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys

import torch
import transformers

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts" / "tiny_model"))
import talk  # noqa: E402
from spin import Dice  # noqa: E402

TOKENS = 256
TIE = 0.2  # between two logits
CLEAR = 0.05  # the same, for golden.json


def _said(*turns):
    roles = ("user", "assistant")
    return [
        {"role": roles[i % 2], "content": text} for i, text in enumerate(turns)
    ]


# Their answers pass by near ties, so each token is tested after the oracle's.
STORIES = [_said("Tell me a story about a dragon."), "Once upon a time"]
NEEDED = [
    _said("Hi, who are you?"),
    _said("What is a counter in mkvm?"),
    _said("What is the opposite of hot?"),
    _said(
        "My name is Ada.",
        "Nice to meet you, Ada!",
        "What is 3 plus 4?",
        "3 plus 4 is 7.",
        "What is my name?",
    ),
    [{"role": "system", "content": "Answer with one word."}]
    + _said("What is the capital of France?"),
    _said("Count to twelve."),
]


class Oracle:
    def __init__(self, folder):
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32
        ).eval()
        self.stop = self.model.generation_config.eos_token_id

    def render(self, messages):
        if isinstance(messages, str):
            return messages
        return self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )

    @torch.no_grad()
    def greedy(self, prompt_ids):
        """The ids, an end of text with them, and each one's gap."""
        out = self.model.generate(
            torch.tensor([prompt_ids]),
            max_new_tokens=TOKENS,
            do_sample=False,
            temperature=None,
            top_k=None,
            top_p=None,
            eos_token_id=self.stop,
            return_dict_in_generate=True,
            output_logits=True,
        )
        ids = out.sequences[0, len(prompt_ids) :].tolist()
        gaps = []
        for logits in out.logits:
            best = logits[0].topk(2).values
            gaps.append((best[0] - best[1]).item())
        return ids, gaps

    def case(self, messages):
        text = self.render(messages)
        prompt_ids = self.tokenizer(text).input_ids
        ids, gaps = self.greedy(prompt_ids)
        return {
            "messages": messages,
            "prompt": text,
            "prompt_ids": prompt_ids,
            "ids": ids,
            "text": self.tokenizer.decode(ids),
            "smallest_gap": round(min(gaps), 4),
        }, gaps


def mkvm_greedy(args, prompt_ids):
    done = subprocess.run(
        [args.mkvm, "run", "--model", str(args.model), "-n", str(TOKENS)]
        + ["--prompt_ids", ",".join(map(str, prompt_ids))]
        + ["--device", args.device],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(done.stderr)
    return [int(token) for token in done.stdout.replace(",", " ").split()]


def random_prompt(dice):
    """A conversation of the training text's kind, and a question."""
    turns = []
    for _ in range(dice.pick((1, 1, 2, 3))):
        turns += dice.pick(
            (talk.story_turns, talk.small_talk, talk.fact_turns)
        )(dice)
    return _said(*[text for turn in turns for text in turn][:-1])


def new_cases(oracle):
    cases = []
    for messages in NEEDED:
        case, gaps = oracle.case(messages)
        if min(gaps) < CLEAR:
            sys.exit(f"a near tie: choose another question than {messages}")
        cases.append(case)
    return cases


def new_stories(oracle):
    stories = []
    for messages in STORIES:
        case, gaps = oracle.case(messages)
        case["gaps"] = [round(gap, 2) for gap in gaps]
        stories.append(case)
    return stories


def write_golden(path, oracle):
    made = {
        "made_by": "tests/parity/tiny_parity.py --write",
        "oracle": f"transformers {transformers.__version__}, torch "
        f"{torch.__version__}, float32",
        "cases": new_cases(oracle),
        "stories": new_stories(oracle),
    }
    text = json.dumps(made, indent=1, ensure_ascii=False) + "\n"
    # Ids beside each other, not one to a line.
    text = re.sub(r"\n +(?=[\d.]+,?\n)|(?<=\d)\n +(?=\])", " ", text)
    path.write_text(text)


def golden(args, oracle):
    """How many cases of golden.json are not as the oracle has them."""
    path = args.model / "golden.json"
    if args.write:
        write_golden(path, oracle)
    kept = json.loads(path.read_text())
    same = []
    for old in kept["cases"] + kept["stories"]:
        new, _ = oracle.case(old["messages"])
        same.append(all(old[key] == new[key] for key in ("prompt_ids", "ids")))
    print(f"golden.json: {same.count(True)} of {len(same)} cases as the oracle's")
    return same.count(False)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mkvm", required=True)
    parser.add_argument(
        "--model", type=pathlib.Path, default=ROOT / "models" / "mkvm-tiny"
    )
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    torch.set_num_threads(1)  # faster than more for so small a model
    oracle = Oracle(args.model)
    wrong = golden(args, oracle)
    tokens = ties = 0
    smallest = float("inf")
    for i in range(args.prompts):
        case, gaps = oracle.case(random_prompt(Dice(f"{args.seed} {i}")))
        got = mkvm_greedy(args, case["prompt_ids"])
        tokens += len(case["ids"])
        smallest = min(smallest, min(gaps))
        if got != case["ids"]:
            at = next(
                (k for k, (a, b) in enumerate(zip(got, case["ids"])) if a != b),
                min(len(got), len(case["ids"])),
            )
            gap = gaps[at] if at < len(gaps) else 0
            print(f"prompt {i}, token {at}: the oracle's gap is {gap:.4g}")
            ties += gap < TIE
            wrong += gap >= TIE
    print(
        f"{args.prompts} prompts, {tokens} tokens: {wrong} differ, and {ties} at "
        f"a gap below {TIE}; the oracle's smallest gap is {smallest:.4g}"
    )
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
