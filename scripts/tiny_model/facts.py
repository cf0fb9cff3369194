"""Questions with one right answer, from small closed sets.

Each function gives (question, answer, short answer). Questions and answers are
spun (see spin.py), the short answer is the bare fact.
"""

from spin import a, capital

OPPOSITES = """hot cold,big small,up down,day night,happy sad,fast slow,old new,
light dark,open closed,full empty,hard soft,high low,wet dry,left right,long
short,early late,rich poor,strong weak,clean dirty,near far,loud quiet,thick
thin,heavy light,good bad,young old,first last,in out,on off,yes no,true false,
begin end,love hate,black white,front back,inside outside,push pull,buy sell,
give take,win lose,always never,everything nothing,north south,east west,
summer winter,sweet sour,smooth rough,wide narrow,deep shallow,easy difficult,
asleep awake,before after,brave afraid,cheap expensive,ask answer,laugh cry,
friend enemy,question answer,top bottom,warm cool,tall short,large small,
sharp blunt,start stop,remember forget,find lose,arrive leave,safe dangerous,
alive dead,simple complicated,more less,many few,same different,above below,
over under,come go,kind cruel,tight loose,war peace,success failure,calm
stormy"""
OPPOSITES = [tuple(p.split()) for p in OPPOSITES.replace("\n", " ").split(",")]

COLOUR_OF = """sky blue,grass green,snow white,banana yellow,tomato red,carrot
orange,sun yellow,night black,strawberry red,milk white,leaf green,sea blue,
lemon yellow,cherry red,coal black,elephant grey,frog green,pumpkin orange,
chocolate brown,blood red,cloud white,crow black,plum purple,polar bear white,
pea green,fire engine red,gold yellow,flamingo pink,pig pink,ruby red"""
COLOUR_OF = [p.strip().rsplit(" ", 1)
             for p in COLOUR_OF.replace("\n", " ").split(",")]
_NO_ARTICLE = {"grass", "snow", "milk", "coal", "chocolate", "blood", "gold"}
_THE = {"sky", "sun", "night", "sea"}
MIXES = [("blue", "yellow", "green"), ("red", "yellow", "orange"),
         ("red", "blue", "purple"), ("red", "white", "pink"),
         ("black", "white", "grey")]

SOUNDS = """dog woof,cat meow,cow moo,sheep baa,pig oink,duck quack,hen cluck,
horse neigh,lion roar,frog ribbit,bee buzz,owl hoot,snake hiss,mouse squeak,
wolf howl,rooster cock-a-doodle-doo,crow caw,donkey hee-haw,goat baa,bird
tweet"""
SOUNDS = [p.strip().split() for p in SOUNDS.replace("\n", " ").split(",")]
BABIES = """dog puppy,cat kitten,cow calf,sheep lamb,pig piglet,duck duckling,
hen chick,horse foal,lion cub,bear cub,goat kid,deer fawn,frog tadpole,owl
owlet,goose gosling,swan cygnet,kangaroo joey,seal pup,wolf pup,fox cub"""
BABIES = [p.strip().split() for p in BABIES.replace("\n", " ").split(",")]
HOMES = """bird:a nest,bee:a hive,fox:a den,rabbit:a burrow,spider:a web,
fish:water,bear:a cave,dog:a kennel,horse:a stable,cow:a barn,ant:an anthill,
whale:the sea,camel:the desert,penguin:the icy south,monkey:the jungle,
frog:a pond,lion:the savanna,polar bear:the Arctic,mole:a tunnel under the
ground,squirrel:a tree"""
HOMES = [p.strip().split(":") for p in HOMES.replace("\n", " ").split(",")]
LEGS = {"dog": 4, "cat": 4, "horse": 4, "cow": 4, "bird": 2, "duck": 2,
        "spider": 8, "ant": 6, "bee": 6, "snake": 0, "fish": 0, "person": 2,
        "elephant": 4, "frog": 4, "hen": 2, "butterfly": 6, "crab": 10,
        "beetle": 6, "lion": 4, "snail": 0, "fly": 6, "mouse": 4}
