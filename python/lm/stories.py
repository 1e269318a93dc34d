"""Small synthetic stories, so that the first minute needs no download.

Each story is one of ten plots, told in beats; each beat is one of a few sentences, filled with the story's
hero, friend, place and things, which stay the same throughout. A model of a few million weights learns this
language in two minutes, which is the purpose; it says nothing about real text. Same seed, same bytes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

END_OF_TEXT = "<|endoftext|>"

WORDS = """
girl: Lily, Mia, Anna, Sara, Lucy, Emma, Rosie, Amy
boy: Tom, Ben, Max, Sam, Leo, Jack, Tim, Finn
animal: bear, rabbit, fox, mouse, duck, cat
grown: mom, dad, grandma, grandpa
place: park, garden, forest, village, meadow, yard
color: red, blue, green, yellow, pink, white
toy: ball, kite, doll, truck, boat, drum, train, hat
food: soup, bread, cake, pie, honey, cheese
good: kind, brave, curious, funny, clever, gentle, happy
fear: the dark, the thunder, the deep water, the tall slide, big dogs, the wind
hidden: under the bed, behind a big tree, in the tall grass, under a bench, inside an old box, next to a rock
happy: happy, glad, proud, full of joy, very happy
sad: sad, upset, very sad, worried
"""

SKY = """
The sun was shining and the sky was blue.
It was a warm and sunny day.
The birds were singing in the trees.
The air was cool and fresh.
Soft white clouds moved across the sky.
It was a bright morning.
""".strip().split("\n")

OPENINGS = """
Once upon a time, there was a {good} {kind} named {hero}.
One day, a {good} {kind} named {hero} woke up early.
There once was a {good} {kind}. {His} name was {hero}.
Once there was a little {kind} named {hero}.
Once upon a time, in a small village, there lived a {good} {kind} named {hero}.
""".strip().split("\n")

ENDINGS = """
From that day on, {hero} and {friend} were the best of friends.
{hero} smiled all the way home.
That night, {hero} slept very well.
{hero} was {happy}, and so was {friend}.
It was the best day ever.
{hero} never forgot that day.
And they all lived happily ever after.
{hero} gave {friend} a big hug.
""".strip().split("\n")

# A plot is a paragraph, a beat is a line; lines that begin with | are other ways to tell the beat before.
PLOTS = """
{hero} had a {color} {toy}. It was {his} favorite thing.
| {hero} loved to play with {his} {color} {toy}.
One morning, the {toy} was gone.
| But one day, {he} could not find the {toy}.
{hero} was {sad}. {He} looked in the house and in the {place}.
| "Where is my {toy}?" {he} cried.
{friend} saw {hero} and asked, "What is wrong?"
| {His} friend {friend} came to help.
"I lost my {toy}," said {hero}. "Do not cry, we will find it," said {friend}.
| "We will look together," said {friend}.
They looked and looked. At last, they found the {toy} {hidden}!
| {friend} looked {hidden}. There was the {color} {toy}!
"Thank you, {friend}!" said {hero}. {He} was {happy}.
| {hero} jumped up and down. {He} was {happy}.

{hero} had some {food} for lunch.
| {His} {grown} gave {him} some {food} to eat.
{He} went to the {place} to eat it.
| {He} sat down in the {place} under a big tree.
Then {he} saw {friend}. {friend} had no food and looked {sad}.
| {friend} came by. {friend} was hungry and had nothing to eat.
"Would you like some of my {food}?" asked {hero}.
| {hero} thought for a while. "We can share," {he} said.
"Oh yes, please!" said {friend}.
| {friend} smiled. "You are very kind," said {friend}.
They ate the {food} together, and it was yummy.
| They shared the {food} and laughed a lot.
The next day, {friend} gave {hero} a {color} {toy} to say thank you.
| {hero} learned that food is better when you share it.

