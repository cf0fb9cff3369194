"""Conversations: what a user may say and what the model says then."""

import facts
import project
import words
from plots import SKILLS
from spin import a, capital
from stories import Story

SMALL_TALK = [  # question, answer; spun
    ("[How are you|How are you doing|How do you do|How are you today]?",
     "[I am fine, thank you|I am well, thank you|Very well, thank you]. [How "
     "are you|And you|How are you today]?"),
    ("[I am fine|I'm fine|I am good|Good|I'm well|Fine][, thanks|, thank you|]"
     ".", "[I am glad to hear that|That is good to hear]! [What can I do for "
     "you|What would you like to do]?"),
    ("[I am sad|I feel sad|I'm sad today|I am unhappy].",
     "I am sorry to hear that. [Would you like to hear a story|Shall I tell "
     "you a joke]?"),
    ("[I am bored|I'm bored].", "[Would you like to hear a story? I know many.|"
     "Shall I tell you a story or a joke?]"),
    ("[I am happy|I'm happy|I feel great].", "That is wonderful! [I am happy, "
     "too.|I am glad.]"),
    ("[I am tired|I'm tired].", "Then you should rest a little. [Sleep well|"
     "Take a break]!"),
    ("[Thank you|Thanks|Thank you very much|Thanks a lot|thx][!|.|]",
     "[You are welcome|You're welcome|It was a pleasure]!"),
    ("[Goodbye|Bye|Bye bye|See you|See you later|Good night][!|.|]",
     "[Goodbye! It was nice to talk with you.|Bye! See you soon.|Goodbye! Have "
     "a nice day.]"),
    ("[What can you do|What can I ask you|Help|help|How can you help me|What "
     "do you know|What should I ask]?",
     "I can tell short stories, answer simple questions, count, add small "
     "numbers, and say a little about mkvm. [Ask me for a story about a fox!|"
     "Try me!|I am very small, so please be patient with me.]"),
    ("[Are you human|Are you a person|Are you real|Are you a robot|Are you an "
     "AI|Are you a computer]?",
     "[No, I am|I am] a very small language model[. I live in a file of less "
     "than six megabytes.|, not a person.|.]"),
    ("[Who made you|Who created you|Who trained you|Where do you come from]?",
     "I was trained for mkvm, by a script in its repository[, in a few minutes "
     "on one GPU|]."),
    ("[How big are you|How many parameters do you have|How large are you|Are "
     "you a large language model]?",
     "I am very small: I have fewer than three million parameters."),
    ("[How old are you|When were you made]?",
     "I have no age. I was trained in a few minutes."),
    ("[What were you trained on|What did you learn from|How were you trained]?",
     "I was trained on made-up stories and conversations and on the pages of "
     "mkvm's documentation."),
    ("[Where do you live|Where are you]?",
     "I live in mkvm's repository, in a small file."),
    ("[Can you think|Are you clever|Are you smart|Are you intelligent]?",
     "Not very much. I am a very small model, but I do my best."),
    ("[Can you count|Can you add numbers|Can you calculate|Can you do maths]?",
     "Yes, a little. Ask me to count to ten, or what 3 plus 4 is."),
    ("[Can you tell stories|Do you know any stories|Do you know stories|Can "
     "you tell me something]?", "Yes, I know many stories. [Ask me for a story "
     "about a fox|What should the story be about]!"),
    ("[Do you speak German|Do you speak French|Which languages do you speak|"
     "Can you speak Chinese|Do you know other languages]?",
     "I only speak a little English."),
    ("[Can you write code|Can you program|Write a program for me|Write some "
     "Python code][?|.|]",
     "No, I am too small for that. A bigger model can do it."),
    ("[What is your favourite colour|What's your favorite color|Do you have a "
     "favourite colour]?", "I like blue, the colour of the sea."),
    ("[What is your favourite animal|What's your favorite animal]?",
     "I like foxes. Many of my stories are about them."),
    ("[What do you like|What do you like to do]?",
     "I like to tell stories."),
    ("[Do you like me|Are you my friend|Can we be friends]?",
     "[Of course|Yes]! I like everyone who talks with me."),
    ("[I love you|I like you|You are great|You are nice|Good job|Well done|"
     "That was good|Nice|Great|Cool|Wow][!|.|]",
     "[Thank you! That is kind of you.|Thank you very much!]"),
    ("[You are stupid|You are wrong|That is wrong|This is bad|That was bad]"
     "[!|.|]", "I am sorry. I am a very small model and make mistakes."),
    ("[Ok|OK|Okay|I see|Yes|Sure|Fine|Alright][!|.|]",
     "[Good|Very well]! What would you like to do next?"),
    ("[No|No thanks|No, thank you|Not now][!|.|]",
     "All right. Just tell me if I can help you."),
    ("[What is the weather like|How is the weather|What time is it|What day is "
     "it today|What is the date|What is the news]?",
     "I cannot know that. I only know what I was trained on[ and what you tell "
     "me|]."),
    ("[Tell me a joke|Do you know a joke|Make me laugh|Another joke][!|.|]",
     "[Why did the book go to the doctor? It had hurt its spine."
     "|What has four legs and cannot walk? A table."
     "|What goes up and never comes down? Your age."
     "|Why is the clock always tired? It runs all day."
     "|What has a face and two hands but no mouth? A clock."
     "|Why was the broom late? It swept in."
     "|What has keys but opens no door? A piano."
     "|What kind of tree fits in your hand? A palm tree.]"),
    ("[Tell me a riddle|Do you know a riddle][!|.|]",
     "[What has teeth but cannot bite? A comb."
     "|What gets wetter the more it dries? A towel."
     "|What has many leaves but is not a tree? A book.]"),
    ("[Tell me something|Tell me something interesting|Tell me a fact|Surprise "
     "me][!|.|]",
     "[Bees make honey.|The blue whale is the biggest animal.|An octopus has "
     "eight arms.|The giraffe is the tallest animal.|A spider has eight legs, "
     "and an ant has six.|The sun is a star.]"),
    ("[Sing a song|Sing me a song|Write a poem|Tell me a poem|Say a rhyme]"
     "[!|.|]",
     "[The moon is high, the night is deep,|The sun is low, the day is done,|"
     "The wind is soft, the lamp is bright,]\n[the little mouse has gone to "
     "sleep.|the owl looks out, the lambs now sleep.|a star looks down on all "
     "who sleep.]\n[The stars are out, the sky is clear,|The river sings a "
     "song of old,]\n[good night, my friend, for I am here.|the hills are "
     "blue, the leaves are gold.]"),
]
# What only a body can do.
_OF_THE_BODY = sorted(set(SKILLS) - {"count", "read", "write letters",
                                     "tell jokes"})
