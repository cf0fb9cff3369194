#!/usr/bin/env python3
"""mkvm's tokenizer and chat templates against HuggingFace's.

One command on a machine with transformers and tokenizers; nothing is
downloaded, and no weights are needed:

    tests/parity/text_parity.py --mkvm build/mkvm --model DIR \
        [--template FILE.jinja ...]

DIR holds tokenizer.json and chat_template.jinja. What must hold:
  - ids and decoded text are the same for every code point in contexts that
    show how it is classed, sorted and composed, and for random texts;
  - rendered conversations are the same to the byte for random ones with tools,
    calls, results, reasoning and odd JSON, with each template; where Jinja
    fails, mkvm fails.
Exit code 1 when something is off.
"""

import argparse
import copy
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import tokenizers
import transformers

# An added token: what is on either side of it is tokenized by itself, so that
# one call of mkvm does for a hundred thousand texts.
SEPARATOR = "<|endoftext|>"


def code_points():
    return [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def class_contexts(c):
    """Letter, number, space or other? The words' ends tell."""
    return f"a{c}b 1{c}{c}\n {c}! {c} x{c}\t{c}  {c}'{c}s"


def normal_contexts(c):
    """Its combining class and what it composes with."""
    return (
        f"e{c}\u0323;e\u0301{c};{c}\u0301;{c}\u0323\u0302;\u1100{c}\u0301;"
        f"\u0915{c};{c}\u093c;\uac00{c};{c}\u0307{c};"
        f"e{c}\u0345\u0334\u05b0\u3099\u302a;x{c}"
    )


def random_texts(count, seed):
    pick = random.Random(seed)
    pools = [
        list("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"),
        list("0123456789"),
        list(" \t\r\n\u00a0\u3000\u2028\u0085\u180e\u200b"),
        list("'.,;:!?-_=+*/\\|<>()[]{}\"#$%&@^~`"),
        [chr(c) for c in range(0xA1, 0x250)],
        [chr(c) for c in range(0x300, 0x370)],
        [chr(c) for c in range(0x370, 0x700)],
        [chr(c) for c in range(0x900, 0xE00)],
        [chr(c) for c in range(0x1100, 0x1200)],
        [chr(c) for c in range(0x4E00, 0x5000)],
        [chr(c) for c in range(0xAC00, 0xAD00)],
        [chr(c) for c in range(0x1F300, 0x1F700)] + ["\u200d", "\ufe0f"],
        ["'s", "'T", "'re", "'VE", "'ll", "'\u017f", "\r\n", "    ", "<think>"],
        ["<|im_start|>", "<|im_end|>", "</think>", "<|im_", "_end|>", "<"],
        [chr(c) for c in code_points() if c >= 0x10000],
    ]
    texts = []
    for _ in range(count):
        few = pick.sample(pools, pick.randint(1, 5))
        texts.append(
            "".join(
                pick.choice(pick.choice(few)) for _ in range(pick.randint(1, 40))
            )
        )
    return texts


class Mkvm:
    def __init__(self, program, model):
        self.program = program
        self.model = model

    def run(self, verb, *args, model=None):
        return subprocess.run(
            [self.program, verb, "--model", str(model or self.model), *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            check=False,
        )

    def tokenize(self, texts, separator_id, folder):
        path = pathlib.Path(folder, "texts")
        path.write_bytes(SEPARATOR.join(texts).encode())
        done = self.run("tokenize", "--file", str(path))
        if done.returncode != 0:
            sys.exit(done.stderr.decode())
        lists = [[]]
        for token in map(int, done.stdout.split()):
            if token == separator_id:
                lists.append([])
            else:
                lists[-1].append(token)
        return lists

    def detokenize(self, ids, folder):
        path = pathlib.Path(folder, "ids")
        path.write_text(" ".join(map(str, ids)))
        return self.run("detokenize", "--file", str(path)).stdout.decode()


def compare_texts(name, texts, mkvm, oracle, folder):
    separator_id = oracle.token_to_id(SEPARATOR)
    wrong = 0
    for begin in range(0, len(texts), 100000):
        batch = texts[begin : begin + 100000]
        wanted = [
            e.ids for e in oracle.encode_batch(batch, add_special_tokens=False)
        ]
        got = mkvm.tokenize(batch, separator_id, folder)
        if len(got) != len(batch):
            sys.exit(f"{name}: {len(got)} lists of ids for {len(batch)} texts")
        for text, a, b in zip(batch, wanted, got):
            if a != b:
                wrong += 1
                if wrong <= 5:
                    print(f"{name}: {ascii(text)}: {b}, not {a}")
        flat = [token for ids in wanted for token in ids]
        if mkvm.detokenize(flat, folder) != oracle.decode(
            flat, skip_special_tokens=False
        ):
            wrong += 1
            print(f"{name}: the decoded text differs")
    print(f"{name}: {len(texts)} texts, {wrong} differ")
    return wrong


def compare_broken_text(mkvm, oracle, folder, seed):
    """Random ids: their bytes are rarely UTF-8."""
    pick = random.Random(seed)
    limit = oracle.get_vocab_size()
    partial = [
        i for i in range(limit) if "\ufffd" in oracle.decode([i], False)
    ]
    wrong = 0
    for _ in range(20):
        ids = [
            pick.choice(partial) if pick.random() < 0.7 else pick.randrange(limit)
            for _ in range(5000)
        ]
        wrong += mkvm.detokenize(ids, folder) != oracle.decode(ids, False)
    print(f"random ids: 20 lists, {wrong} differ")
    return wrong


NUMBERS = [0, -0.0, 1, -7, 1.0, 0.1, 1e-5, 1.5e-7, 123456789.125, 1e15, 1e16]
NUMBERS += [2.5e22, 1e300, 5e-324, 2**63, 2**64, -(2**63), 10**30, True, None]
STRINGS = ["", "x", "a b", "\u5929\u6c14", 'say "hi"', "back\\slash", "\n"]
STRINGS += ["\x00\x1f\x7f\u2028", "<b>&'", "\U0001f642", "\t/\b\f\r"]
CONTENTS = ["", "hi", "\n", "\n\nx\n\n", "a\n\n b <|im_end|> c", "{{ x }}"]
CONTENTS += ["<tool_response>\nr\n</tool_response>", "<tool_response>x"]
CONTENTS += ["<think>\nwhy\n</think>\n\nanswer", "</think>tail", "<think>a"]
CONTENTS += ["<think>a</think>b<think>c</think>\n\nd", "\n<think>\n\n</think>"]


def random_json(pick, depth=0):
    kind = pick.randrange(6 if depth < 3 else 2)
    if kind == 0:
        return pick.choice(NUMBERS)
    if kind in (1, 2):
        return pick.choice(STRINGS)
    if kind == 3:
        return [random_json(pick, depth + 1) for _ in range(pick.randrange(3))]
    return {
        pick.choice(STRINGS) + str(i): random_json(pick, depth + 1)
        for i in range(pick.randrange(4))
    }


def random_call(pick):
    arguments = random_json(pick, 1)
    if pick.random() < 0.3:
        arguments = json.dumps(arguments)
    call = {"name": pick.choice(["f", "get_weather"]), "arguments": arguments}
    if pick.random() < 0.6:
        call = {"type": "function", "function": call}
    return call


def random_message(pick):
    role = pick.choice(
        ["user", "user", "assistant", "assistant", "tool", "system", "other"]
    )
    message = {"role": role, "content": pick.choice(CONTENTS)}
    if pick.random() < 0.06:
        message["content"] = pick.choice([None, [{"type": "text", "text": "t"}]])
    if role == "assistant" and pick.random() < 0.3:
        message["reasoning_content"] = pick.choice(CONTENTS + [None])
    if role == "assistant" and pick.random() < 0.3:
        message["tool_calls"] = [
            random_call(pick) for _ in range(pick.randrange(3))
        ]
    return message


def compare_template(path, count, mkvm, oracle, folder, seed):
    template = path.read_bytes().decode()
    shipped = pathlib.Path(folder, "shipped")
    shipped.mkdir(exist_ok=True)
    (shipped / "chat_template.jinja").write_bytes(template.encode())
    pick = random.Random(seed)
    wrong = failed = 0
    for _ in range(count):
        messages = [random_message(pick) for _ in range(pick.randint(1, 7))]
        tools = [{"a": random_json(pick)} for _ in range(pick.choice([0, 0, 2]))]
        thinking = pick.choice([True, False])
        prompt = pick.random() < 0.8
        try:
            wanted = oracle.apply_chat_template(
                copy.deepcopy(messages),
                tools=copy.deepcopy(tools) or None,
                chat_template=template,
                tokenize=False,
                add_generation_prompt=prompt,
                enable_thinking=thinking,
            )
        except Exception:  # Whatever Jinja or Python raise: no text.
            wanted = None
            failed += 1
        files = []
        for name, value in (("messages", messages), ("tools", tools)):
            file = pathlib.Path(folder, name + ".json")
            file.write_text(json.dumps(value))
            files += [f"--{name}", str(file)]
        done = mkvm.run(
            "template",
            *files,
            f"--enable_thinking={str(thinking).lower()}",
            f"--add_generation_prompt={str(prompt).lower()}",
            model=shipped,
        )
        got = done.stdout.decode() if done.returncode == 0 else None
        # A list or None that Jinja prints as Python does, mkvm refuses.
        odd = got is None and any(
            m["role"] == "tool" and not isinstance(m["content"], str)
            for m in messages
        )
        if got != wanted and not odd:
            wrong += 1
            if wrong <= 3:
                print(json.dumps(messages), json.dumps(tools))
                print(f"  {got!r}, {done.stderr.decode()}\n  not {wanted!r}")
    print(
        f"{path.name}: {count} conversations, {wrong} differ "
        f"(Jinja refused {failed})"
    )
    return wrong


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mkvm", required=True)
    parser.add_argument("--model", required=True, type=pathlib.Path)
    parser.add_argument("--template", action="append", type=pathlib.Path)
    parser.add_argument("--random", type=int, default=200000)
    parser.add_argument("--conversations", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    print(
        f"tokenizers {tokenizers.__version__}, "
        f"transformers {transformers.__version__}"
    )
    mkvm = Mkvm(args.mkvm, args.model)
    file = str(args.model / "tokenizer.json")
    oracle = tokenizers.Tokenizer.from_file(file)
    fast = transformers.PreTrainedTokenizerFast(tokenizer_file=file)
    templates = args.template or [args.model / "chat_template.jinja"]
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for path in templates:
            wrong += compare_template(
                path, args.conversations, mkvm, fast, folder, args.seed
            )
        texts = random_texts(args.random, args.seed)
        wrong += compare_texts("random texts", texts, mkvm, oracle, folder)
        wrong += compare_broken_text(mkvm, oracle, folder, args.seed)
        for name, context in (
            ("classes", class_contexts),
            ("normalisation", normal_contexts),
        ):
            texts = [context(chr(c)) for c in code_points()]
            wrong += compare_texts(name, texts, mkvm, oracle, folder)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
