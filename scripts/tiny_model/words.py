"""The words that the made-up stories and conversations draw from."""

NAMES_SHE = """Ada Mia Lily Nora Ella Rosa Ivy Clara Zoe Maya Ruby Hazel Luna
Greta Nina Tessa Willa Anna Emma Freya Olive Poppy Sara Hanna Iris June Lena
Marta Nell Paula Rita Sofia Tilda Uma Vera Wanda Yara Alice Bella Daisy Edith
Fiona Gwen Helen Jane Kate Laura Mary Grace Linda Priya Aisha Mei Yuki Carmen
Elena Ingrid Leila Noor Olga Petra Ursula Eva Julia Lucy Molly Penny Rose Stella
Susan Amy Beth Chloe Diana Emily Hope Joy Kim Lisa Maria Naomi Sally Tara
""".split()
NAMES_HE = """Tom Max Leo Sam Ben Finn Otto Hugo Milo Theo Jack Noah Oscar Felix
Emil Karl Anton Bruno Casper David Eric Frank George Henry Ivan Jonas Kurt Louis
Martin Nils Oliver Paul Quentin Robert Simon Tim Victor Walter Alan Bob Charlie
Dan Edgar Fred Gus Harry Isaac James Ken Lars Mark Nick Peter Ralph Steve Toby
Umar William Xavier Yusuf Zach Ahmed Chen Diego Raj Omar Pablo Kofi Hiro Mateo
Alex Adam Andrew Daniel Jim Joe John Luke Michael Mike Philip Richard Roy Will
""".split()
PET_NAMES = """Pip Bramble Biscuit Button Clover Copper Dot Fern Fig Ginger
Hopper Jasper Juniper Maple Marble Mango Misty Moss Nutmeg Pebble Pepper Pickle
Rusty Shadow Snowy Socks Sunny Thistle Tiger Toffee Twig Waffle Whiskers Willow
Acorn Basil Bean Berry Blossom Bubbles Cricket Cinder Coco Cookie Daisy Dusty
Ember Flicker Fluffy Goldie Honey Lucky Midnight Mittens Nibbles Oreo Patch
Peanut Poppy Rex Rolo Scout Smokey Sparky Spot Star Sugar Tinker Truffle
""".split()

# Who a story is about.
ANIMALS = """fox rabbit bear mouse owl hedgehog squirrel cat dog duck frog
turtle badger deer wolf lion elephant monkey penguin seal otter beaver mole
sparrow robin crow goose hen pig goat sheep cow horse donkey bee ant snail
butterfly beetle spider whale dolphin crab octopus fish tiger zebra giraffe
camel kangaroo koala panda parrot swan bat lizard raccoon hamster kitten puppy
duckling pony lamb""".split()
PEOPLE = """girl boy king queen princess prince farmer baker sailor painter
shepherd gardener miller teacher student fisherman carpenter tailor clockmaker
grandmother grandfather doctor astronaut musician poet child traveller pirate
knight cook librarian engineer""".split()
CREATURES = """dragon robot giant wizard witch ghost unicorn mermaid fairy
snowman troll elf gnome monster phoenix dinosaur star cloud train boat computer
scarecrow teapot tree moon toy""".split()
ADJECTIVES = """little small young brave kind shy clever curious gentle quiet
cheerful sleepy lonely patient hungry tiny friendly happy old careful merry
silly wise playful proud""".split()

OBJECTS = """lantern key map bell kite drum book umbrella button ring coin
feather shell basket blanket clock mirror compass whistle candle hat scarf flute
violin pearl stone box letter spoon cup balloon ball boat bicycle ladder rope
broom bucket pot wheel sword crown shoe glove coat flag telescope paintbrush
pencil toy doll puzzle guitar trumpet pumpkin apple acorn flower rose seed leaf
star lamp teapot cake cookie bag chest jar bottle carpet chair pillow magnet
machine hammer nest egg snowflake rainbow treasure""".split()
PLACES = [  # how one is there, the place
    ("in", "the forest"), ("by", "the river"), ("in", "the village"),
    ("on", "the hill"), ("by", "the sea"), ("in", "the garden"),
    ("in", "the valley"), ("on", "the farm"), ("by", "the lake"),
    ("in", "the old castle"), ("on", "the island"), ("in", "the meadow"),
    ("in", "the mountains"), ("in", "the city"), ("on", "the beach"),
    ("in", "the desert"), ("in", "the jungle"), ("in", "the snowy north"),
    ("in", "the orchard"), ("near", "the harbour"), ("in", "the big woods"),
    ("at", "the edge of the town"), ("under", "the old oak tree"),
    ("in", "the lighthouse"), ("in", "the quiet park"),
    ("near", "the windmill"),
    ("in", "the library"), ("in", "the kitchen"), ("on", "the moon"),
    ("in", "the cave"), ("in", "the green swamp"), ("in", "space"),
]
FOODS = """bread soup honey cheese apples pears berries nuts cake pancakes
porridge carrots cookies plums rice noodles pizza pasta chocolate cherries
potatoes beans corn salad bananas oranges grapes melon toast jam pie""".split()
COLOURS = """red blue green yellow orange purple pink brown black white grey
gold silver""".split()
CITIES = """Paris London Berlin Rome Madrid Vienna Oslo Lisbon Dublin Prague
Tokyo Cairo Lima Delhi Boston Chicago Toronto Sydney Nairobi Athens Warsaw
Helsinki Zurich Munich Seoul Seattle""".split()
HOBBIES = """reading painting swimming dancing singing cooking chess football
running gardening fishing climbing skating writing drawing cycling hiking music
baking knitting tennis sailing""".split()
JOBS = """teacher nurse doctor farmer baker painter pilot driver cook singer
writer engineer gardener student carpenter programmer musician scientist
lawyer sailor dentist librarian""".split()

_BEGIN = """b br c ch d dr f fl g gr h j k kl l m n p pr qu r s sh st t th tr v
w z Z""".split() + [""]
_MIDDLE = "a e i o u ai ea ia oo ou ar er or an en in on el il".split()
_END = "l n r s t m k d th x la na ra ta mo ro ni ki do va ".split(" ")


def made_up(dice):
    """A word that hardly comes twice: to be copied, not learnt."""
    word = "".join(
        dice.pick(_BEGIN) + dice.pick(_MIDDLE)
        for _ in range(dice.pick((1, 2, 2)))
    ) + dice.pick(_END)
    word = word.lower()
    return word if len(word) > 2 else word + "lo"


def person(dice):
    """A name and whether it is a woman's."""
    she = dice.chance(0.5)
    if dice.chance(0.3):
        return made_up(dice).capitalize(), she
    return dice.pick(NAMES_SHE if she else NAMES_HE), she