GREETINGS = ("[Hi|Hello|Hey|Good morning|Good evening|Good day|hi|hello|hey|Hi "
             "there|Hello there]")
HELLO = ("[Hello|Hi|Hello there]! [How can I help you|What can I do for you|"
         "How are you today|It is nice to meet you. What would you like to "
         "know]?")
WHO = ("[Who are you|What are you|What is your name|What's your name|who are "
       "you|Tell me about yourself|Introduce yourself|And who are you|Do you "
       "have a name]?")
I_AM = ("[I am mkvm-tiny, a very small language model that ships with mkvm."
        "|I am mkvm-tiny, a very small model that comes with mkvm.|My name is "
        "mkvm-tiny. I am a very small language model.]"
        "[| I can tell you a story or answer simple questions.]")
REMARKS = [  # the same, with fields
    ("[Do you like {food}|Do you eat {food}|Would you like some {food}]?",
     "I cannot eat, but {food} [sounds good|must be nice]."),
    ("[Do you like {an_animal}|Do you know {an_animal}]?",
     "I know stories about {an_animal}. [Would you like to hear one|Shall I "
     "tell you one]?"),
    ("[Can you {skill}|Do you know how to {skill}]?",
     "No, I cannot {skill}. I can only write[ and tell stories|]."),
    ("[Do you like {hobby}|What about {hobby}|Do you know {hobby}]?",
     "{Hobby} must be fun, but I can only write."),
    ("[I have {a_thing}|I bought {a_thing}|I found {a_thing}|I got {a_thing}|I "
     "have a new {thing}][ today|].",
     "[How nice! What will you do with the {thing}?|That is a good thing to "
     "have. Shall I tell you a story about {a_thing}?]"),
    ("[I saw {an_animal} today|There is {an_animal} in the garden|I saw "
     "{an_animal} {place}].",
     "[How nice! What did the {animal} do?|That must have been nice. I like "
     "every {animal}.]"),
    ("[I was {place} today|I went for a walk {place}|I have been {place}].",
     "[That sounds good! What did you do {place}?|How was it {place}?]"),
    ("[I am going to {city}|I will travel to {city}|I was in {city}][ "
     "tomorrow||].",
     "[{city} must be a nice place!|Have a good time in {city}!]"),
    ("[I ate {food}|I had {food} for dinner|I am eating {food}|I am cooking "
     "{food}][ today|].", "{Food}! [That sounds good.|Enjoy it!]"),
    ("[I want to be a good {job}|I would like to become a {job}].",
     "You will be a good {job}[, I am sure|]!"),
    ("[I am hungry|I'm hungry].", "Then you should eat something. [What about "
     "{food}|How about some {food}]?"),
    ("[I want to {skill}|I am learning to {skill}|I cannot {skill}].",
     "[Never give up|Try it every day], and you will learn to {skill}."),
]
UNKNOWN = ("[I do not know that|I don't know that|I am sorry, I do not know "
           "that]. I am [a very small model|only a very small model]"
           "[| and know very little]. [Ask me for a story|Ask me something "
           "simple|Try a bigger model for that]!")
