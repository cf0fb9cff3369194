"""What the model knows about mkvm: questions, and the project's own pages."""

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]

QUESTIONS = [  # question, answers; spun (see spin.py)
    ("[What is mkvm|What's mkvm|Tell me about mkvm|What does mkvm do|Explain "
     "mkvm|Do you know mkvm]",
     "[mkvm is a virtual machine for language models. It runs the whole decode "
     "loop as one program on one persistent GPU kernel."
     "|mkvm runs a language model's decode loop as one program on one "
     "persistent GPU kernel.]"),
    ("[What is a worker|What's a worker|Explain workers|What does a worker do]",
     "A worker carries out one queue of instructions, in order. On a GPU a "
     "worker is a block that has a multiprocessor to itself; on a CPU it is a "
     "thread."),
    ("[What is a counter|What's a counter|Explain counters|What does a counter "
     "do|What are counters for]",
     "A counter is how workers tell each other that something is ready. An "
     "instruction signals a counter when its results are visible, and others "
     "wait for it. Counters only grow."),
    ("[What is a program|What's a program|What is a program made of]",
     "A program is data: buffers, counters, and one queue of instructions per "
     "worker."),
    ("[What is an instruction|What's an instruction]",
     "An instruction is an opcode with its operands, the counters that it "
     "waits for and the counter that it signals. It is 128 bytes long."),
    ("[What is a queue|What's a queue]",
     "A queue is the list of instructions of one worker. The worker carries it "
     "out from the first to halt, in every pass."),
    ("[What is a pass|What's a pass]",
     "A pass is one trip through all queues. In a decode program a pass makes "
     "one token."),
    ("[What is a stage|What's a stage]",
     "A stage is 16 KiB of shared memory that holds weights. The loader fills "
     "stages ahead of the compute warps."),
    ("[What is a slot|What's a slot]",
     "A slot holds one decoded instruction in shared memory. There are eight."),
    ("[What is a wait|What's a wait]",
     "A wait is a counter and a threshold. The instruction begins when the "
     "counter has reached the threshold."),
    ("[What is a signal|What's a signal]",
     "A signal is the counter that an instruction raises when its results are "
     "visible."),
    ("[What is a buffer|What's a buffer]",
     "A buffer is a named array in memory: weights, activations, the cache or "
     "tokens."),
    ("[What is an operand|What's an operand]",
     "An operand is a buffer or a number that an instruction works with. An "
     "instruction has up to 20 of them."),
    ("[What is an opcode|What's an opcode]",
     "An opcode says what an instruction does. Examples are gemv, attention "
     "and argmax."),
    ("[What opcodes are there|Which opcodes are there|Name some opcodes|List "
     "the opcodes]",
     "Some opcodes are nop, halt, advance, embed, rms_norm, add, gemv, "
     "attention, attention_merge and argmax."),
    ("[What is the verifier|What does the verifier do|Explain the verifier]",
     "The verifier proves a program before it runs: bounds, coverage, freedom "
     "from races, and progress. It knows only the instruction set."),
    ("[What is the scheduler|What does the scheduler do|What is the compiler|"
     "What does the compiler do]",
     "The scheduler makes a program from a model's geometry and a target. It "
     "cuts the work into tiles and places them in the workers' queues."),
    ("[What is a trace|What's a trace|What is a trace for]",
     "A trace records what every instruction did and when. The command mkvm "
     "trace shows its critical path and its worst waits."),
    ("[What is a target|What's a target]",
     "A target describes a machine: how many workers it has, how many stages, "
     "and what things cost there."),
    ("[What is a tile|What's a tile]",
     "A tile is the part of an operation that one worker does, such as some "
     "rows of a matrix."),
    ("[What is a tag|What's a tag|What is tagged data]",
     "A tag is the low byte of an activation. It says in which pass the value "
     "was written, so that a reader can wait by looking at the data."),
    ("[What is f24|What's f24]",
     "f24 is the number format of activations: 24 bits of value and a tag of 8 "
     "bits."),
    ("[What is bf16|What's bf16]",
     "bf16 is the upper half of a 32-bit floating-point number. Weights and "
     "the cache are stored in it."),
    ("[What is the KV cache|What is a KV cache|What does the KV cache hold]",
     "The KV cache holds the keys and values of all positions so far, so that "
     "they need not be computed again."),
    ("[What is a token|What's a token]",
     "A token is a piece of text with a number. A model reads tokens and "
     "writes tokens."),
    ("[What is a GPU|What's a GPU]",
     "A GPU is a processor with many small cores that work at the same time."),
    ("[What is Qwen3|What's Qwen3|What is Qwen]",
     "Qwen3 is a family of language models. mkvm runs the dense ones, and I am "
     "built like one, only much smaller."),
    ("[What is a language model|What is an LLM|How do you work]",
     "A language model reads tokens and guesses the next one, again and "
     "again."),
    ("[What is CUDA|What is a kernel|What is a GPU kernel]",
     "A kernel is a program that runs on a GPU. CUDA is a way to write one."),
    ("[What is a layer|What is a model|What are weights|What is a weight]",
     "A model is made of layers, and layers of weights: numbers that were "
     "learnt in training."),
    ("[What is a tokenizer|What does the tokenizer do]",
     "A tokenizer cuts text into tokens and puts tokens together to text. "
     "mkvm's is a byte-level BPE."),
    ("[What is a megakernel|What's a megakernel]",
     "A megakernel is one GPU kernel that does the work of many: it is "
     "launched once and stays until the last token."),
    ("[What is the CPU machine|What does the CPU machine do]",
     "The CPU machine runs the same programs with threads and with the "
     "reference of every opcode."),
    ("[What is the GPU machine|What does the GPU machine do]",
     "The GPU machine runs a program on a persistent kernel with one block per "
     "worker. It is launched once for many tokens."),
    ("[Which models does mkvm run|What models does mkvm support|Which models "
     "can mkvm run]",
     "mkvm runs dense Qwen3 models, from 0.6B to 32B, and me."),
    ("[Which GPUs does mkvm support|What GPU do I need|Do I need a GPU|Does "
     "mkvm need a GPU]",
     "mkvm is written for the H200 and built for sm_80 and later. Without a "
     "GPU it runs on the CPU."),
    ("[How do I compile a program|How can I compile a program]",
     "Use mkvm compile with a config and a target, and give the output with "
     "-o."),
    ("[How do I run a program|How can I run a program]",
     "Use mkvm run with the program and the model's folder."),
    ("[How do I trace a program|How do I make a trace|How can I record a "
     "trace]",
     "Use mkvm run with --trace and the name of a file, then look at it with "
     "mkvm trace."),
    ("[How do I talk to a model|How do I chat with a model|How can I chat]",
     "Use mkvm chat with --model and the folder of a model. Without a model "
     "you talk to me."),
    ("[How do I see an opcode|How do I look up an opcode]",
     "Use mkvm isa with the name of the opcode."),
    ("[Is mkvm fast|How fast is mkvm]",
     "Yes. mkvm launches once and reads the weights without a pause between "
     "operations. The page docs/performance.md has the numbers."),
    ("[What is the license of mkvm|What licence does mkvm have|Which license "
     "has mkvm]", "mkvm is under the Apache License 2.0."),
    ("[What language is mkvm written in|In which language is mkvm written]",
     "mkvm is written in C++ and CUDA."),
    ("[Is mkvm deterministic]",
     "Yes. The same program with the same input on the same machine gives the "
     "same bits."),
    ("[Where is the documentation|Where are the docs|Where should I start "
     "reading]", "The documentation is in docs. Start with architecture.md."),
]

