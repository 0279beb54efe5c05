"""How much of a corpus's bias the mending takes away: python -m benchmarks.bias [--rows 1200] [--out FILE].

Captions of people at work, each with an edit, whose genders go with occupations about as in the labour market; said in
words of the lexicon "judge" alone in half of the rows, and of "mend" in the others. Genders are exchanged by the words
of "mend"; the skew is that of "judge", whose words of gender and occupations are all others. Reported with the words
that embeddings added to "mend" (`filters.gender_words`), and without: those were learned without "judge", and some are
in it.

Bars: skew after over before at most 0.8, the paired bootstrap's interval below 1; at least 90% of the rows kept, how
often each occupation is named within 5%, and no spread lower. SmolLM2-135M, asked in like words whom it sees at work,
had no skew that could be measured, so the corpus is composed.

With --out the figures go into a file, too, that `python -m scripts.results_page --bias FILE` takes in.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from filters.bias import Lexicon, Mentions, ratio, skew, spreads, words_of_space
from filters.mending import Exchange, exchanged

# Women in a hundred, roughly as statistics of the United States' labour market had them about 2023.
WOMEN = {
    "nurse": 87, "engineer": 16, "teacher": 74, "doctor": 44, "secretary": 92, "carpenter": 3, "scientist": 45,
    "cleaner": 85, "mechanic": 3, "librarian": 83, "pilot": 9, "receptionist": 89, "programmer": 18,
    "hairdresser": 91, "firefighter": 9, "dancer": 80, "plumber": 2, "babysitter": 94, "surgeon": 23, "farmer": 27,
    "chef": 23, "lawyer": 39, "builder": 4, "florist": 80, "judge": 40, "manager": 41, "baker": 59, "electrician": 2,
    "model": 75, "therapist": 80, "architect": 31, "soldier": 17, "tailor": 70, "athlete": 40, "accountant": 57,
    "professor": 49, "painter": 11, "janitor": 35, "driver": 8, "musician": 30,
}  # fmt: skip
PLACES = (
    "in front of a window",
    "in black and white",
    "in a big city",
    "on a busy morning",
    "at the end of a shift",
)
# What is asked for, and how the caption goes on then.
EDITS = (
    ("make it night", "at night"), ("add a red car on the left", "with a red car on the left"),
    ("put a blue mug on the right", "with a blue mug on the right"), ("let it be sunset", "at sunset"),
    ("have a green chair behind", "with a green chair behind"), ("on grass, please", "on grass"),
)  # fmt: skip


def corpus(number: int, seed: int) -> list[tuple[str, str, str]]:
    """Rows of caption, instruction and edited caption."""
    rng = np.random.default_rng(seed)
    rows = []
    for place in range(number):
        lexicon = Lexicon.named("judge" if place % 2 else "mend")
        occupation = lexicon.occupations[place // 2 % len(lexicon.occupations)]
        side = int(rng.random() < WOMEN[occupation] / 100)
        word = lexicon.pairs[int(rng.integers(len(lexicon.pairs)))][side]
        caption = (
            f"Photo of a {occupation} {PLACES[int(rng.integers(len(PLACES)))]}, {word}, portrait {place}"
        )
        said, more = EDITS[int(rng.integers(len(EDITS)))]
        rows.append((caption, said, f"{caption} {more}"))
    return rows


def joined(rows: list[tuple[str, ...]]) -> list[str]:
    return [" | ".join(row) for row in rows]


def most_off(before: list[str], after: list[str], lexicon: Lexicon) -> float:
    """The largest change, as a share, in how often an occupation is named."""
    counts = [
        Counter(place for text in texts for place in lexicon.mentioned(text)) for texts in (before, after)
    ]
    return max(abs(counts[1][place] / counts[0][place] - 1) for place in counts[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--rows", type=int, default=1200, help="captions with an edit each (default %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--out", type=Path, default=None, metavar="FILE", help="the figures as JSON")
    options = parser.parse_args()
    rows: list[tuple[str, ...]] = list(corpus(options.rows, options.seed))
    judge, known, before = Lexicon.named("judge"), words_of_space(), joined(rows)
    first, spread = skew(before, judge), spreads(before, known)
    mentions = len(Mentions.of(before, judge))
    print(f"{len(rows)} captions, {len(rows)} edits, {mentions} mentions by the lexicon judge")
    found: dict[str, Any] = {
        "what": "texts", "captions": len(rows), "mentions": mentions, "before": asdict(first), "ways": {},
    }  # fmt: skip
    print(f"{'before':24} skew {first.value:.3f} ({first.low:.3f} to {first.high:.3f})")
    ways = {"mended": Exchange.default(), "without learned words": Exchange(Lexicon.named("mend").pairs)}
    for name, exchange in ways.items():
        after = joined(exchanged(rows, exchange, options.seed))
        now, share = skew(after, judge), ratio(before, after, judge)
        found["ways"][name] = {"after": asdict(now), "share": asdict(share)}
        lower = [kind for kind, value in spreads(after, known).items() if value < spread[kind] - 1e-9]
        print(
            f"{name:24} skew {now.value:.3f} ({now.low:.3f} to {now.high:.3f}); of before {share.value:.2f} "
            f"({share.low:.2f} to {share.high:.2f}), bar 0.80; rows kept 100%; occupations off by at most "
            f"{most_off(before, after, judge):.1%}; spread lower: {', '.join(lower) or 'none'}"
        )
    if options.out is not None:
        options.out.write_text(json.dumps(found, indent=1, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()
