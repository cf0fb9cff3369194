"""Plots of stories: paragraphs of sentences with choices (see spin.py).

Fields: N, k, ak, he, him, his: the hero, what it is, and pronouns; F, fk, afk,
fhe, fhim, fhis: the friend; o, ao: a thing; P, p: "in the forest", "the
forest"; food, colour, fear, skill. Every plot says that the hero lived at P and
that the friend is F the fk, and has the thing in it: questions rely on that.
"""

FEARS = ["the dark", "storms", "deep water", "high places", "loud noises",
         "thunder", "being alone", "the night", "the wind", "strangers"]
SKILLS = ["dance", "swim", "paint", "sing", "bake bread", "juggle", "whistle",
          "climb", "read", "skate", "tell jokes", "play the drum", "count",
          "draw", "write letters", "ride a bicycle", "fly a kite", "cook soup"]

_OPEN = [
    "[Once upon a time[,|] there was {ak} named {N}[ who lived {P}|. {He} "
    "lived {P}]."
    "|Once upon a time, {P}, there lived {ak} named {N}."
    "|Once there was {ak} called {N} who lived {P}."
    "|Long ago, {ak} named {N} lived {P}."
    "|There once was {ak} named {N}. {N} lived {P}."
    "|{N} was {ak} who lived {P}."
    "|{Pc} there lived {ak}. {His} name was {N}.]"
]
_HABIT = [
    "[Every [morning|day|evening] {he} [walked|went for a walk|sat in the sun|"
    "looked at the clouds] and [sang a little song|thought about the world|"
    "counted the birds|said hello to everyone]."
    "|{He} liked {food}[, warm blankets and long stories| and quiet evenings|"
    " more than anything|]."
    "|{His} house was [small|tiny|old] but [warm|cosy|full of books], and it "
    "had a {colour} door."
    "|Everyone [knew|liked] {him}, because {he} was [kind|funny|always ready "
    "to help|polite to everyone].|]"
]
_MEET = [
    "[Then|Soon|After a while|On the way|Just then] {he} met {F}, {afk}.",
    "[\"[Hello|Good morning|Good day], {N},\" said {F}. \"[Why do you look so "
    "sad|What are you doing|Where are you going|What is the matter]?\""
    "|{F} [stopped and|smiled and] asked, \"[What is the matter|What are you "
    "doing here|Can I help you]?\"]",
]
_END = [
    "[And from that day on, [{N} and {F} were [the best of|good] friends|{he} "
    "was never lonely again|they [met|played together|had tea] every day]."
    "|And they lived happily ever after."
    "|That night {N} [slept very well|fell asleep with a smile|dreamed of the "
    "{o}]."
    "|{N} never forgot that day.|The end.]",
    "[The end.||||]",
]

