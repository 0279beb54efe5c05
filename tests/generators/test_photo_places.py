"""Pictures come alike from folders, zips, packages and S3; only those under allowed licences do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.fs as fs
import pytest

from generators.photo_licences import ADAPTABLE, is_allowed, licence_name
from generators.photo_open import open_photos
from tests.generators.photo_sets import (
    encoded,
    everything,
    manual_lines,
    objects,
    picture,
    reason,
    with_annotation,
    write_coco,
    write_manual,
    write_open_images,
    zipped,
)
from tests.s3_server import S3Server


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], str]:
    return write_coco(tmp_path_factory.mktemp("coco"))


@pytest.fixture(scope="module")
def open_images(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], str, str]:
    return write_open_images(tmp_path_factory.mktemp("open_images"))


def test_zips_give_what_folders_give(coco, open_images, tmp_path):
    annotations, images = coco
    whole = list(everything(open_photos("coco", annotations=annotations, images=images)))
    for name, root in (("flat.zip", ""), ("rooted.zip", "val2017/")):
        archive = str(zipped(Path(images), tmp_path / name, root))
        assert list(everything(open_photos("coco", annotations=annotations, images=archive))) == whole
    annotations, images, masks = open_images
    whole = list(everything(open_photos("open_images", annotations=annotations, images=images, masks=masks)))
    parts = [
        str(tmp_path / f"masks-{digit}.zip") for digit in "ab"
    ]  # Open Images' masks lie in sixteen of them
    for part, name in zip(parts, ("0001*", "000a*")):
        folder = Path(part).with_suffix("")
        folder.mkdir()
        for path in Path(masks).glob(name):
            (folder / path.name).write_bytes(path.read_bytes())
        zipped(folder, Path(part))
    archive = str(zipped(Path(images), tmp_path / "oi.zip"))
    again = open_photos("open_images", annotations=annotations, images=archive, masks=parts)
    assert list(everything(again)) == whole


def test_a_zip_with_its_lines_in_it_is_a_whole_set(tmp_path):
    annotations, images = write_manual(tmp_path / "set")
    whole = list(everything(open_photos("manual", annotations=annotations, images=images)))
    archive = str(zipped(tmp_path / "set", tmp_path / "set.zip", "my photos/"))
    assert list(everything(open_photos("manual", annotations=archive, images=archive))) == whole
    assert list(everything(open_photos("manual", annotations=images, images=images))) == whole


def test_s3_gives_what_folders_give(coco, tmp_path, s3: S3Server):
    annotations, images = coco
    archive = str(zipped(Path(images), tmp_path / "val2017.zip"))
    fs.copy_files(str(Path(images).parent), s3.uri("photos/coco"))
    fs.copy_files(archive, s3.uri("photos/val2017.zip"))
    there = [s3.uri(f"photos/coco/{Path(uri).name}") for uri in annotations]
    here = open_photos("coco", annotations=annotations, images=images)
    for place in (s3.uri("photos/coco/images"), s3.uri("photos/val2017.zip")):
        source = open_photos("coco", annotations=there, images=place)
        assert list(everything(source)) == list(everything(here))
        missing = source.entry(0)
        assert reason(type(source).read, source, _renamed(missing, "none.jpg")) == "image_missing"
    assert (
        open_photos("coco", annotations=there, images=s3.uri("photos/coco/images")).identity == here.identity
    )


def _renamed(entry: Any, file: str) -> Any:
    return type(entry)(**{name: getattr(entry, name) for name in entry.__slots__} | {"file": file})


def test_the_identity_is_that_of_the_content_not_of_the_place(coco, tmp_path):
    annotations, images = coco
    first = open_photos("coco", annotations=annotations, images=images)
    again, moved = write_coco(tmp_path / "moved")
    assert open_photos("coco", annotations=again, images=moved).identity == first.identity
    assert open_photos("coco", annotations=again, images=moved, licences=["CC-BY"]).identity != first.identity
    Path(moved, "000030.jpg").write_bytes(encoded(picture(9), "PNG"))
    assert open_photos("coco", annotations=again, images=moved).identity != first.identity


def test_a_missing_picture_is_a_missing_picture(coco, tmp_path):
    annotations, _ = coco
    (tmp_path / "empty").mkdir()
    source = open_photos("coco", annotations=annotations, images=str(tmp_path / "empty"))
    assert len(source) == 3
    assert reason(source.read, source.entry(0)) == "image_missing"


@pytest.mark.parametrize(
    "name", ["../secret.png", "/etc/hostname", "a/../../secret.png", "..\\secret.png", "a\0b"]
)
def test_no_name_leads_out_of_the_pictures(name, tmp_path):
    source = with_annotation(tmp_path / "set", {"file_name": name})
    (tmp_path / "set" / "secret.png").write_bytes(encoded(picture()))
    assert reason(source.read, source.entry(0)) == "bad_name"


def test_pictures_of_a_package_are_found_without_importing_it(coco, tmp_path, monkeypatch):
    package = tmp_path / "with_pictures"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    for path in Path(coco[1]).iterdir():
        (package / "data" / path.name).write_bytes(path.read_bytes())
    monkeypatch.syspath_prepend(str(tmp_path))
    source = open_photos("coco", annotations=coco[0], images="package:with_pictures/data")
    assert list(everything(source)) == list(
        everything(open_photos("coco", annotations=coco[0], images=coco[1]))
    )
    for uri in ("package:no_such_package/data", "package:with_pictures/none", "package:with_pictures/../.."):
        assert reason(open_photos, "coco", annotations=coco[0], images=uri) in ("images_missing", "bad_name")


def test_places_and_kinds_that_are_none_are_told(coco, tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK no zip")
    cases = {
        ("coco", coco[0][0], str(tmp_path / "none")): "images_missing",
        ("coco", coco[0][0], str(tmp_path / "a.zip")): "images_missing",
        ("coco", coco[0][0], "nowhere://x"): "images_missing",
        ("coco", str(tmp_path / "none.json"), coco[1]): "annotations_missing",
        ("manual", str(tmp_path / "none.jsonl"), coco[1]): "annotations_missing",
        ("open_images", str(tmp_path / "none.csv"), coco[1]): "annotations_missing",
        ("flickr", coco[0][0], coco[1]): "bad_source",
    }
    for (kind, listed, images), expected in cases.items():
        assert reason(open_photos, kind, annotations=listed, images=images) == expected


def test_a_broken_archive_is_told_where_it_breaks(coco, tmp_path):
    annotations, images = coco
    archive = zipped(Path(images), tmp_path / "a.zip")
    data = bytearray(archive.read_bytes())
    at = data.index(b"000009.jpg") + 40  # within the picture's own bytes
    data[at : at + 20] = bytes(20)
    archive.write_bytes(data)
    source = open_photos("coco", annotations=annotations, images=str(archive))
    assert reason(source.read, source.entry(0)) == "image_broken"
    assert source.read(source.entry(1))


# --- licences ---------------------------------------------------------------------------------------------------


def test_only_allowed_licences_are_kept_and_the_others_are_counted(coco, tmp_path):
    annotations, images = coco
    source = open_photos(
        "coco", annotations=annotations, images=images, licences=["CC-BY", "no known copyright restrictions"]
    )
    assert [source.entry(index).id for index in range(len(source))] == ["12", "30"]
    assert source.skipped == {"annotation_without_photo": 1, "licence_not_allowed": 1}
    assert list(objects(source, 0)) == ["104", "105", "106"]
    lines, folder = write_manual(tmp_path)
    Path(lines).write_text("\n".join(json.dumps(line) for line in [*manual_lines(), {"file": "c.jpg"}]))
    source = open_photos("manual", annotations=lines, images=folder, licences=["CC0-1.0"])
    assert len(source) == 1 and source.skipped == {"licence_not_allowed": 1, "licence_unknown": 1}


@pytest.mark.parametrize(
    ("name", "url", "expected"),
    [
        ("Attribution-NoDerivs License", "http://creativecommons.org/licenses/by-nd/2.0/", "CC-BY-ND-2.0"),
        (None, "https://creativecommons.org/licenses/by-sa/4.0/deed.vi", "CC-BY-SA-4.0"),
        (None, "https://creativecommons.org/publicdomain/zero/1.0/", "CC0-1.0"),
        ("United States Government Work", "http://www.usa.gov/copyright.shtml", "United States Government Work"),
        ("CC-BY-4.0", None, "CC-BY-4.0"),
        ("My own", "https://example.org/terms", "My own"),
        (None, "https://example.org/terms", "https://example.org/terms"),
        (" ", None, None),
    ],
)  # fmt: skip
def test_licences_have_one_name_each(name, url, expected):
    assert licence_name(name, url) == expected


def test_an_allowed_family_does_not_let_in_its_stricter_cousins():
    assert is_allowed("CC-BY-2.0", ["CC-BY"]) and is_allowed("CC-BY-4.0", ["cc-by-4.0"])
    assert not is_allowed("CC-BY-2.0", ["CC-BY-4.0"])
    for stricter in ("CC-BY-NC-2.0", "CC-BY-ND-2.0", "CC-BY-NC-SA-2.0", "CC-BY-NC-ND-2.0", None):
        assert not is_allowed(stricter, ADAPTABLE)
    assert is_allowed("CC0-1.0", ADAPTABLE) and is_allowed("CC-BY-SA-3.0", ADAPTABLE)
