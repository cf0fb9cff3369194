"""Trains mkvm-tiny: a Qwen3 of 2.8 million parameters.

Usage: train.py CORPUS_DIR MODEL_DIR [--minutes M | --steps N] [--seed S]

MODEL_DIR has the tokenizer already; it gets config.json, model.safetensors
(bf16), generation_config.json and train_log.json. On a GPU the weights are
trained in float32 with bf16 autocast; without one, slowly, in float32.
"""

import argparse
import json
import math
import multiprocessing
import os
import pathlib
import time

import torch
from tokenizers import Tokenizer
from torch.nn import functional
from transformers import (AutoTokenizer, GenerationConfig, Qwen3Config,
                          Qwen3ForCausalLM)

CONTEXT = 2048
# Tokens of a row, step by step: mostly short rows, to see many beginnings.
ROW_TOKENS = (512, 512, 512, CONTEXT)
WARMUP_STEPS = 200
PEAK_RATE = 3e-3
FLOOR = 0.02  # of the peak, at the end
PROMPTS = ["Hi, who are you?", "Tell me a story about a dragon.",
           "What is a counter in mkvm?", "What is the opposite of hot?"]


def config_of(tokenizer):
    return Qwen3Config(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=192,
        intermediate_size=448, num_hidden_layers=6, num_attention_heads=8,
        num_key_value_heads=4, head_dim=32, max_position_embeddings=CONTEXT,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        rms_norm_eps=1e-6, tie_word_embeddings=True, attention_bias=False,
        use_sliding_window=False, initializer_range=0.02,
        bos_token_id=None, pad_token_id=None,
        eos_token_id=tokenizer.token_to_id("<|im_end|>"))


def _encode(job):
    tokenizer_path, path = job
    # There is a process per core already.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    tokenizer = Tokenizer.from_file(str(tokenizer_path))
    text = path.read_text(encoding="utf-8")
    end = "<|endoftext|>"
    documents = [part + end for part in text.split(end)[:-1]]
    lists = [e.ids for e in tokenizer.encode_batch(documents)]
    starts = torch.tensor([len(ids) for ids in lists]).cumsum(0)
    ids = torch.tensor([i for ids in lists for i in ids], dtype=torch.int16)
    return ids.numpy(), torch.cat([starts.new_zeros(1), starts[:-1]]).numpy()


class Text:
    """All tokens of some files on the device, and where documents begin."""

    def __init__(self, tokenizer_path, paths, device):
        with multiprocessing.get_context("spawn").Pool(
                min(len(paths), os.cpu_count())) as pool:
            parts = pool.map(_encode, [(tokenizer_path, p) for p in paths],
                             chunksize=1)
        offset = 0
        starts = []
        for ids, begins in parts:
            starts.append(torch.from_numpy(begins) + offset)
            offset += len(ids)
        self.tokens = torch.cat([torch.from_numpy(ids) for ids, _ in parts])
        self.tokens = self.tokens.to(device)
        self.starts = torch.cat(starts)
        # So many of them are whole rows; counted here, not on the device.
        self.usable = {
            length: int((self.starts + length < len(self.tokens)).sum())
            for length in set(ROW_TOKENS)}
        self.starts = self.starts.to(device)
        self.device = device

    def rows(self, count, length, generator):
        """[count, length + 1] tokens, each row from a document's beginning."""
        which = torch.randint(self.usable[length], (count,),
                              generator=generator, device=self.device)
        columns = torch.arange(length + 1, device=self.device)
        return self.tokens[self.starts[which, None] + columns].long()


def loss_of(model, rows):
    logits = model(input_ids=rows[:, :-1], use_cache=False).logits
    return functional.cross_entropy(
        logits.float().flatten(0, 1), rows[:, 1:].flatten())


def optimizer_of(model):
    decayed = [p for p in model.parameters() if p.dim() >= 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    return torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1},
         {"params": others, "weight_decay": 0.0}],
        lr=PEAK_RATE, betas=(0.9, 0.95), eps=1e-8)


def rate(step, progress):
    """Warm-up, then a cosine; `progress` in [0, 1] is of time or steps."""
    warm = min(1.0, (step + 1) / WARMUP_STEPS)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return PEAK_RATE * warm * (FLOOR + (1 - FLOOR) * cosine)


