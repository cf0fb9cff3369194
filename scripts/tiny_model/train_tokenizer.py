"""Trains the byte-level BPE of mkvm-tiny, of Qwen3's kind.

Usage: train_tokenizer.py CORPUS_DIR MODEL_DIR [--megabytes N]

Writes tokenizer.json, tokenizer_config.json and chat_template.jinja.
"""

import argparse
import json
import pathlib
import shutil

from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models,
                        normalizers, pre_tokenizers, processors, trainers)

VOCAB_SIZE = 2048  # with the special tokens
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CONTEXT = 2048  # tokens
# How Qwen's tokenizers cut a text into words: digits stand alone.
WORDS = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"
         r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def documents(corpus, limit_bytes):
    """Documents of the corpus, without special tokens."""
    size = 0
    for path in sorted(corpus.glob("train-*.txt")):
        for text in path.read_text(encoding="utf-8").split(SPECIAL[0]):
            for token in SPECIAL:
                text = text.replace(token, " ")
            yield text
            size += len(text)
        if size > limit_bytes:
            return


def train(corpus, limit_bytes):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(WORDS), behavior="isolated", invert=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False,
                                 use_regex=False),
    ])
    tokenizer.post_processor = processors.ByteLevel(
        add_prefix_space=False, trim_offsets=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel(
        add_prefix_space=False, trim_offsets=False, use_regex=False)
    tokenizer.train_from_iterator(
        documents(corpus, limit_bytes),
        trainers.BpeTrainer(
            vocab_size=VOCAB_SIZE - len(SPECIAL), show_progress=False,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False)
         for token in SPECIAL])
    assert tokenizer.get_vocab_size() == VOCAB_SIZE, tokenizer.get_vocab_size()
    return tokenizer


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--megabytes", type=float, default=20)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    tokenizer = train(args.corpus, args.megabytes * 1e6)
    tokenizer.save(str(args.out / "tokenizer.json"))
    config = {
        "add_bos_token": False,
        "add_prefix_space": False,
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>",
        "errors": "replace",
        "model_max_length": CONTEXT,
        "pad_token": "<|endoftext|>",
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": None,
    }
    (args.out / "tokenizer_config.json").write_text(
        json.dumps(config, indent=2) + "\n")
    shutil.copy(pathlib.Path(__file__).with_name("chat_template.jinja"),
                args.out)
    text = next(documents(args.corpus, 0))
    ids = tokenizer.encode(text).ids
    print(f"tokenizer: {tokenizer.get_vocab_size()} tokens; "
          f"{len(text) / len(ids):.2f} characters per token")


if __name__ == "__main__":
    main()