{hero} was afraid of {fear}.
| But {hero} had a secret. {He} was scared of {fear}.
{friend} wanted to play in the {place}, but {hero} did not want to go.
| When {friend} asked {him} to come along, {he} said, "No, I am too scared."
"It is okay to be afraid," said {his} {grown}. "I will hold your hand."
| {His} {grown} said, "Being brave means to try, even when you are scared."
{hero} took a deep breath. {He} took one small step, and then one more.
| So {hero} closed {his} eyes and counted to three.
Nothing bad happened. It was not so scary after all!
| It was much easier than {he} thought.
"You did it!" shouted {friend}.
| "I am so proud of you," said {his} {grown}.
{hero} was not afraid of {fear} any more.
| After that, {hero} felt big and brave.

{hero} wanted to make a {color} {toy}.
| One day {he} said, "I want to make a {color} {toy}."
{He} took some paper, some wood and some glue.
| {He} found an old box and some paint in the {place}.
{He} worked very hard, but the {toy} broke.
| But when {he} was done, the {toy} fell apart.
{hero} was {sad} and wanted to stop.
| "I cannot do it," said {hero}. {He} was {sad}.
"Do not give up," said {friend}. "Try one more time."
| {friend} said, "Let me help you. We can try again."
They worked together until the sun went down.
| This time, they were slow and careful.
At last, the {toy} was ready. It was the best {toy} in the {place}!
| And this time it worked! The {color} {toy} looked great.
{hero} learned that it is good to try again.
| {hero} showed the {toy} to {his} {grown}, who clapped.

{He} was walking in the {place} when {he} heard a small sound.
| While playing in the {place}, {hero} saw something move in the grass.
It was a little {color} bird. It had a hurt wing and could not fly.
| A tiny {color} bird lay on the ground. Its wing was hurt.
"Poor bird," said {hero}. "I will take care of you."
| {hero} picked it up very gently and took it home.
{His} {grown} made a soft bed for the bird in a box.
| {friend} brought some water and some seeds.
Every day, {hero} fed the bird and sang to it.
| The bird ate and slept and got stronger each day.
One morning, the bird opened its wings and flew up into the sky.
| After a week, the wing was well, and the bird could fly again.
"Goodbye, little bird!" called {hero}.
| {hero} was a bit {sad} to see it go, but also {happy}.
The next day, the bird came back to sing for {hero}.
| The bird came back every spring to say hello.

{hero} wanted to go to the {place} with {friend}.
| {hero} and {friend} had a plan to play in the {place}.
But then it started to rain.
| But the sky turned gray, and big drops of rain fell down.
"Oh no, now we cannot go," said {hero}. {He} was {sad}.
| {hero} looked out of the window and was {sad}.
{friend} had an idea. "We can play inside," said {friend}.
| "I know what we can do," said {his} {grown}. "We will make some {food}."
They built a house out of blankets and played with the {color} {toy}.
| They sang songs, and they played with the {color} {toy}.
They had so much fun that they forgot about the rain.
| They laughed until their tummies hurt.
When the rain stopped, they saw a rainbow in the sky.
| Then the sun came out, and they ran outside.

On the way to the {place}, {hero} met an old woman with a heavy basket.
| One day {he} saw an old man in the {place}. The man had a heavy bag.
"This is too heavy for me," they heard, and then a long sigh.
| It was hard work to carry it.
"Can I help you?" asked {hero}.
| {hero} ran over and said, "I can carry it for you!"
{hero} and {friend} carried it all the way up the hill.
| It was heavy, so {friend} came to help, too.
"Thank you, children. You are so kind!"
| When they got there, they were tired but {happy}.
Inside was some {food}, and they all had a bite.
| As a thank you, {hero} got a {color} {toy}.
{hero} learned that helping others feels good.
| "I like to help," {hero} told {his} {grown} that night.

{hero} and {friend} were playing in the {place}.
| One day {he} went to the {place} to play with {friend}.
They both wanted the {color} {toy}.
| They found a {color} {toy}, and both of them wanted it.
"It is mine!" said {hero}. "No, it is mine!" said {friend}.
| They pulled and pulled, and they got angry.
Then the {toy} fell down and broke.
| Crack! The {toy} broke in two.
Now they were both {sad}.
| {hero} looked at {friend}, and {friend} looked at {hero}. They were {sad}.
"I am sorry," said {hero}. "I am sorry, too," said {friend}.
| {His} {grown} said, "It is better to take turns." They both said sorry.
They fixed the {toy} with some glue and played together.
| They fixed the {toy}, and then they took turns.