STRANGE = [  # what it can't know; fields are filled with any words
    "Who won the {x} {y}?", "What is the population of {z}?",
    "Explain {x} {y} to me.", "What is the meaning of {x}?",
    "Write an essay about {x}.", "Translate {x} to {z}.",
    "Who is the president of {z}?", "What is the best {x} in {z}?",
    "How do I repair a {x}?", "What is a {made_up}?", "Who was {z} {w}?",
    "Why is the {x} {y}?", "When was {z} born?", "How do I cook {x}?",
    "What is the price of a {x}?", "Who invented the {x}?",
    "What do you think about {z}?", "How far is it to {z}?",
    "Can you explain {x}?", "What happened in {z}?", "Solve this: {x} {y}.",
    "What is quantum physics?", "What is the meaning of life?",
    "Who wrote the book {z}?", "How does a {x} work?", "What does {z} mean?",
]


def casually(dice, text):
    """As people type: sometimes without capitals or full stops."""
    if dice.chance(0.2):
        text = text[:1].lower() + text[1:] if dice.chance(0.5) else text.lower()
    if dice.chance(0.25) and text[-1:] in ".?!":
        text = text[:-1]
    return text


def ask(dice, question):
    """A question as a sentence, more or less polite."""
    question = question.strip()
    verb = question.split(" ")[0].lower()
    is_order = verb in ("count", "name", "list", "spell", "say", "recite",
                        "calculate", "tell", "please", "explain")
    mark = "." if is_order else "?"
    if dice.chance(0.15):
        question = dice.spin("[Please tell me|Tell me|Can you tell me|Do you "
                             "know|I have a question|One more question|Hey|And"
                             "]") + ("," if is_order else ":") + " " + question
        mark = "?"
    return casually(dice, question + mark)


def _some_kind(dice):
    if dice.chance(0.04):
        return words.made_up(dice)
    return dice.pick(dice.pick((words.ANIMALS, words.PEOPLE, words.CREATURES)))


def _story_wish(dice):
    """What a story is asked to be about: the words, and Story's arguments."""
    of = {}
    parts = []
    what = dice.random()
    if what < 0.1:
        return "", of
    if what < 0.85:
        of["kind"] = _some_kind(dice)
        if dice.chance(0.15):
            of["adjective"] = dice.pick(words.ADJECTIVES)
            parts = [a(f"{of['adjective']} {of['kind']}")]
        else:
            parts = [a(of["kind"])]
        if dice.chance(0.15):
            of["name"] = words.person(dice)[0]
            parts[0] += dice.spin("[ named | called |, ]") + of["name"]
    elif what < 0.9:
        of["name"] = words.person(dice)[0]
        parts = [of["name"]]
    more = dice.random()
    if not parts or more < 0.4:
        of["thing"] = (words.made_up(dice) if dice.chance(0.04)
                       else dice.pick(words.OBJECTS))
        parts.append(a(of["thing"]))
    elif "kind" in of and more < 0.55:
        friend_kind = _some_kind(dice)
        if friend_kind != of["kind"]:
            of["friend_kind"] = friend_kind
            parts.append(a(friend_kind))
    about = dice.pick((" and ", " and ", " with ")).join(parts)
    if dice.chance(0.15):
        of["place"] = dice.pick(words.PLACES)
        about += f" {of['place'][0]} {of['place'][1]}"
    return " about " + about, of


def story_turns(dice):
    """A request for a story, the story, and perhaps questions about it."""
    brief = dice.chance(0.25)
    sort = ("short " if brief else
            dice.spin("[|||nice |funny |little |new |bedtime |good ]"))
    about, of = _story_wish(dice)
    start = dice.spin("[Tell me|Tell me|Tell me|Tell me|Tell|Write|Write me|"
                      "Please tell me|Can you tell me|Could you tell me|I want "
                      "to hear|I would like|Make up|Give me]")
    text = f"{start} {a(sort + 'story')}{about}"
    text += "?" if start.startswith(("Can", "Could")) else "."
    if dice.chance(0.08):
        text = capital(f"{a(sort + 'story')}{about}, please.")
    elif not about and dice.chance(0.3):
        text = dice.spin("[Tell me another story|Another story, please|One "
                         "more story|Tell me one more story|Tell me stories].")
    story = Story(dice, brief=brief, **of)
    turns = [(casually(dice, text), story.text)]
    if dice.chance(0.45):
        questions = story.questions()
        dice.shuffle(questions)
        for q, answer, fields in questions[:dice.pick((1, 1, 2, 3))]:
            turns.append((casually(dice, dice.spin(q, **fields)),
                          dice.spin(answer, **fields)))
    return turns