KINDS = {"bird": "sparrow robin eagle owl duck swan parrot penguin crow goose",
         "mammal": "dog cat horse whale bat lion elephant mouse rabbit fox",
         "insect": "bee ant butterfly beetle fly mosquito",
         "fish": "salmon shark trout tuna cod", "reptile": "snake lizard "
         "turtle crocodile",
         "fruit": "apple banana pear cherry orange plum melon",
         "vegetable": "carrot potato onion cabbage pea bean",
         "tree": "oak pine birch willow maple", "flower": "rose tulip daisy "
         "lily sunflower", "instrument": "violin piano drum flute guitar "
         "trumpet", "planet": "Earth Mars Venus Jupiter Saturn Mercury Neptune"}
SIZES = """ant,mouse,cat,dog,sheep,horse,elephant,whale,mountain""".split(",")

DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = """January February March April May June July August September October
November December""".split()
SEASONS = "spring summer autumn winter".split()
ORDINALS = """first second third fourth fifth sixth seventh eighth ninth tenth
eleventh twelfth""".split()
NUMBERS = """zero one two three four five six seven eight nine ten eleven twelve
thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty""".split()
SHAPES = {"triangle": 3, "square": 4, "rectangle": 4, "pentagon": 5,
          "hexagon": 6, "octagon": 8, "circle": 0}
CAPITALS = """France Paris,Germany Berlin,Italy Rome,Spain Madrid,England
London,Austria Vienna,Norway Oslo,Portugal Lisbon,Ireland Dublin,Japan Tokyo,
Egypt Cairo,Peru Lima,Greece Athens,Poland Warsaw,Finland Helsinki,Sweden
Stockholm,Denmark Copenhagen,Hungary Budapest,Canada Ottawa,Russia Moscow,
China Beijing,Kenya Nairobi,Cuba Havana,Belgium Brussels,Iceland Reykjavik,
India Delhi,Scotland Edinburgh,Switzerland Bern,Turkey Ankara,Australia
Canberra"""
CAPITALS = [p.split() for p in CAPITALS.replace("\n", " ").split(",")]

SINGLE = [  # question, answer, short answer
    ("How many days are [there |]in a week", "There are seven days in a week.",
     "Seven"),
    ("How many months are [there |]in a year",
     "There are twelve months in a year.", "Twelve"),
    ("How many hours are [there |]in a day", "A day has 24 hours.", "24"),
    ("How many minutes are [there |]in an hour", "An hour has 60 minutes.",
     "60"),
    ("How many seconds are [there |]in a minute", "A minute has 60 seconds.",
     "60"),
    ("How many days are [there |]in a year",
     "A year has 365 days, and a leap year has 366.", "365"),
    ("How many letters are [there |]in the alphabet",
     "The English alphabet has 26 letters.", "26"),
    ("How many seasons are there", "There are four seasons: spring, summer, "
     "autumn and winter.", "Four"),
    ("What are the days of the week|Name the days of the week|List the days of "
     "the week", "The days of the week are Monday, Tuesday, Wednesday, "
     "Thursday, Friday, Saturday and Sunday.", ", ".join(DAYS)),
    ("What are the months of the year|Name the months|List the months of the "
     "year", "The months are " + ", ".join(MONTHS[:-1]) + " and December.",
     ", ".join(MONTHS)),
    ("What are the [four |]seasons|Name the [four |]seasons", "The four "
     "seasons are spring, summer, autumn and winter.",
     "Spring, summer, autumn and winter"),
    ("Name some colours|What are some colours", "Some colours are red, blue, "
     "green, yellow, orange and purple.", "Red, blue and green"),
    ("Name some animals|What are some animals", "Some animals are dogs, cats, "
     "horses, foxes, owls and whales.", "Dogs, cats and horses"),
    ("What are the colours of the rainbow", "The colours of the rainbow are "
     "red, orange, yellow, green, blue, indigo and violet.",
     "Red, orange, yellow, green, blue, indigo and violet"),
    ("What do bees make", "Bees make honey.", "Honey"),
    ("What do cows give us", "Cows give us milk.", "Milk"),
    ("What is ice", "Ice is frozen water.", "Frozen water"),
    ("What is rain", "Rain is water that falls from the clouds.", "Water"),
    ("What is the sun", "The sun is a star. It gives us light and warmth.",
     "A star"),
    ("What is the moon", "The moon goes around the Earth and shines at night.",
     "A moon of the Earth"),
    ("What is the biggest animal|What is the largest animal", "The blue whale "
     "is the biggest animal.", "The blue whale"),
    ("What is the fastest [land |]animal", "The cheetah is the fastest animal "
     "on land.", "The cheetah"),
    ("What is the tallest animal", "The giraffe is the tallest animal.",
     "The giraffe"),
    ("What do plants need", "Plants need water, light and air.",
     "Water, light and air"),
    ("Where does the sun rise", "The sun rises in the east.", "In the east"),
    ("Where does the sun set", "The sun sets in the west.", "In the west"),
    ("What do you call frozen rain|What falls in winter", "It is called snow.",
     "Snow"),
    ("How many eyes do people have", "People have two eyes.", "Two"),
    ("How many fingers do people have", "People have ten fingers.", "Ten"),
    ("What is the alphabet|Say the alphabet|Recite the alphabet",
     "A B C D E F G H I J K L M N O P Q R S T U V W X Y Z.",
     "A B C D E F G H I J K L M N O P Q R S T U V W X Y Z"),
]


