"""Short stories, put together from plots with many wordings."""

import plots
import words
from spin import a, capital

_PRONOUNS = {
    True: ("she", "her", "her", "girl"),
    False: ("he", "him", "his", "boy"),
}
_SHE = {"girl", "queen", "princess", "witch", "mermaid", "fairy", "grandmother",
        "hen", "cow"}
_HE = {"boy", "king", "prince", "wizard", "grandfather", "fisherman", "snowman"}


class Story:
    """A story: its text and what can be asked about it."""

    def __init__(self, dice, kind=None, thing=None, place=None, name=None,
                 friend_kind=None, adjective=None, brief=False):
        self._dice = dice
        self.kind = kind or self._some_kind()
        self.thing = thing or dice.pick(words.OBJECTS)
        in_, place_ = place or dice.pick(words.PLACES)
        self.place = f"{in_} {place_}"
        self.name = name or self._some_name()
        self.adjective = adjective or dice.pick(words.ADJECTIVES)
        self.friend_kind = friend_kind or self._some_kind()
        while self.friend_kind == self.kind:
            self.friend_kind = self._some_kind()
        self.friend = self._some_name()
        while self.friend == self.name:
            self.friend = self._some_name()
        self._fields(place_)
        plot = dice.pick(plots.BRIEF if brief else plots.LONG)
        self.text = self._tell(plot)

    def _some_kind(self):
        return self._dice.pick(self._dice.pick(
            (words.ANIMALS, words.ANIMALS, words.PEOPLE, words.CREATURES)))

    def _some_name(self):
        names = (words.NAMES_SHE, words.NAMES_HE, words.PET_NAMES)
        if self._dice.chance(0.08):
            return words.made_up(self._dice).capitalize()
        return self._dice.pick(self._dice.pick(names))

    def _is_she(self, name, kind):
        if kind in _SHE or kind in _HE:
            return kind in _SHE
        if name in words.NAMES_SHE or name in words.NAMES_HE:
            return name in words.NAMES_SHE
        return self._dice.chance(0.5)

    def _fields(self, place):
        dice = self._dice
        he, him, his, _ = _PRONOUNS[self._is_she(self.name, self.kind)]
        fhe, fhim, fhis, _ = _PRONOUNS[
            self._is_she(self.friend, self.friend_kind)]
        adj = self.adjective
        fadj = dice.pick(words.ADJECTIVES)
        self.fields = dict(
            N=self.name, k=self.kind, he=he, him=him, his=his, He=capital(he),
            His=capital(his), adj=adj, ak=a(f"{adj} {self.kind}"),
            a_k=a(self.kind),
            F=self.friend, fk=self.friend_kind, a_fk=a(self.friend_kind),
            fhe=fhe, fhim=fhim, fhis=fhis,
            Fhe=capital(fhe), afk=a(f"{fadj} {self.friend_kind}"),
            o=self.thing, ao=a(self.thing), Ao=capital(a(self.thing)),
            P=self.place, Pc=capital(self.place), p=place,
            food=dice.pick(words.FOODS), colour=dice.pick(words.COLOURS),
            fear=dice.pick(plots.FEARS), skill=dice.pick(plots.SKILLS),
        )

    def _tell(self, plot):
        parts = []
        for paragraph in plot:
            parts.append(" ".join(
                self._dice.spin(sentence, **self.fields)
                for sentence in paragraph).replace("  ", " ").strip())
        return "\n\n".join(part for part in parts if part)

    def title(self):
        return self._dice.spin(
            "[{N} and the {o}|The {k} and the {o}|The {adj} {k}|{N} and {F}"
            "|{N} the {k}]", **self.fields)

    def questions(self):
        """Questions about the story that its text answers, with answers."""
        f = self.fields
        return [
            ("[What was the {k}'s name|What was the name of the {k}|What was "
             "the {k} called]?", "[The {k}'s name was {N}|The {k} was called "
             "{N}|{He} was called {N}].", f),
            ("[Who was {F}|Who is {F}]?", "{F} was {a_fk}"
             "[, a friend of {N}|].", f),
            ("[Who was {N}|Who is {N}]?", "{N} was {a_k}.", f),
            ("[Who was the story about|What was the story about]?",
             "[The story|It] was about {a_k} [named|called] {N}.", f),
            ("[Where did {N} live|Where did the {k} live]?",
             "[{N}|The {k}|{He}] lived {P}.", f),
            ("[Who helped {N}|Who was the friend of {N}|What was the name of "
             "the friend]?", "[It was {F} the {fk}|{F} the {fk}|{N}'s friend "
             "was {F} the {fk}].", f),
            ("[What thing was in the story|What was the thing in the story]?",
             "[It was {ao}|{Ao}].", f),
        ]
