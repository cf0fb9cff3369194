"""Things that a user says of themselves and asks for later."""

import words
from spin import a, capital


def _name(d):
    name, _ = words.person(d)
    hi = d.spin("[Hi|Hello|Hey|Good morning]")
    say = d.spin(f"[My name is {name}.|I am {name}.|My name is {name}.|I'm "
                 f"{name}.|{hi}, my name is {name}.|{hi}, I am {name}.|{hi}! "
                 f"I'm {name}.|You can call me {name}.|Call me {name}.|my name "
                 f"is {name}]")
    return (say, f"[Nice to meet you, {name}!|Hello, {name}! It is nice to "
            f"meet you.|Hello {name}! How can I help you?|It is nice to meet "
            f"you, {name}! What can I do for you?]",
            "[What is my name|What's my name|Do you remember my name|Who am I|"
            "Do you know my name|what is my name|Can you tell me my name]?",
            f"Your name is {name}.")


def _pet(d):
    kind = d.pick("cat dog horse rabbit hamster parrot fish bird mouse goat "
                  "turtle donkey".split())
    name = (d.pick(words.PET_NAMES) if d.chance(0.7)
            else words.made_up(d).capitalize())
    return (f"[I have {a(kind)} [named|called] {name}.|My {kind} is called "
            f"{name}.|My {kind}'s name is {name}.]",
            f"[What a nice name for {a(kind)}!|{name} is a nice name!|I am "
            f"sure that {name} is a lovely {kind}.]",
            f"[What is my {kind}'s name|What is the name of my {kind}|What is "
            f"my {kind} called|Do you remember the name of my {kind}]?",
            f"[Your {kind}'s name is {name}.|Your {kind} is called {name}.]")


def _colour(d):
    x = d.pick(words.COLOURS)
    return (f"[My favourite colour is {x}.|My favorite color is {x}.|I like "
            f"the colour {x} best.]", f"[{capital(x)} is a beautiful colour!|I "
            f"like {x}, too!]",
            "[What is my favourite colour|What's my favorite color|Which "
            "colour do I like|Do you remember my favourite colour]?",
            f"Your favourite colour is {x}.")


def _food(d):
    x = d.pick(words.FOODS)
    return (f"[I like {x}.|I love {x}.|My favourite food is {x}.|I like to eat "
            f"{x}.]", f"[{capital(x)}! That sounds good.|I have never eaten "
            f"{x}, but it sounds good.]",
            "[What do I like to eat|What is my favourite food|Which food do I "
            "like|What food do I like]?", f"You like {x}.")


def _age(d):
    x = d.randrange(3, 99)
    return (f"[I am {x} years old.|I'm {x} years old.|I am {x}.|"
            f"My age is {x}.]",
            f"[{x} is a good age!|Then you are older than I am!]",
            "[How old am I|What is my age|Do you remember my age|Do you know "
            "how old I am]?", f"You are {x} years old.")


def _city(d):
    x = d.pick(words.CITIES) if d.chance(0.8) else words.made_up(d).capitalize()
    return (f"[I live in {x}.|I am from {x}.|I come from {x}.|My home is in {x}"
            ".]", f"[{x} must be a nice place!|I have never been to {x}, but I "
            f"would like to see it.]",
            "[Where do I live|Where am I from|Where do I come from|Which city "
            "do I live in]?", f"You [live in|are from] {x}.")


def _hobby(d):
    x = d.pick(words.HOBBIES)
    return (f"[I like {x}.|My hobby is {x}.|I love {x}.]",
            f"{capital(x)} is [a lot of fun|a good hobby|wonderful]!",
            "[What is my hobby|What do I like|What do I like to do|What do I "
            "love]?", f"You like {x}.")


def _job(d):
    x = d.pick(words.JOBS)
    return (f"[I am {a(x)}.|I work as {a(x)}.|I'm {a(x)}.|My job: "
            f"I am {a(x)}.]",
            f"[That is a good job!|It must be interesting to be {a(x)}.]",
            "[What is my job|What do I do|What am I|What is my profession]?",
            f"You are {a(x)}.")


def _number(d):
    x = d.randrange(1, 1000)
    return (f"[Remember the number {x}.|My lucky number is {x}.|Please "
            f"remember this number: {x}.|The secret number is {x}.]",
            f"[I will remember it: {x}.|All right, {x}.]",
            "[What was the number|What is my number|Which number did I tell "
            "you|What is the secret number|What is my lucky number|What number "
            "did I say]?", f"The number is {x}.")


def _word(d):
    x = (words.made_up(d) if d.chance(0.5)
         else d.pick(words.OBJECTS + words.ANIMALS))
    return (f"[Remember the word {x}.|The secret word is {x}.|The password is "
            f"{x}.|Please remember this word: {x}.]",
            f"[I will remember it: {x}.|All right, {x}.]",
            "[What was the word|What is the secret word|Which word did I tell "
            "you|What is the password|What word did I say]?",
            f"The word is {x}.")


def _relative(d):
    name, she = words.person(d)
    who = d.pick(("sister", "mother", "daughter", "aunt", "friend") if she else
                 ("brother", "father", "son", "uncle", "friend"))
    his = "her" if she else "his"
    return (f"[My {who} is called {name}.|My {who}'s name is {name}.|I have "
            f"{a(who)} [named|called] {name}.]",
            f"[{name} is a nice name!|Say hello to {name} from me!|I hope that "
            f"I will hear more about {name}.]",
            f"[What is my {who}'s name|What is the name of my {who}|Who is my "
            f"{who}|What is my {who} called]?",
            f"[Your {who} is called {name}.|Your {who}'s name is {name}. I "
            f"like {his} name.|Your {who}'s name is {name}.]")


ITEMS = [_name, _name, _name, _pet, _colour, _food, _age, _city, _hobby, _job,
         _number, _word, _relative]
# What one conversation should not have both of: "What do I like?"
_CLASH = {_food: "like", _hobby: "like", _job: "be", _name: "name",
          _number: "number", _word: "word"}


def items(dice, count):
    """`count` different things: (statement, reply, question, answer), spun."""
    chosen = {}
    for _ in range(count):
        item = dice.pick(ITEMS)
        chosen[_CLASH.get(item, item)] = item
    return [tuple(dice.spin(part) for part in item(dice))
            for item in chosen.values()]


def unknown(dice):
    """A question about the user whose answer was never given."""
    _, _, question, _ = dice.pick(ITEMS)(dice)
    return (dice.spin(question),
            dice.spin("[I do not know that yet. You have not told me.|You have "
                      "not told me that yet.]"))