def opposite(d):
    x, y = d.pick(OPPOSITES)
    if d.chance(0.3) and x not in ("light", "old", "lose", "answer", "small",
                                   "short"):
        unique = [p for p in OPPOSITES if p[1] == y]
        if len(unique) == 1 and all(p[0] != y for p in OPPOSITES):
            x, y = y, x
    return (f"[What is the opposite of {x}|What's the opposite of {x}|opposite "
            f"of {x}|What is the contrary of {x}|Tell me the opposite of {x}]",
            f"[The opposite of {x} is {y}.|The opposite of {x} is {y}."
            f"|It is {y}.]", capital(y))


def colour(d):
    if d.chance(0.2):
        x, y, z = d.pick(MIXES)
        if d.chance(0.5):
            x, y = y, x
        return (f"What [do you get|happens|colour do you get] [when|if] you "
                f"mix {x} and {y}",
                f"{capital(x)} and {y} make {z}.", capital(z))
    thing, y = d.pick(COLOUR_OF)
    x = (f"the {thing}" if thing in _THE else
         thing if thing in _NO_ARTICLE else a(thing))
    return (f"[What colour is {x}|What color is {x}|Which colour is {x}|Which "
            f"colour does {x} have|Tell me the colour of {x}]",
            f"{capital(x)} is {y}.", capital(y))


