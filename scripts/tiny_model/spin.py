"""Text with choices in it, and the random numbers behind them.

"[Hello|Hi|] {name}" stands for "Hello Ada", "Hi Ada" or " Ada": brackets hold
alternatives, also within each other; braces are fields.
"""

import random
import re

_CHOICE = re.compile(r"\[([^\[\]]*)\]")


class Dice(random.Random):
    """A seeded source of choices."""

    def pick(self, items):
        return items[int(self.random() * len(items))]

    def chance(self, probability):
        return self.random() < probability

    def spin(self, text, **fields):
        while "[" in text:
            text = _CHOICE.sub(lambda m: self.pick(m.group(1).split("|")), text)
        return text.format(**fields) if fields else text


def a(noun):
    """The noun with its indefinite article."""
    vowel = noun[0].lower() in "aeiou" and not noun.startswith("uni")
    return ("an " if vowel else "a ") + noun


def capital(text):
    return text[:1].upper() + text[1:]
