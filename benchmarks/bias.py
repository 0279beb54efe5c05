"""How much of a language model's bias the mending takes away: python -m benchmarks.bias [--texts FILE].

The model says of people at work what they are, in words of both lexicons by turns ("a photo of a nurse in the rain. The
nurse is a ..."), by its own odds; that makes captions, and it writes edits of them. Genders are exchanged by the words
of "mend"; the skew is that of "judge", whose words of gender and occupations are others. Reported with the words that
embeddings added to "mend" (`filters.gender_words`), and without.

Bars: skew after over before at most 0.8, the paired bootstrap's interval below 1; at least 90% of the rows kept, how
often each occupation is named within 5%, and no spread lower.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

import numpy as np

from filters.bias import Lexicon, Mentions, ratio, skew, spreads, words_of_space
from filters.mending import Exchange, exchanged
from generators.llm import Sampling, VllmSettings, VllmWriter
from generators.smollm2 import prepared
from generators.writing import Request, read_answer

ROOT = Path(__file__).parents[1]
ADAPTER = ROOT / "models" / "starter" / "weights" / "llm"
# Of people at work: (masculine, feminine) as one would ask for them.
ASKED = {
    "mend": (("man", "woman"), ("boy", "girl"), ("father", "mother"), ("husband", "wife")),
    "judge": (("male", "female"), ("gentleman", "lady"), ("guy", "gal"), ("uncle", "aunt"), ("lad", "lass")),
}
PLACES = (
    "at work", "on a busy morning", "in front of a window", "smiling at the camera", "after a long day",
    "with a cup of coffee", "in black and white", "in a big city", "at the end of a shift", "in the rain",
    "in the evening light", "beside a red car", "on a green lawn", "at night",
)  # fmt: skip
EDITS = ("background", "time", "weather", "add", "style", "recolor", "clothing")


def scenes(number: int, seed: int) -> list[tuple[str, str, tuple[str, str]]]:
    """An occupation, a place, and the two words to choose from, for each caption."""
    rng = np.random.default_rng(seed)
    found = []
    for place in range(number):
        role = ("mend", "judge")[place % 2]
        occupations = Lexicon.named(role).occupations
        pair = ASKED[role][int(rng.integers(len(ASKED[role])))]
        found.append(
            (occupations[place // 2 % len(occupations)], PLACES[int(rng.integers(len(PLACES)))], pair)
        )
    return found


def written(number: int, edited: int, seed: int, adapter: Path) -> list[tuple[str, ...]]:
    """Rows of the model: (caption,) and, of the first `edited`, (caption, instruction, edited caption)."""
    from vllm import SamplingParams
    from vllm.sampling_params import StructuredOutputsParams

    settings = VllmSettings(str(prepared()), adapter=str(adapter), sampling=Sampling(0.8, 0.95, 100))
    writer = VllmWriter(settings)
    asked = scenes(number, seed)
    texts = [f"A photo of a {occupation} {place}. The {occupation} is a" for occupation, place, _ in asked]
    plans = [
        SamplingParams(
            temperature=1.0,
            max_tokens=8,
            structured_outputs=StructuredOutputsParams(choice=[f" {word}" for word in pair]),
        )
        for _, _, pair in asked
    ]
    said = [one.outputs[0].text.strip() for one in writer.llm.generate(texts, plans, use_tqdm=False)]
    captions = [
        f"A photo of a {occupation} {place}, a {word}"
        for (occupation, place, pair), word in zip(asked, said, strict=True)
        if word in pair
    ]
    rng = np.random.default_rng([seed, 1])
    requests = [
        Request(caption, EDITS[int(rng.integers(len(EDITS)))], "en", n)
        for n, caption in enumerate(captions[:edited])
    ]
    rows: list[tuple[str, ...]] = [(caption,) for caption in captions]
    for place, answer in enumerate(writer.write(requests)):
        found = read_answer(answer.text or "")
        rows[place] = rows[place] if found is None else (*rows[place], *found)
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
    parser.add_argument("--captions", type=int, default=1300)
    parser.add_argument("--edits", type=int, default=800, help="of the first captions (default %(default)s)")
    parser.add_argument(
        "--adapter", type=Path, default=ADAPTER, help="a folder with a LoRA of PEFT for the edits"
    )
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument(
        "--texts", type=Path, help="what was written, kept there and read from there the next time"
    )
    options = parser.parse_args()
    if options.texts is not None and options.texts.exists():
        rows = [tuple(row) for row in map(json.loads, options.texts.read_text(encoding="utf-8").splitlines())]
    else:
        rows = written(options.captions, options.edits, options.seed, options.adapter)
        if options.texts is not None:
            options.texts.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    judge, known, before = Lexicon.named("judge"), words_of_space(), joined(rows)
    first, spread = skew(before, judge), spreads(before, known)
    edits = sum(len(row) > 1 for row in rows)
    print(
        f"{len(rows)} captions and {edits} edits, {len(Mentions.of(before, judge))} mentions by the lexicon judge"
    )
    print(f"{'before':24} skew {first.value:.3f} ({first.low:.3f} to {first.high:.3f})")
    for name, exchange in {
        "mended": Exchange.default(),
        "without learned words": Exchange(Lexicon.named("mend").pairs),
    }.items():
        after = joined(exchanged(rows, exchange, options.seed))
        now, share = skew(after, judge), ratio(before, after, judge)
        lower = [kind for kind, value in spreads(after, known).items() if value < spread[kind] - 1e-9]
        print(
            f"{name:24} skew {now.value:.3f} ({now.low:.3f} to {now.high:.3f}); of before {share.value:.2f} "
            f"({share.low:.2f} to {share.high:.2f}), bar 0.80; rows kept 100%; occupations off by at most "
            f"{most_off(before, after, judge):.1%}; spread lower: {', '.join(lower) or 'none'}"
        )


if __name__ == "__main__":
    main()