def animal(d):
    which = d.pick("sound sound baby home legs kind what bigger about".split())
    if which == "what":
        y = d.pick(list(KINDS))
        x = d.pick(KINDS[y].split())
        x = x if y == "planet" else a(x)
        return (f"[What is {x}|What's {x}|What kind of thing is {x}]",
                f"{capital(x)} is {a(y)}.", capital(a(y)))
    if which == "about":
        return about_animal(d)
    if which == "sound":
        x, y = d.pick(SOUNDS)
        return (f"[What sound does {a(x)} make|What does {a(x)} say|What noise "
                f"does {a(x)} make|How does {a(x)} sound]",
                f"{capital(a(x))} [says|goes] {y}.", capital(y))
    if which == "baby":
        x, y = d.pick(BABIES)
        return (f"[What is a baby {x} called|What do you call a baby {x}|What "
                f"is the name of a baby {x}]", f"A baby {x} is called {a(y)}.",
                capital(a(y)))
    if which == "home":
        x, y = d.pick(HOMES)
        return (f"Where does {a(x)} live", f"{capital(a(x))} lives in {y}.",
                f"In {y}")
    if which == "legs":
        x = d.pick(list(LEGS))
        n = LEGS[x]
        word = NUMBERS[n] if n else "no"
        return (f"[How many legs does {a(x)} have|How many legs has {a(x)}]",
                f"{capital(a(x))} has {word} legs.", capital(word))
    if which == "kind":
        right = d.pick(list(KINDS))
        x = d.pick(KINDS[right].split())
        asked = right if d.chance(0.5) else d.pick(list(KINDS))
        ax = x if right == "planet" else a(x)
        yes = asked == right or x in KINDS[asked].split()
        return (f"Is {ax} {a(asked)}",
                f"[Yes, {ax} is {a(right)}.|Yes, it is.]" if yes else
                f"No, {ax} is not {a(asked)}. It is {a(right)}.",
                "Yes" if yes else "No")
    i, j = sorted(d.sample(range(len(SIZES)), 2))
    x, y = (SIZES[i], SIZES[j]) if d.chance(0.5) else (SIZES[j], SIZES[i])
    big, small = SIZES[j], SIZES[i]
    if d.chance(0.6):
        return (f"[Which|What] is bigger, {a(x)} or {a(y)}",
                f"{capital(a(big))} is bigger than {a(small)}.",
                capital(a(big)))
    return (f"[Which|What] is smaller, {a(x)} or {a(y)}",
            f"{capital(a(small))} is smaller than {a(big)}.", capital(a(small)))


def about_animal(d):
    """All that the tables say about one animal."""
    x = d.pick(HOMES)[0]
    of_home, of_baby, of_sound = dict(HOMES), dict(BABIES), dict(SOUNDS)
    parts = [f"{capital(a(x))} lives in {of_home[x]}."]
    if x in LEGS:
        legs = NUMBERS[LEGS[x]] if LEGS[x] else "no"
        parts.append(f"It has {legs} legs.")
    if x in of_sound:
        parts.append(f"It says {of_sound[x]}.")
    if x in of_baby:
        parts.append(f"Its baby is called {a(of_baby[x])}.")
    return (f"[Tell me about {a(x)}|Tell me about the {x}|What do you know "
            f"about {a(x)}|Tell me something about {a(x)}]",
            " ".join(parts), parts[0])


def calendar(d):
    which = d.pick("day day month month season ordinal".split())
    if which == "ordinal":
        i = d.randrange(12)
        if d.chance(0.5):
            return (f"[What is|Which is] the {ORDINALS[i]} month "
                    "[of the year|]",
                    f"The {ORDINALS[i]} month of the year is {MONTHS[i]}.",
                    MONTHS[i])
        i %= 7
        return (f"[What is|Which is] the {ORDINALS[i]} day of the week",
                f"The {ORDINALS[i]} day of the week is {DAYS[i]}.", DAYS[i])
    row = {"day": DAYS, "month": MONTHS, "season": SEASONS}[which]
    i = d.randrange(len(row))
    step, word = d.pick(((1, "after"), (-1, "before")))
    y = row[(i + step) % len(row)]
    answers = [f"{capital(y)} comes {word} {row[i]}."]
    questions = (f"[What {which} comes {word} {row[i]}|Which {which} comes "
                 f"{word} {row[i]}|What comes {word} {row[i]}|What is the "
                 f"{which} {word} {row[i]}")
    if which == "day":
        today = "tomorrow" if step == 1 else "yesterday"
        be = "is" if step == 1 else "was"
        questions += f"|If today is {row[i]}, what day {be} {today}"
    return questions + "]", d.pick(answers), capital(y)


def arithmetic(d):
    how = d.pick(("+", "+", "-", "x"))
    if how == "+":
        x, y = d.randrange(21), d.randrange(21)
        z, word = x + y, "plus"
    elif how == "-":
        x = d.randrange(21)
        y = d.randrange(x + 1)
        z, word = x - y, "minus"
    else:
        x, y = d.randrange(11), d.randrange(11)
        z, word = x * y, "times"
    sx, sy = str(x), str(y)
    if d.chance(0.25):
        sx = NUMBERS[x] if x <= 20 else sx
        sy = NUMBERS[y] if y <= 20 else sy
        return (f"[What is|What's|How much is] {sx} {word} {sy}",
                f"{capital(sx)} {word} {sy} is {z}.", str(z))
    sign = {"+": "+", "-": "-", "x": d.pick("x*")}[how]
    return (f"[What is|What's|How much is|Calculate] {sx} "
            f"[{word}|{sign}|{sign}] {sy}" if d.chance(0.8)
            else f"{sx} {sign} {sy}[ =|]",
            f"{sx} {word} {sy} is {z}.", str(z))