_LOST = [
    _OPEN + _HABIT + [
        "{N} had {ao}[ that [shone like a star|was very old|had belonged to "
        "{his} grandmother]|]. It was the thing that {he} loved most."],
    ["One [morning|day|evening], the {o} was gone. {N} looked [under the bed|"
     "behind the door|in every corner|in all the boxes], but [it was not there|"
     "{he} could not find it].",
     "[\"Oh no,\" {he} said. \"Where is my {o}?\"|{He} was very sad.|{He} sat "
     "down and [cried|sighed].]"],
    _MEET + [
     "\"I have lost my {o},\" said {N}.",
     "\"[Don't worry|Do not be sad],\" said {F} the {fk}. \"[I will help you "
     "look for it|Let us look for it together|Two can see more than one].\""],
    ["They looked [behind the trees|along the path|near the bridge|in the tall "
     "grass] and [under the stones|by the old well|between the roots|behind "
     "the fence]. [At last|In the end|Just before dark] {F} saw something "
     "[shining|{colour}|lying] in the [grass|leaves|mud|sand]. It was the {o}!",
     "\"Thank you!\" said {N}. [{He} was so happy that {he} danced.|{He} gave "
     "{F} a big hug.|{He} laughed for joy.]"],
    ["[{N} learned that [a good friend is worth more than any {o}|it is easier "
     "to look together than alone].|Then they went home and ate {food}.|]"]
    + _END,
]
_FOUND = [
    _OPEN + _HABIT,
    ["One day {N} found {ao} [on the path|under a bush|beside the road|at the "
     "door|next to a big stone]. It was [very beautiful|old and a little dusty|"
     "bigger than {he} had ever seen|{colour} and smooth].",
     "[\"Whose {o} is this?\" {he} wondered.|\"Somebody must miss this {o},\" "
     "{he} thought.] [{He} wanted to keep it, but {he} knew that it was not "
     "{his}.|{He} took it and began to ask everyone.]"],
    ["{He} asked the [birds|neighbours|baker|old miller], but [nobody|no one] "
     "knew.",
     "Then {he} came to the house of {F}, {afk}. {F} was sitting at the door, "
     "[and {fhe} looked sad|crying quietly].",
     "\"I have lost my {o},\" said {F}. \"[I have looked for it everywhere|It "
     "was a gift from my mother|I cannot sleep without it].\""],
    ["\"[Is this it|Is it this one|Could it be this one]?\" asked {N}, and "
     "held up the {o}.",
     "[{F} jumped up and laughed.|{F} could hardly believe it.|The {fk}'s eyes "
     "became bright.] \"Thank you! [You are very kind|You are a true friend|"
     "How can I thank you]!\"",
     "They [sat down together|went inside] and shared some {food}."],
    _END,
]
_FEAR = [
    _OPEN + ["{N} had a secret: {he} was afraid of {fear}."] + _HABIT,
    ["One [night|evening|day] {he} heard a small voice. \"Help! [Please help "
     "me|Is anybody there]!\" It was {F}, {afk}, who [had lost the way|was "
     "stuck in a hole|had hurt a foot|could not get home].",
     "{N} [wanted to run away|was very much afraid|felt {his} heart beat "
     "fast]. But {he} thought, \"[{F} needs me|I must help|If I do not go, "
     "nobody will].\""],
    ["So {he} took {ao} and went out. [Step by step|Slowly|With shaking legs], "
     "{he} came nearer. \"[I am here|Hold on|Don't be afraid],\" {he} called.",
     "With the help of the {o} [{he} brought {F} home|they found the way back|"
     "{he} pulled {F} out]."],
    ["\"You are so brave!\" said {F} the {fk}.",
     "\"I was afraid all the time,\" said {N}.",
     "\"[That is what brave means|To be brave is to be afraid and to go "
     "anyway],\" said {F}.",
     "[After that, {N} was not so afraid of {fear} any more.|{N} thought about "
     "it for a long time, and smiled.]"] + _END,
]
_SHARE = [
    _OPEN + _HABIT + [
        "[In autumn|That year|One summer] {N} had a lot of {food}, [all of it "
        "in a big box|more than {he} could eat]."],
    ["One cold day there was a knock at the door. It was {F}, {afk}. \"I am so "
     "hungry,\" said {F}. \"[Do you have something to eat|Could you give me "
     "some {food}]?\"",
     "[{N} thought for a moment.|At first {N} did not want to share.] Then "
     "{he} said, \"[Come in|Of course|Sit down]. [There is enough for two|We "
     "will share|Eat as much as you like].\""],
    ["They ate {food} by the fire, and {F} told {him} stories about [the sea|"
     "faraway lands|the stars|the old days].",
     "[Before {fhe} left|In the morning], {F} gave {N} {ao}. \"It is all that "
     "I have,\" said the {fk}, \"but it is for you.\""],
    ["[Some weeks later|In the winter|One day] {N} was [lost in the snow|ill "
     "in bed|in trouble], and it was {F} who came to help. \"You shared "
     "with me,\" said {F}. \"Now I share with you.\"",
     "[{N} put the {o} on the shelf, where {he} could see it every day.|{N} "
     "kept the {o} for ever.]"] + _END,
]
_LEARN = [
    _OPEN + ["More than anything, {N} wanted to learn to {skill}."] + _HABIT,
    ["{He} tried on Monday, but it [did not work|went wrong]. {He} tried on "
     "Tuesday, and [it was even worse|{he} fell into the {food}|everyone "
     "laughed].",
     "\"I will never learn it,\" said {N}, and [sat down under a tree|hid "
     "{his} face|kicked a stone]."],
    ["{F}, {afk}, had seen it all. \"[Nobody is good at it on the first day|"
     "You are trying too fast|It took me a year to learn it],\" said {F}. "
     "\"[Try again tomorrow|Go slowly|I will show you], and take this {o}. It "
     "will [help you|bring you luck].\""],
    ["So {N} practised every day, [in the sun and in the rain|early and late|"
     "a little at a time], with the {o} [by {his} side|in {his} hand|near "
     "{him}]. And one [day|morning], it worked! {N} could {skill}.",
     "\"The {o} is magic!\" said {N}.",
     "\"[No|Oh no],\" laughed {F} the {fk}. \"It is just {ao}. [You did it "
     "yourself|The magic is that you did not give up].\""],
    _END,
]
_JOURNEY = [
    _OPEN + _HABIT + [
        "One night {he} had a dream about {ao} [at the end of the world|on top "
        "of the highest mountain|far away beyond the hills]."],
    ["[The next morning|At dawn] {N} packed some {food} and set out. {He} "
     "walked over [three hills|a long bridge|green fields] and through [a dark "
     "wood|a deep valley|two villages]."] + _MEET + [
     "\"I am looking for {ao} that I saw in a dream,\" said {N}.",
     "\"Then I will come with you,\" said {F} the {fk}. \"[The road is shorter "
     "for two|I have always wanted to see the world].\""],
    ["They walked for [three|five|seven] days. They [slept under the "
     "stars|sang songs|told each other stories] and shared all their {food}.",
     "[At last|On the last day] they [came to the top|reached the place]. "
     "There was [only a small house|nothing but the wide blue sky], and the "
     "whole world lay below them, [golden|bright|quiet] in the "
     "[morning|evening] sun."],
    ["\"There is no {o},\" said {N}. \"[But I have found a friend|But look how "
     "beautiful it is|I am not sad, because you are here].\"",
     "And they [went home together|walked all the way back, laughing]."] + _END,
]
_LONELY = [
    _OPEN + [
        "[Everybody was afraid of {him}|The others never spoke to {him}|People "
        "said that {he} was strange], so {N} was [always alone|very lonely]."],
    ["One day {F}, {afk}, came to {p} with {ao}. [{F} had lost the way.|It was "
     "raining hard.] {Fhe} saw {N} and [wanted to run away|stood still|did not "
     "know what to say].",
     "\"Please don't go,\" said {N}. \"[I only want to talk|I have not talked "
     "with anyone for a year|I will not hurt you].\""],
    ["So {F} sat down. They talked about [the weather|the moon|{food}|music] "
     "and about [faraway places|the stars|their families|funny dreams]. {F} "
     "showed {him} the {o}, and {N} [thought it was wonderful|asked a hundred "
     "questions about it].",
     "\"You are not [strange|bad|dangerous] at all,\" said {F} the {fk}. \"You "
     "are [just lonely|kind|funny].\""],
    ["[The next day|Soon] {F} came back with [all {fhis} friends|a big cake|"
     "more friends], and they had a party {P}. [{N} gave everyone some {food}.|"
     "{N} had never been so happy.]"] + _END,
]
_WISH = [
    _OPEN + _HABIT,
    ["One day {he} found {ao} {P}. [When {he} touched it|When {he} cleaned "
     "it], it began to [glow|sing|speak].",
     "\"I can give you one wish,\" said the {o}. \"What [do you want|will it "
     "be]?\""],
    ["{N} thought of [gold|a big house|a mountain of {food}]. {He} thought of "
     "[a long journey|a {colour} crown|wings]. {He} could not decide, so {he} "
     "went to {F}, {afk}, and asked what to wish for.",
     "\"[I was ill today|I have been so tired lately|My roof is broken],\" "
     "said {F}, \"but I am glad that you came to see me.\""],
    ["Then {N} knew. \"I wish that {F} may be well and happy,\" {he} said. The "
     "{o} [shone once more and was silent|gave a bright light], and the wish "
     "came true.",
     "\"But now you have nothing for yourself,\" said {F} the {fk}.",
     "\"[I have you|I have a friend|I have all that I need],\" said {N}."]
    + _END,
]
_RACE = [
    _OPEN + ["{N} [was very fast|loved to run|wanted to be the first in "
             "everything]."] + _HABIT,
    ["One day there was a big race {P}. [The prize was {ao}|The winner would "
     "get {ao}], and {N} wanted to win it.",
     "\"One, two, three, go!\" called the [judge|old owl|mayor]. {N} ran as "
     "fast as {he} could. [Soon|After a minute] {he} was far in front."],
    ["But then {he} heard a cry. {F}, {afk}, had [fallen|slipped] and could "
     "not get up.",
     "{N} looked at the finish. {He} looked back at {F}. Then {he} turned "
     "around. \"[Take my hand|Lean on me|I will help you],\" {he} said."],
    ["The two came in last, [side by side|arm in arm]. [But everyone clapped|"
     "Everyone cheered], louder than for the winner.",
     "And the winner came and said, \"The {o} is yours. You have won something "
     "[better|bigger] than a race.\" {N} shared it with {F} the {fk}[, of "
     "course|]."],
    _END,
]
_LIGHT = [
    _OPEN + _HABIT,
    ["One [evening|night] a [big storm|thick fog|great snowstorm] came, and "
     "all the [lights went out|roads were lost]. {N} sat at home with {ao} and "
     "listened to the wind.",
     "Then {he} thought of {F} the {fk}, who was [out there|on the way home|"
     "alone in the cold]."],
    ["\"I must do something,\" said {N}. {He} took the {o}, climbed up [the "
     "tower|the roof|a tall tree], and [waved it|held it high|made as much "
     "noise with it as {he} could].",
     "[All night long {he} stayed there.|{He} did not stop, although {he} was "
     "cold and tired.]"],
    ["In the morning there was a knock at the door. It was {F}. \"[I followed "
     "your {o}|It was your {o} that showed me the way|Without you I would "
     "never have come home],\" said {F}.",
     "{N} [made some tea|cooked hot soup|brought a warm blanket], and they "
     "[laughed|talked] until noon."],
    _END,
]

LONG = [_LOST, _FOUND, _FEAR, _SHARE, _LEARN, _JOURNEY, _LONELY, _WISH, _RACE,
        _LIGHT]

BRIEF = [
    [_OPEN + ["One day {he} found {ao}. {He} showed it to {F} the {fk}, and "
              "they played with it until [the sun went down|it was dark|"
              "dinner]. It was a good day."]],
    [_OPEN + ["{He} had {ao}, but no friend. Then {F} the {fk} came [along|to "
              "visit]. \"What a [fine|nice] {o}!\" said {F}. From then on they "
              "were friends."]],
    [_OPEN + ["{He} lost {his} {o} [in the grass|on the way home]. {F} "
              "the {fk} found it and brought it back. \"Thank you,\" said {N}, "
              "and gave {F} some {food}."]],
    [_OPEN + ["{He} wanted to {skill}, but {he} could not. {F} the {fk} gave "
              "{him} {ao} and said, \"[Try again|Never give up].\" {N} tried "
              "again, and this time it worked."]],
]
