"""What the model can't know or understand, and what it says then.

The questions are put together from many words, so that the model learns to say
"I do not know" to all that is unlike the rest.
"""

import words
from spin import a, capital, plural

UNKNOWN = ("[I do not know that|I don't know that|I am sorry, I do not know "
           "that]. I am [a very small model|only a very small model]"
           "[| and know very little]. [Ask me for a story|Ask me something "
           "simple|Try a bigger model for that]!")
TOO_SMALL = ("[No, I am too small for that|I am sorry, I am too small for that|I "
             "cannot do that, I am too small]. [A bigger model can do it|I can "
             "tell you a story|Ask me something simple].")
NOT_UNDERSTOOD = ("[I did not understand that|I am sorry, I do not understand "
                  "that]. [Could you say it in other words|What can I do for "
                  "you|Would you like to hear a story]?")
I_SEE = ("[I see|That is interesting|Oh, really]! [Tell me more.|What happened "
         "then?|And how was that?]")

THINGS = """history economics politics physics chemistry biology philosophy music
art money homework school work love life death time science religion law war
peace medicine health sport football cricket baseball chess internet computers
software hardware Python Java JavaScript Rust Linux Windows Google Facebook
Microsoft Apple Amazon Twitter YouTube Wikipedia Bitcoin blockchain electricity
gravity energy oil water air fire gold steel plastic paper glass engine car
plane rocket train bridge house street hospital university company government
president minister queen church temple museum theatre film movie novel poem
song dance recipe dinner breakfast lunch restaurant hotel holiday birthday
Christmas Easter vaccine virus cancer heart brain blood bone skin eye language
English German French Spanish Chinese Japanese Latin Greek Roman Europe Asia
Africa America Russia Ukraine China India Napoleon Einstein Newton Shakespeare
Mozart Beethoven Picasso Caesar Cleopatra Obama Lincoln Washington Darwin Plato
Aristotle Socrates Gandhi Columbus Galileo Tesla Edison Turing maths algebra
geometry calculus statistics probability equation theorem algorithm database
network server compiler keyboard screen printer phone camera battery radio
television newspaper magazine letter email password account bank tax price
market stock job boss office meeting contract interview resume marriage wedding
family baby teenager adult dentist doctor nurse police army climate weather
earthquake volcano ocean desert atom molecule photon electron quark galaxy
universe dinosaur evolution gene cell bacteria neural transformer robot""".split()
VERBS = """make build repair sell buy cook bake paint read write find open close
start stop learn teach study test measure change grow clean break move use send
install configure debug deploy translate summarise calculate solve prove design
draw plan organise win lose explain understand describe compare improve""".split()
PAST = """saw bought found lost made broke repaired sold read wrote painted
cooked ate drank met visited called helped cleaned opened watched played heard
forgot remembered built moved washed tried used learned""".split()
_QUESTIONS = [
    "Who won the {x} {y}?", "What is the population of {z}?",
    "[Explain|Please explain|Can you explain] {x}[ to me|].",
    "What is the meaning of {x}?", "Why is the sky blue?",
    "[Write|Please write] an essay about {x}.", "Translate {x} to {z}.",
    "Who is the president of {z}?", "What is the best {x}[ in {z}|]?",
    "How do I {v} [a|my|the] {x}?", "How can I {v} {x}?", "Who was {z}?",
    "Who is {z}?", "Why is [the|] {x} [so|] {j}?", "When was {z} born?",
    "What is the price of [a|] {x}?", "Who invented [the|] {x}?",
    "What do you think about {x}?", "How far is it to {z}?",
    "What happened in {z}?", "Solve this: {x} {y}.", "What is {t}?",
    "What is quantum {t}?", "Explain quantum mechanics.",
    "Who wrote {z}?", "How does [a|the|] {x} work?", "What does {z} mean?",
    "Tell me about {t}.", "What are {xs}?", "When did {z} {v} {x}?",
    "Why do people {v} {x}?", "Should I {v} my {x}?", "Is {x} {j}?",
    "What is the difference between {x} and {y}?", "What is a {m}?",
    "Which {x} is the best?", "How many {xs} are there in {z}?",
    "How much does a {x} cost?", "How long does it take to {v} {x}?",
    "Where can I {v} {x}?", "Where is {m}?", "What is {m}?", "Who is {M}?",
    "Do you know {z}?", "Do you know anything about {t}?", "Why {x}?",
    "Give me [ten|five|three|some] {xs}.", "List all {xs}.", "What about {t}?",
    "What's new in {t}?", "Name a famous {x}.", "What is your opinion on {t}?",
]
_ORDERS = [
    "Write a [Python|Java|C|Rust|JavaScript] [function|program|script] that "
    "{v}s {x}.",
    "Write [a function|a program|some code|code|a script] to {v} {x}.",
    "Can you help me with my {x}?", "Help me [to |]{v} {x}.",
    "Can you {v} [a|the|my] {x}?", "Could you {v} {x} for me?",
    "Summarise [this|the] {x}.", "Translate this [to|into] {z}.",
    "Say [hello|good morning|thank you] in [French|German|Spanish|Chinese].",
    "Please {v} my {x}.", "Search the internet for {x}.", "Play some {x}.",
    "Send [a|my] {x} to {z}.", "Open the {x}.", "Draw [a|me a] {x}.",
    "Fix [this|my] {x}.", "Book a {x}.", "Show me a picture of {x}.",
]
_REMARKS = [
    "I {p} [a|the|my|some] {x}[ today| yesterday| with {N}|].",
    "[Yesterday|Today|Last week] I {p} [a|the] {x}[ and [a|the] {y}|].",
    "[My|The] {x} is {j}.", "{N} {p} [my|a|the] {x}.",
    "I think [that |]{x} is {j}.", "I [don't like|hate|need] {x}.",
    "I have to {v} [the|my] {x}[ tomorrow|].", "We {p} {x}[ in {z}|].",
    "It is {j} [here|today|outside].", "There is a {x} in [my|the] {y}.",
]
_OTHERS = ("ChatGPT GPT-4 Siri Alexa Claude Gemini Llama Qwen Mistral DeepSeek "
           "Google Copilot").split()