@torch.no_grad()
def held_out_loss(model, text, batch_tokens, autocast):
    generator = torch.Generator(device=text.device).manual_seed(0)
    total = 0.0
    model.eval()
    count = 8
    for _ in range(count):
        with autocast():
            total += loss_of(model, text.rows(
                max(1, batch_tokens // 512), 512, generator)).item()
    model.train()
    return total / count


def train(model, text, args, autocast):
    """The loss curve: a list of (step, seconds, loss)."""
    generator = torch.Generator(device=text.device).manual_seed(args.seed)
    optimizer = optimizer_of(model)
    curve = []
    begin = time.monotonic()
    step = 0
    progress = 0.0
    while progress < 1.0:
        length = ROW_TOKENS[step % len(ROW_TOKENS)]
        for group in optimizer.param_groups:
            group["lr"] = rate(step, progress)
        with autocast():
            loss = loss_of(model, text.rows(
                max(1, args.batch_tokens // length), length, generator))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 100 == 0:
            # .item() waits for the device, so that the time is real.
            value = loss.item()
            curve.append((step, round(time.monotonic() - begin, 2),
                          round(value, 4)))
            if not math.isfinite(value):
                raise SystemExit(f"step {step}: the loss is {value}")
            print("step %d, %.1f s, loss %.4f" % curve[-1], flush=True)
        step += 1
        if args.steps:
            progress = step / args.steps
        else:
            progress = (time.monotonic() - begin) / (60 * args.minutes)
    curve.append((step, round(time.monotonic() - begin, 2),
                  round(loss.item(), 4)))
    print("step %d, %.1f s, loss %.4f" % curve[-1], flush=True)
    return curve


def samples(model, tokenizer):
    """Greedy answers, and a text gone on with."""
    texts = []
    stop = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    prompts = [tokenizer.apply_chat_template(
        [{"role": "user", "content": p}], tokenize=False,
        add_generation_prompt=True) for p in PROMPTS] + ["Once upon a time"]
    for prompt in prompts:
        ids = tokenizer(prompt, return_tensors="pt").input_ids.to(model.device)
        out = model.generate(ids, max_new_tokens=200, do_sample=False,
                             eos_token_id=stop, pad_token_id=stop[1])
        texts.append(tokenizer.decode(out[0]))
    return texts


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--minutes", type=float, default=2.5)
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--batch_tokens", type=int, default=65536)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cuda.matmul.allow_tf32 = True

    def autocast():
        return torch.autocast(device.type, torch.bfloat16,
                              enabled=device.type == "cuda")

    tokenizer_path = args.out / "tokenizer.json"
    begin = time.monotonic()
    text = Text(tokenizer_path, sorted(args.corpus.glob("train-*.txt")), device)
    held_out = Text(tokenizer_path, [args.corpus / "held_out.txt"], device)
    print(f"{len(text.tokens)} tokens in {len(text.starts)} documents, encoded "
          f"in {time.monotonic() - begin:.1f} s", flush=True)

    model = Qwen3ForCausalLM(config_of(Tokenizer.from_file(
        str(tokenizer_path)))).to(device)
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{parameters} parameters on {device}", flush=True)
    curve = train(model, text, args, autocast)
    final = held_out_loss(model, held_out, args.batch_tokens, autocast)
    print(f"held-out loss {final:.4f}", flush=True)

    model = model.eval().to(torch.bfloat16)
    tokenizer = AutoTokenizer.from_pretrained(args.out)
    model.generation_config = GenerationConfig(
        do_sample=True, temperature=0.7, top_k=20, top_p=0.9,
        eos_token_id=tokenizer.convert_tokens_to_ids(
            ["<|im_end|>", "<|endoftext|>"]),
        pad_token_id=tokenizer.pad_token_id)
    model.save_pretrained(args.out)
    texts = samples(model.float(), tokenizer)
    for sample in texts:
        print("----\n" + sample)
    log = {
        "device": (torch.cuda.get_device_name() if device.type == "cuda"
                   else "CPU"),
        "torch": torch.__version__,
        "parameters": parameters,
        "corpus_tokens": len(text.tokens),
        "documents": len(text.starts),
        "tokens_per_step": args.batch_tokens,
        "steps": curve[-1][0],
        "seconds": curve[-1][1],
        "held_out_loss": round(final, 4),
        "curve": curve,
        "samples": texts,
    }
    (args.out / "train_log.json").write_text(json.dumps(log, indent=1) + "\n")


if __name__ == "__main__":
    main()
