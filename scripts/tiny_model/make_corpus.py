"""Writes the text that mkvm-tiny is trained on.

Usage: make_corpus.py OUT_DIR [--documents N] [--seed S] [--processes P]

OUT_DIR gets train-000.txt and so on, and held_out.txt. Every document (a story,
a conversation in ChatML, a page of the project) ends with <|endoftext|>. The
same seed and count give the same text, however many processes make it.
"""

import argparse
import multiprocessing
import os
import pathlib

import facts
import memory
import project
import talk
import words
from spin import Dice, a
from stories import Story

END = "<|endoftext|>"
DOCUMENTS_PER_FILE = 4000
_PAGES = project.pages()

_SYSTEM = ("[You are a helpful assistant.|You are mkvm-tiny, a very small "
           "model.|You are a friendly assistant.|You are mkvm-tiny.|Be kind "
           "and brief.|You talk with children.|You are a helpful and friendly "
           "assistant.|Be helpful.|You tell stories to children.]")


def chatml(system, turns):
    """The text of a conversation, as chat_template.jinja gives it."""
    messages = [("system", system)] if system else []
    for user, assistant in turns:
        messages += [("user", user), ("assistant", assistant)]
    return "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n"
                   for role, text in messages)


def some_turns(dice):
    if dice.chance(0.02):
        return talk.offered_story(dice)
    return dice.pick((talk.story_turns, talk.small_talk, talk.small_talk,
                      talk.fact_turns, talk.fact_turns, talk.fact_turns,
                      talk.project_turns))(dice)


def plain_chat(dice):
    """Whatever comes up, one exchange or many."""
    count = dice.pick((1, 1, 1, 2, 3, 4, 6))
    turns = [turn for _ in range(count) for turn in some_turns(dice)]
    if dice.chance(0.2):
        turns.insert(0, (dice.spin(talk.GREETINGS), dice.spin(talk.HELLO)))
    return turns


def memory_chat(dice):
    """Things are told, other talk comes between, and they are asked for."""
    items = memory.items(dice, dice.pick((1, 1, 2, 3, 4)))
    turns = []
    asked = list(items)
    dice.shuffle(asked)
    between = dice.pick((0, 0, 1, 2, 4))
    for statement, reply, _, _ in items:
        turns.append((statement, reply))
        if between and dice.chance(0.4):
            turns += some_turns(dice)
    for _ in range(between):
        turns += some_turns(dice)
    for _, _, question, answer in asked:
        turns.append((talk.casually(dice, question), answer))
        if dice.chance(0.15):
            turns += some_turns(dice)
    if dice.chance(0.3):
        turns.insert(0, (dice.spin(talk.GREETINGS), dice.spin(talk.HELLO)))
    return turns


def unknown_chat(dice):
    """Something is asked for that was never told."""
    turns = []
    for _ in range(dice.pick((0, 0, 1, 2))):
        turns += dice.pick((talk.fact_turns, talk.small_talk))(dice)
    turns.append(memory.unknown(dice))
    return turns


def persona_chat(dice):
    """The system message gives the model another name."""
    name = words.person(dice)[0]
    kind = f"{dice.pick(words.ADJECTIVES)} " + dice.pick(
        words.PEOPLE + words.CREATURES + words.ANIMALS)
    system = dice.spin(f"[Your name is {name}. You are {a(kind)}.|You are "
                       f"{name}, {a(kind)}.|You are {a(kind)} named {name}.]")
    me = f"[I am {name}, {a(kind)}.|My name is {name}. I am {a(kind)}.]"
    turns = [(talk.casually(dice, dice.spin(talk.WHO)), dice.spin(me))]
    for _ in range(dice.pick((0, 1, 2))):
        turns.insert(0 if dice.chance(0.5) else len(turns),
                     talk.fact_turns(dice)[0])
    return system, turns


def ruled_chat(dice):
    """The system message says how to answer."""
    found = [facts.fact(dice) for _ in range(dice.pick((1, 2, 3, 4)))]
    if dice.chance(0.5):
        system = dice.spin("[Answer with one word.|Answer briefly.|Give short "
                           "answers.|Answer as briefly as you can.|Be brief.]")
        return system, [(talk.ask(dice, q), short) for q, _, short in found]
    word = dice.pick((words.made_up(dice), dice.pick(words.OBJECTS),
                      "Ahoy", "Hooray", "Cheers", "Woof", "Meow"))
    word = word.capitalize() + "!"
    system = dice.spin(f"[End every answer with {word}|Always end with {word}|"
                       f"Say {word} after every answer.]")
    return system, [(talk.ask(dice, q), f"{answer} {word}")
                    for q, answer, _ in found]


def chat(dice):
    what = dice.random()
    if what < 0.08:
        return chatml(*persona_chat(dice))
    if what < 0.16:
        return chatml(*ruled_chat(dice))
    if what < 0.2:
        turns = unknown_chat(dice)
    elif what < 0.48:
        turns = memory_chat(dice)
    else:
        turns = plain_chat(dice)
    system = dice.spin(_SYSTEM) if dice.chance(0.25) else None
    return chatml(system, turns)


def plain_text(dice):
    what = dice.random()
    if what < 0.8:
        story = Story(dice, brief=dice.chance(0.2))
        title = story.title() + "\n\n" if dice.chance(0.25) else ""
        return title + story.text
    if what < 0.9:
        return "\n".join(facts.fact(dice)[1]
                         for _ in range(dice.pick((1, 2, 4, 8))))
    return dice.pick(_PAGES)


def document(seed, index):
    dice = Dice(f"{seed} {index}")
    return plain_text(dice) if dice.chance(0.2) else chat(dice)


def _write(job):
    path, seed, begin, end = job
    with open(path, "w", encoding="utf-8") as file:
        for index in range(begin, end):
            file.write(document(seed, index) + END)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--documents", type=int, default=400_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    jobs = []
    for i, begin in enumerate(range(0, args.documents, DOCUMENTS_PER_FILE)):
        end = min(begin + DOCUMENTS_PER_FILE, args.documents)
        jobs.append((args.out / f"train-{i:03}.txt", args.seed, begin, end))
    held_out = min(2000, max(50, args.documents // 20))
    jobs.append((args.out / "held_out.txt", f"held out {args.seed}", 0,
                 held_out))
    with multiprocessing.Pool(args.processes) as pool:
        pool.map(_write, jobs, chunksize=1)
    size = sum(job[0].stat().st_size for job in jobs)
    print(f"{args.documents} documents and {held_out} held out, "
          f"{size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