{His} {grown} gave {him} a tiny seed.
| One day, {hero} found a small seed in the {place}.
{hero} put it into the ground and gave it some water.
| {He} made a hole and put the seed in.
{He} waited and waited, but nothing happened.
| The next day, {he} looked, but there was nothing to see.
"It does not grow," said {hero}. {He} was {sad}.
| "Why does it not grow?" {he} asked {friend}.
"You must be patient," said {his} {grown}.
| "Good things take time," said {friend}.
So {hero} gave it water every day.
| Every morning, {he} gave it water and sang a song.
Then, one day, a little green leaf came out!
| After many days, a {color} flower opened in the sun.
{hero} was {happy}. {He} had learned to wait.
| It was the most beautiful flower in the {place}.

In the {place}, {he} saw a {color} butterfly and ran after it.
| {He} followed a {color} butterfly far into the forest.
When the butterfly flew away, {hero} did not know where {he} was.
| Soon {he} was lost.
"I want to go home," {he} cried.
| {hero} was {sad} and sat down on a rock.
Then {friend} came by. "Are you lost?" asked {friend}.
| {friend} heard {him} and came to see.
"Follow me, I know the way," said {friend}.
| {friend} took {his} hand and showed {him} the way.
They walked past the river and over the hill.
| They walked and walked until they saw a light.
{His} {grown} was waiting at the door and gave {him} a big hug.
| "There you are!" said {his} {grown}, and made some {food} for them.
{hero} promised to never run off again.
| {hero} was {happy} to be home.
"""


class Teller:
    """Tells stories from a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        lines = (line.split(": ") for line in WORDS.strip().split("\n"))
        self.words = {name: words.split(", ") for name, words in lines}
        plots = PLOTS.strip().replace("\n| ", "|").split("\n\n")
        self.plots = [[beat.split("|") for beat in plot.split("\n")] for plot in plots]

    def chance(self, part: float) -> bool:
        """Return whether something with this probability happens."""
        return self.random.random() < part

    def pick(self, items: Sequence[str]) -> str:
        """Draw one item; from `random()` alone, whose values never change between versions of Python."""
        return items[int(self.random.random() * len(items))]

    def story(self) -> str:
        """Return one story, without the end of text."""
        girl = self.chance(0.5)
        hero = friend = self.pick(self.words["girl" if girl else "boy"])
        while friend == hero:
            friend = self.pick(self.words["girl"] + self.words["boy"])
        kind = self.pick(self.words["animal"]) if self.chance(0.35) else "girl" if girl else "boy"
        he, his, him = ("she", "her", "her") if girl else ("he", "his", "him")
        words = {name: self.pick(choices) for name, choices in self.words.items()}
        words |= {"hero": hero, "friend": friend, "kind": kind, "he": he, "his": his, "him": him}
        words |= {"He": he.title(), "His": his.title()}
        plot = self.plots[int(self.random.random() * len(self.plots))]
        opening = [self.pick(OPENINGS)] + ([self.pick(SKY)] if self.chance(0.4) else [])
        beats = [*opening, *(self.pick(beat) for beat in plot), self.pick(ENDINGS)]
        told = [beat.format(**words) for beat in beats]
        first, second = len(opening) + 1, len(opening) + len(plot) // 2  # paragraphs
        return "\n".join(" ".join(part) for part in (told[:first], told[first:second], told[second:]))


def tell(num_bytes: int, seed: int = 0) -> Iterator[str]:
    """Yield stories, each closed by a line with the end of text, until they have `num_bytes` together."""
    teller = Teller(seed)
    while num_bytes > 0:
        story = f"{teller.story()}\n{END_OF_TEXT}\n"
        num_bytes -= len(story.encode())
        yield story


def write(path: Path, num_bytes: int, seed: int = 0) -> Path:
    """Write a file of stories."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(tell(num_bytes, seed))
    return path
