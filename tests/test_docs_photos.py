"""The page on annotated photos: its keys and reasons are those of the code, its example is read."""

from __future__ import annotations

import json
import re

import pytest

from generators.photo_manual import Line, Thing
from generators.photo_nouns import photo_noun
from generators.photo_open import open_photos
from tests.generators.photo_sets import zipped
from tests.pages import PAGES, ROOT, blocks, names, section, table

PAGE = PAGES["docs/photos-format.md"]


def keys(text: str) -> set[str]:
    return {name for row in table(text) for name in names(row[0])}


def test_keys_of_lines_are_those_that_are_read():
    photos, things = section(PAGE, "Lines of your own").split("Of a thing,")
    assert keys(photos) == set(Line.model_fields)
    assert keys(things) == set(Thing.model_fields)


def test_the_example_is_a_line(tmp_path):
    (block,) = blocks(PAGE, "json")
    (tmp_path / "photos.jsonl").write_text(json.dumps(json.loads(block)))
    archive = str(zipped(tmp_path, tmp_path / "set.zip"))
    (entry,) = [open_photos("manual", annotations=archive, images=archive).entry(0)]
    assert entry.names == ("bowl", "cup", "plate", "spoon") and entry.license == "CC-BY-4.0"
    assert all(photo_noun(name, "manual") for name in entry.names)


READERS = ("open", "sources", "files", "decode", "shapes", "licences", "coco", "open_images", "manual")
REASON = r'"((?:images?|mask|box|annotations?|licence|photo|size|orientation|bad)_[a-z_]+|rotated)"'


def test_reasons_are_those_that_the_readers_give():
    sources = [(ROOT / "generators" / f"photo_{name}.py").read_text(encoding="utf-8") for name in READERS]
    given = {reason for source in sources for reason in re.findall(REASON, source)} - {"image_id"}
    assert given == keys(section(PAGE, "Reasons"))


@pytest.mark.parametrize("kind", ["coco", "open_images", "manual"])
def test_every_kind_has_its_row(kind):
    assert [kind] in [names(row[0]) for row in table(PAGE)]
