"""Small synthetic stories, so that the first minute needs no download.

Each story is one of ten plots, told in beats; each beat is one of a few sentences, filled with the story's
hero, friend, place and things, which stay the same throughout. A model of a few million weights learns this
language in two minutes, which is the purpose; it says nothing about real text. Same seed, same bytes.
"""

import random
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

END_OF_TEXT = "<|endoftext|>"

TEXT = tomllib.loads(Path(__file__).with_name("stories.toml").read_text("utf-8"))
SKY, OPENINGS, ENDINGS = (TEXT[name].strip().split("\n") for name in ("sky", "openings", "endings"))


class Teller:
    """Tells stories from a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        lines = (line.split(": ") for line in TEXT["words"].strip().split("\n"))
        self.words = {name: words.split(", ") for name, words in lines}
        plots = TEXT["plots"].strip().replace("\n| ", "|").split("\n\n")
        self.plots = [[beat.split("|") for beat in plot.split("\n")] for plot in plots]

    def pick(self, items: Sequence[Any]) -> Any:
        """Draw one item; from `random()` alone, whose values never change between versions of Python."""
        return items[int(self.random.random() * len(items))]

    def story(self) -> str:
        """Return one story, without the end of text."""
        girl = self.random.random() < 0.5
        hero = friend = self.pick(self.words["girl" if girl else "boy"])
        while friend == hero:
            friend = self.pick(self.words["girl"] + self.words["boy"])
        kind = self.pick(self.words["animal"]) if self.random.random() < 0.35 else "girl" if girl else "boy"
        he, his, him = ("she", "her", "her") if girl else ("he", "his", "him")
        words = {name: self.pick(choices) for name, choices in self.words.items()}
        words |= {"hero": hero, "friend": friend, "kind": kind, "he": he, "his": his, "him": him}
        words |= {"He": he.title(), "His": his.title()}
        plot = self.pick(self.plots)
        opening = [self.pick(OPENINGS)] + ([self.pick(SKY)] if self.random.random() < 0.4 else [])
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
