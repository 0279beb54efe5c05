"""Readers of pictures for tests."""

from __future__ import annotations

from evaluation.trials import cases
from filters.reader import Sighting


class Sees:
    """A reader of the pictures that `tests.datasets.pair` draws: it knows each by its pixels, and sees nothing
    in others. side: pixels that pictures are scaled to."""

    def __init__(
        self, dataset, blind: tuple[str, ...] = (), split: str = "test", side: int | None = None
    ) -> None:
        self.known = {}
        for case in cases(dataset, split, side=side):
            part = 1.0 if side is None else side / case.row["width"]
            for picture, when in ((case.before, "objects_before"), (case.truth, "objects_after")):
                things = case.row[when] if case.row["pair_id"] not in blind else []
                self.known[picture.tobytes()] = tuple(self.sighting(thing, part) for thing in things)

    @staticmethod
    def sighting(thing, part: float = 1.0) -> Sighting:
        box = tuple(part * at for at in thing["box"])
        middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        return Sighting(thing["name"], thing["color"] or "", "", box, middle, None, 1.0, 1.0, 1.0, 1.0, None)

    def read(self, images):
        return [self.known.get(image.tobytes(), ()) for image in images]