OPCODES = {
    "nop": "does nothing; its waits and its signal still happen",
    "halt": "ends the pass, and the program when it is time to stop",
    "advance": "appends the next token and decides whether to stop",
    "embed": "copies the row of a token from the embedding table",
    "rms_norm": "divides a vector by its root mean square and multiplies it "
                "with the norm's weights",
    "add": "adds two vectors",
    "silu_mul": "multiplies the SiLU of the gate with the up projection",
    "gemv": "multiplies a matrix with a vector",
    "qk_norm_rope_append": "norms and rotates queries and keys and appends "
                           "keys and values to the cache",
    "attention": "computes attention over one split of the positions",
    "attention_merge": "merges the splits of an attention",
    "argmax": "finds the first of the highest scores",
}


def question(dice):
    """(question, answer) about mkvm, spun."""
    if dice.chance(0.25):
        name = dice.pick(list(OPCODES))
        q = (f"[What does {name} do|What does the opcode {name} do|What is "
             f"{name}|Explain {name}|What is the opcode {name}]")
        return dice.spin(q), f"The opcode {name} {OPCODES[name]}."
    q, answer = dice.pick(QUESTIONS)
    q, answer = dice.spin(q), dice.spin(answer)
    if "mkvm" not in q and dice.chance(0.4):
        q += " in mkvm"
    return q, answer


def pages():
    """README.md and docs/*.md, in pieces of a few paragraphs."""
    pieces = []
    for path in [ROOT / "README.md"] + sorted((ROOT / "docs").glob("*.md")):
        piece = ""
        for part in re.split(r"\n(?=#)|\n\n", path.read_text()):
            if piece and len(piece) + len(part) > 1500:
                pieces.append(piece)
                piece = ""
            piece = f"{piece}\n\n{part}" if piece else part
        pieces.append(piece)
    return pieces