def counting(d):
    which = d.pick("to from down next previous by".split())
    if which == "to":
        n = d.randrange(3, 21)
        words = d.chance(0.4)
        row = NUMBERS[1:n + 1] if words else [str(i) for i in range(1, n + 1)]
        end = NUMBERS[n] if words else str(n)
        return (f"[Count to {end}|Can you count to {end}|Please count to {end}|"
                f"Count from 1 to {n}]", capital(", ".join(row)) + ".",
                capital(", ".join(row)))
    if which == "from":
        x = d.randrange(1, 40)
        y = x + d.randrange(3, 12)
        row = ", ".join(str(i) for i in range(x, y + 1))
        return f"[Count|Please count] from {x} to {y}", row + ".", row
    if which == "down":
        x = d.randrange(3, 21)
        row = ", ".join(str(i) for i in range(x, 0, -1))
        return (f"[Count down from {x}|Count backwards from {x}|Count from {x} "
                f"down to 1|Count from {x} to 1]", row + ".", row)
    if which == "by":
        x = d.pick((2, 5, 10))
        row = ", ".join(str(i) for i in range(x, 10 * x + 1, x))
        name = {2: "two", 5: "five", 10: "ten"}[x]
        return f"Count by {name}s", row + ".", row
    x = d.randrange(1, 100)
    step = 1 if which == "next" else -1
    word = "after" if step == 1 else "before"
    return (f"[What number comes {word} {x}|Which number comes {word} {x}|What "
            f"comes {word} {x}]",
            f"{x + step} comes {word} {x}.", str(x + step))


def other(d):
    which = d.pick("capital capital shape spell letter single single single"
                   .split())
    if which == "capital":
        x, y = d.pick(CAPITALS)
        if d.chance(0.2):
            return (f"[Where is {y}|In which country is {y}]",
                    f"{y} is in {x}. [It is the capital.|]", f"In {x}")
        return (f"[What is the capital of {x}|What's the capital of {x}|"
                f"capital of {x}|Which city is the capital of {x}]",
                f"The capital of {x} is {y}.", y)
    if which == "shape":
        x = d.pick(list(SHAPES))
        word = NUMBERS[SHAPES[x]] if SHAPES[x] else "no"
        return (f"How many [sides|corners] does {a(x)} have",
                f"{capital(a(x))} has {word} sides.", capital(word))
    if which == "spell":
        word = d.pick([w for pair in OPPOSITES[:60] for w in pair] +
                      [w for w, _ in SOUNDS] + DAYS)
        row = "-".join(word.lower())
        return (f"[How do you spell {word}|Spell {word}|Spell the word {word}]",
                f"[{capital(word)} is spelled {row}.|It is spelled {row}.]",
                row)
    if which == "letter":
        i = d.randrange(1, 25)
        step, side = d.pick(((1, "after"), (-1, "before")))
        x, y = chr(65 + i), chr(65 + i + step)
        return (f"[What letter comes {side} {x}|Which letter comes {side} {x}]",
                f"The letter {y} comes {side} {x}.", y)
    q, answer, short = d.pick(SINGLE)
    return f"[{q}]", answer, short


KINDS_OF_FACT = [opposite, opposite, opposite, colour, colour, animal, animal,
                 calendar, calendar, arithmetic, arithmetic, counting, other,
                 other]


def fact(d):
    """(question, answer, short answer), spun."""
    q, answer, short = d.pick(KINDS_OF_FACT)(d)
    return d.spin(q).strip(), d.spin(answer).strip(), short
