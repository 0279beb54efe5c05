"""Prints the pairs that a language model adds to the lexicon "mend": `python -m scripts.gender_words FOLDER`.

Those of SmolLM2-135M are gender.learned in filters/bias.yaml, but for what somebody who read them left out.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from filters.bias import Lexicon
from filters.gender_words import embeddings, learned


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.gender_words", description=__doc__)
    parser.add_argument(
        "folder", type=Path, help="a language model with its tokenizer, in transformers' layout"
    )
    try:
        words, vectors = embeddings(parser.parse_args().folder)
        pairs = learned(words, vectors, Lexicon.named("mend").pairs)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for masculine, feminine in pairs:
        print(f"    - {masculine} {feminine}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
