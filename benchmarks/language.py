"""How much of what people say freely is understood: python -m benchmarks.language

150 sentences in each language, written without sight of the phrasings; `understood` is the share that has typed steps,
`as meant` the share of these that has the right ones. The others go to the editor's text encoder as they are.
"""

from __future__ import annotations

from evaluation.paraphrases import paraphrases, understood


def main() -> None:
    print(f"{'language':<10}{'sentences':>10}{'understood':>12}{'as meant':>10}")
    found = paraphrases()
    for language in ("en", "vi"):
        figures = understood([one for one in found if one.language == language])
        print(
            f"{language:<10}{figures.total:>10}{figures.read / figures.total:>12.1%}"
            f"{figures.right / max(1, figures.read):>10.1%}"
        )


if __name__ == "__main__":
    main()