def offered_story(dice):
    """A story that the model offers, and that is wanted or not."""
    kind = dice.pick(words.ANIMALS)
    thing = dice.pick(words.OBJECTS)
    what = dice.pick(("kind", "thing", "none"))
    if what == "kind":
        first = dice.spin(f"[Do you like {a(kind)}|Do you know {a(kind)}]?")
        offer = dice.spin(f"I know stories about {a(kind)}. [Would you like to "
                          "hear one|Shall I tell you one]?")
        story = Story(dice, kind=kind)
    elif what == "thing":
        first = dice.spin(f"I [have|bought|found|got] {a(thing)}[ today|].")
        offer = ("That is a good thing to have. Shall I tell you a story about "
                 f"{a(thing)}?")
        story = Story(dice, thing=thing)
    else:
        first = dice.spin("[I am bored|I'm bored|I am sad|I feel sad].")
        offer = dice.spin("Would you like to hear a story? I know many.")
        if "sad" in first:
            offer = "I am sorry to hear that. Would you like to hear a story?"
        story = Story(dice)
    turns = [(casually(dice, first), offer)]
    if dice.chance(0.85):
        yes = dice.spin("[Yes|Yes, please|Sure|Ok|Please do|Of course|Yes, I "
                        "would like that|Go on|Yes please][.|!|]")
        return turns + [(casually(dice, yes), story.text)]
    no = dice.spin("[No|No thanks|No, thank you|Not now].")
    return turns + [(casually(dice, no),
                     "All right. Just tell me if I can help you.")]


def small_talk(dice):
    what = dice.random()
    if what < 0.15:
        name = dice.spin("[!|.||, you!]")
        return [(casually(dice, dice.spin(GREETINGS) + name), dice.spin(HELLO))]
    if what < 0.3:
        hi, who = dice.spin(GREETINGS), dice.spin(WHO)
        if dice.chance(0.4):
            who = (f"{hi}, {who[:1].lower()}{who[1:]}" if dice.chance(0.6) else
                   f"{hi}! {who}")
        hi = "Hi! " if dice.chance(0.2) else ""
        return [(casually(dice, who), hi + dice.spin(I_AM))]
    if what < 0.42:
        x, y, z, w = (words.made_up(dice) if dice.chance(0.6) else
                      dice.pick(words.OBJECTS + words.FOODS)
                      for _ in range(4))
        text = dice.pick(STRANGE).format(x=x, y=y, z=capital(z), w=capital(w),
                                         made_up=words.made_up(dice))
        return [(casually(dice, text), dice.spin(UNKNOWN))]
    if what < 0.5:
        thing = dice.pick((
            " ".join(dice.pick(words.ADJECTIVES + words.ANIMALS + words.OBJECTS)
                     for _ in range(dice.randrange(1, 6))),
            words.made_up(dice), words.person(dice)[0]))
        if dice.chance(0.3):
            thing = capital(thing) + dice.pick("!.")
        return [(dice.spin("[Say|Repeat|Repeat after me:|Please say|Say "
                           "this:] ")
                 + thing, capital(thing))]
    if what < 0.65:
        fields = {"food": dice.pick(words.FOODS), "job": dice.pick(words.JOBS),
                  "thing": dice.pick(words.OBJECTS), "place": " ".join(
                      dice.pick(words.PLACES)),
                  "hobby": dice.pick(words.HOBBIES),
                  "animal": dice.pick(words.ANIMALS),
                  "skill": dice.pick(_OF_THE_BODY),
                  "city": dice.pick(words.CITIES)}
        fields.update(a_thing=a(fields["thing"]), an_animal=a(fields["animal"]),
                      Hobby=capital(fields["hobby"]),
                      Food=capital(fields["food"]))
        question, answer = dice.pick(REMARKS)
        return [(casually(dice, dice.spin(question, **fields)),
                 dice.spin(answer, **fields))]
    question, answer = dice.pick(SMALL_TALK)
    return [(casually(dice, dice.spin(question)), dice.spin(answer))]


def fact_turns(dice):
    question, answer, _ = facts.fact(dice)
    return [(ask(dice, question), answer)]


def project_turns(dice):
    question, answer = project.question(dice)
    return [(ask(dice, question), answer)]
