"""Photos of one's own: every form of mask, and a wrong line is named with its key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from generators.photo_open import open_photos
from generators.photo_sources import PhotoError
from tests.generators.photo_sets import (
    encoded,
    objects,
    reason,
    rectangle,
    write_manual,
)


def test_lines_of_ones_own_with_every_form_of_a_mask(tmp_path):
    annotations, images = write_manual(tmp_path)
    source = open_photos("manual", annotations=annotations, images=images)
    assert [source.entry(index).id for index in range(2)] == ["a.jpg", "b"]
    entry = source.entry(1)
    assert entry.license == "CC-BY-4.0" and entry.attribution.author == "Ana" and len(entry.captions) == 2
    found = objects(source, 1)
    assert list(found) == ["cup-1", "object-1", "cat", "object-3", "object-4"]
    assert found["cup-1"].color == "red" and found["cup-1"].box == (2, 3, 10, 12)
    assert (
        np.array_equal(found["object-1"].mask, rectangle(20, 5, 24, 25))
        and found["object-1"].occluded is True
    )
    assert np.array_equal(found["cat"].mask, rectangle(0, 10, 12, 30)) and found["cat"].truncated is True
    assert found["object-3"].mask is None and found["object-3"].box == (1, 2, 30.5, 29)
    assert (
        found["object-4"].mask[4, 33]
        and found["object-4"].mask[21, 33]
        and not found["object-4"].mask[15, 33]
    )


def one_thing(**fields: Any) -> str:
    return json.dumps({"file": "a.jpg", "objects": [{"name": "cat"} | fields]})


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "photos.jsonl:3: Invalid JSON"),
        ("[1]", ":3: "),
        ('{"id": "x"}', ":3: file: Field required"),
        ('{"file": "a.jpg", "caption": "one"}', ":3: caption: is no key of it"),
        (one_thing(), ":3: objects.0: .*has neither polygon"),
        (one_thing(box=[1, 1, 5, 5], polygn=[]), ":3: objects.0.polygn: is no key of it"),
        (one_thing(box=[5, 1, 1, 5]), "left, top, right, bottom"),
        (one_thing(polygon=[[1, 1], [2, 2]]), "objects.0.polygon: .*at least 3"),
        (one_thing(mask="a.png", polygon=[[1, 1], [2, 2], [1, 2]]), "has polygon and mask"),
        ('{"file": "a.jpg", "width": 40}', "width and height go together"),
        ('{"file": "a.jpg"}\n{"file": "a.jpg"}', "'a.jpg' comes twice"),
    ],
)
def test_a_wrong_line_is_named_with_its_key(line, said, tmp_path):
    annotations, images = write_manual(tmp_path)
    Path(annotations).write_text(f'{{"file": "b/cup.png"}}\n\n{line}\n')
    with pytest.raises(PhotoError, match=said) as caught:
        open_photos("manual", annotations=annotations, images=images)
    assert caught.value.reason == "annotations_broken"


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (encoded(rectangle(0, 0, 9, 9, 80, 60)), "mask_too_large"),
        (encoded(rectangle(0, 0, 9, 9, 20, 15)), "mask_wrong_size"),
        (b"no picture", "mask_broken"),
        (None, "mask_missing"),
    ],
)
def test_a_mask_file_must_be_one_of_the_pictures_size(mask, expected, tmp_path):
    annotations, images = write_manual(tmp_path)
    path = tmp_path / "masks" / "cat.png"
    path.unlink()
    if mask is not None:
        path.write_bytes(mask)
    assert reason(objects, open_photos("manual", annotations=annotations, images=images), 1) == expected
