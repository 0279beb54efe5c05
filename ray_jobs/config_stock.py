"""What a run's scenes and composed captions are made of: keys of the vocabulary, as the configuration names them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from ray_jobs.config_base import Model
from spatial.vocabulary import COLORS, FLOORS, MATERIALS, NOUNS


class Stock(Model):
    """What is shown, before and after an edit; what is left out may be anything there is.

    never: pairs of a noun and a colour that are not shown, "mug red".
    """

    nouns: tuple[str, ...] | None = None
    colors: tuple[str, ...] | None = None
    materials: tuple[str, ...] | None = None
    floors: tuple[str, ...] | None = None
    never: tuple[Annotated[str, Field(pattern=r"^\S+ \S+$")], ...] = ()

    @model_validator(mode="after")
    def _known(self) -> Stock:
        # Nouns may come with a catalogue of assets: they are looked up when that is open.
        for key, words, allowed in (
            ("colors", self.colors, COLORS),
            ("materials", self.materials, MATERIALS),
            ("floors", self.floors, FLOORS),
            ("never", tuple(pair.split(" ")[1] for pair in self.never), COLORS),
        ):
            if unknown := [word for word in words or () if word not in allowed]:
                raise ValueError(f"{key}: {unknown[0]!r} is not one of {', '.join(allowed)}")
        return self


class Words(Stock):
    """What composed captions speak of: no catalogue brings nouns of its own here."""

    @model_validator(mode="after")
    def _nouns_known(self) -> Words:
        if unknown := [noun for noun in self.nouns or () if noun not in NOUNS]:
            raise ValueError(f"nouns: {unknown[0]!r} is not one of {', '.join(NOUNS)}")
        if not set(self.pairs()):
            raise ValueError("never: leaves no pair of a noun and a colour")
        return self

    def pairs(self) -> list[tuple[str, str]]:
        """Nouns and colours that captions may name together."""
        never = set(self.never)
        nouns, colors = self.nouns or NOUNS, self.colors or COLORS
        return [(noun, color) for noun in nouns for color in colors if f"{noun} {color}" not in never]

    def filled(self) -> dict[str, list[str]]:
        """Every key with words."""
        return {
            "nouns": list(self.nouns or NOUNS),
            "colors": list(self.colors or COLORS),
            "materials": list(self.materials or MATERIALS),
            "floors": list(self.floors or FLOORS),
            "never": list(self.never),
        }