def _fields(dice):
    def noun():
        return (words.made_up(dice) if dice.chance(0.2) else
                dice.pick(dice.pick((THINGS, THINGS, words.OBJECTS,
                                     words.FOODS))))

    made_up = words.made_up(dice)
    x = noun()
    return dict(x=x, xs=plural(x), y=noun(), z=capital(noun()), t=dice.pick(THINGS),
                m=made_up, M=made_up.capitalize(), v=dice.pick(VERBS),
                p=dice.pick(PAST), j=dice.pick(words.ADJECTIVES),
                N=words.person(dice)[0])


def _gibberish(dice):
    what = dice.random()
    if what < 0.2:
        return dice.pick(("???", "?", "...", "!", "!!!", "-", "test", "Test",
                          ".", ":)", ":-)", "hm", "hmm", "eh", "lol", "haha",
                          "1", "42", "a", "x", "wtf", "foo", "foo bar"))
    letters = "abcdefghijklmnopqrstuvwxyz"
    letters = dice.pick((letters, "asdfghjkl", "asdfjklqwer"))
    if what < 0.3:
        letters += "0123456789;,-"
    return " ".join("".join(dice.pick(letters)
                            for _ in range(dice.randrange(3, 10)))
                    for _ in range(dice.pick((1, 1, 1, 2, 3))))


def turn(dice):
    """(what is said, the answer), spun."""
    what = dice.random()
    if what < 0.45:
        said, answer = dice.pick(_QUESTIONS), UNKNOWN
    elif what < 0.6:
        said, answer = dice.pick(_ORDERS), TOO_SMALL
    elif what < 0.77:
        said, answer = dice.pick(_REMARKS), I_SEE
    elif what < 0.87:
        return _gibberish(dice), dice.spin(NOT_UNDERSTOOD)
    elif what < 0.92:
        return (dice.spin(f"[Are you|Is this] {dice.pick(_OTHERS)}?"),
                dice.spin("No, I am mkvm-tiny, a very small language model."))
    elif what < 0.96:
        thing = dice.pick(words.COLOURS + words.ANIMALS + words.OBJECTS +
                          words.FOODS + [words.made_up(dice)])
        return (dice.spin(f"[What is the opposite of|What's the opposite of] "
                          f"[{thing}|{a(thing)}|{plural(thing)}]?"),
                f"I do not know an opposite of {thing}.")
    else:
        x, y = dice.randrange(21, 1000), dice.randrange(2, 1000)
        if dice.chance(0.5):
            x, y = y, x
        sign = dice.pick(("+", "-", "*", "x", "plus", "minus", "times", "/",
                          "divided by"))
        return (dice.spin(f"[What is |What's |How much is |]{x} {sign} {y}?"),
                "That is too much for me. I can only calculate with small "
                "numbers.")
    text = dice.spin(said, **_fields(dice)).replace("  ", " ")
    return text.strip(), dice.spin(answer)
