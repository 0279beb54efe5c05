"""The card: what the Hub and people read of a dataset. Data cannot put markup into it, and it says what is so."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import yaml
from datasets import load_dataset
from huggingface_hub import DatasetCard

from shards.card import CardText, Example, Extras, front_matter, render_card, whole_licence
from shards.columns import MEANINGS, columns
from shards.dataset import Dataset, Manifest
from shards.markup import one_line
from shards.schema import INDEX, PUBLISHED
from shards.statistics import Figures, count
from shards.storage import open_storage
from tests.datasets_by_hand import HOSTILE, MODELS, lay
from tests.pages import blocks, table
from tests.pages import section as section_of
from tests.shards.test_markup import MARKDOWN, Page

ABOUT = CardText(
    title=f"Demo {HOSTILE[0]}",
    summary=f"Hm. {HOSTILE[2]} {HOSTILE[3]}",
    licence="CC0-1.0 AND CC-BY-4.0",
    homepage="https://example.org/demo",
    authors=("A. B.", HOSTILE[5]),
    date="2026-11-26",
    held_out=("blue mug", HOSTILE[1]),
    limits=(HOSTILE[4],),
)
EXTRAS = Extras(
    assets=("assets/kinds.png", "assets/samples.jpg"),
    examples=[Example("move", "en", HOSTILE[number]) for number in range(6)]
    + [Example(f"kind {number}", "vi", text) for number, text in enumerate(HOSTILE)],
    balance={"kinds": 0.5},
    meanings={"collision": f"two things {HOSTILE[1]}"},
)
TAGS = {
    "h1", "h2", "h3", "p", "a", "img", "strong", "code", "pre", "ul", "li", "table", "thead", "tbody", "tr", "th",
    "td",
}  # fmt: skip


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    return lay(open_storage(str(tmp_path_factory.mktemp("card") / "demo")))


@pytest.fixture(scope="module")
def figures(dataset) -> Figures:
    return count(dataset)


@pytest.fixture(scope="module")
def card(dataset, figures) -> str:
    return render_card(dataset.manifest, figures, ABOUT, EXTRAS)


def parts(card: str) -> tuple[dict, str]:
    """Front matter and body, parted as the Hub parts them."""
    found = re.match(r"^(\s*---[\r\n]+)([\S\s]*?)([\r\n]+---(\r\n|\n|$))", card)
    assert found is not None
    return yaml.safe_load(found[2]), card[found.end() :]


def test_no_word_of_the_data_becomes_markup(card):
    page = Page(MARKDOWN.render(parts(card)[1]))
    assert set(page.names) <= TAGS
    for tag, attributes in page.tags:
        if tag == "img":
            assert re.fullmatch(r"assets/[a-z]+\.(png|jpg)", attributes["src"])
        elif tag == "a":
            assert attributes == {"href": "https://example.org/demo"}
        elif tag == "code":
            assert attributes.get("class") in (None, "language-python", "language-yaml", "language-bibtex")
        else:
            assert set(attributes) <= {"style"} and attributes.get("style") in (None, "text-align:right")
    assert page.names.count("a") == 1
    for text in HOSTILE:
        assert one_line(text) in page.text


def test_tables_have_the_cells_that_their_heads_have(card):
    tables = re.findall(r"(?:^\|.*\n)+", parts(card)[1], re.MULTILINE)
    assert len(tables) >= 9
    for text in tables:
        widths = {len(re.split(r"(?<!\\)\|", line.strip())) for line in text.splitlines()}
        assert len(widths) == 1, text


def test_front_matter_says_what_is_there_and_no_more(card, dataset, figures):
    matter, _ = parts(card)
    assert matter == front_matter(dataset.manifest, figures, ABOUT)
    assert matter["license"] == ["cc0-1.0", "cc-by-4.0"]
    assert matter["language"] == ["en", "vi"]
    assert matter["task_categories"] == ["image-to-image"]
    assert matter["size_categories"] == ["n<1K"]
    assert matter["pretty_name"] == one_line(ABOUT.title)
    assert [config["config_name"] for config in matter["configs"]] == ["default", "blender", "p2p"]
    assert matter["configs"][2]["data_files"] == [
        {"split": "train", "path": "data/p2p/train-*.parquet"},
        {"split": "validation", "path": "data/p2p/validation-*.parquet"},
    ]


def test_the_hubs_own_reader_takes_the_card(card):
    found = DatasetCard(card)
    assert found.data.to_dict()["size_categories"] == ["n<1K"]
    assert found.data.license == ["cc0-1.0", "cc-by-4.0"]


@pytest.mark.parametrize(
    "title", ["a\n---\nlicense: mit", "--- x", "a: b", "'\"", "{x}", "- a", "# a", "!!python/x"]
)
def test_no_title_breaks_the_front_matter(title, dataset, figures):
    matter, body = parts(render_card(dataset.manifest, figures, replace(ABOUT, title=title)))
    assert matter["pretty_name"] == one_line(title)
    assert matter["license"] == ["cc0-1.0", "cc-by-4.0"]
    page = Page(MARKDOWN.render(body))
    assert page.text.splitlines()[0] == one_line(title)
    assert page.names[0] == "h1"


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("Apache-2.0", {"license": "apache-2.0"}),
        ("ODC-By-1.0", {"license": "odc-by"}),
        ("CC0-1.0 OR MIT", {"license": "other", "license_name": "cc0-1.0-or-mit"}),
        ("my own: terms", {"license": "other", "license_name": "my-own-terms"}),
        (HOSTILE[3], {"license": "other", "license_name": "yaml-breaks-license-mit"}),
    ],
)
def test_licences_are_named_as_the_hub_names_them(licence, expected, dataset, figures):
    matter = front_matter(dataset.manifest, figures, replace(ABOUT, licence=licence))
    assert {name: value for name, value in matter.items() if name.startswith("license")} == expected


def test_licence_of_the_whole_is_all_that_pairs_carry(figures):
    plain = replace(figures, licences={"CC0-1.0": 5, "CC0-1.0 AND CC-BY-4.0": 2, "MIT": 1})
    assert whole_licence(plain) == "CC-BY-4.0 AND CC0-1.0 AND MIT"
    assert whole_licence(replace(figures, licences={})) == ""


def test_datasets_loads_splits_and_sources_by_the_card(card, dataset, tmp_path):
    dataset.storage.write("README.md", card.encode())
    folder = dataset.storage.uri
    whole = load_dataset(folder, cache_dir=str(tmp_path))
    assert {split: len(some) for split, some in whole.items()} == {"train": 12, "validation": 3, "test": 2}
    assert whole["train"][0]["original_image"].size == (48, 32)
    words = load_dataset(folder, "p2p", cache_dir=str(tmp_path))
    assert {split: len(some) for split, some in words.items()} == {"train": 4, "validation": 1}


def test_figures_on_the_card_are_those_of_the_data(card, dataset):
    _, body = parts(card)
    sources = table(section_of(body, "What is in it"))
    assert [line[2:] for line in sources] == [["8", "2", "2"], ["4", "1", "0"], ["12", "3", "2"]]
    kinds = {line[0]: line[1:] for line in table(section_of(body, "Kinds of edit"))}
    assert {kind: int(line[0]) for kind, line in kinds.items()} == {
        "move": 5,
        "add": 4,
        "place": 4,
        "recolor": 4,
    }
    assert all(int(pairs) == int(english) + int(vietnamese) for pairs, english, vietnamese in kinds.values())
    survived = table(section_of(body, "What survived"))
    assert [line[1].strip("*") for line in survived] == ["40", "−6", "−4", "30", "−7", "−3", "20", "−3", "17"]
    assert "a &#124; b" in survived[1][0] and survived[-1][2] == "**42.5%**"
    licences = section_of(body, "Licences and attributions")
    assert "| CC0-1.0 AND CC-BY-4.0 | 12 |" in licences and "| CC-BY-4.0 | 12 |" in licences
    made = section_of(body, "How it was made")
    assert all(name in made for name in MODELS) and dataset.manifest.parents[0] in made
    assert "centre_error: 0.01" in made
    assert "blue mug" in section_of(body, "Splits")


def test_columns_of_the_card_are_those_of_the_schema(card):
    _, body = parts(card)
    listed = re.findall(r"^\| `(\w+)` \| ([a-z0-9 ]+) \|", section_of(body, "Columns"), re.MULTILINE)
    extra = [("file", "string"), ("row_group", "int32"), ("row", "int32")]
    assert listed == [(column.name, column.type) for column in columns()] + extra
    assert [column.name for column in columns()] == PUBLISHED.names
    assert MEANINGS.keys() == set(PUBLISHED.names) | set(INDEX.names)


def test_snippets_of_the_card_run_and_find_a_changed_file(card, tmp_path, monkeypatch, capsys):
    loading, verifying = blocks(parts(card)[1], "python")
    laid = lay(open_storage(str(tmp_path / "demo")), extras={"README.md": card.encode()})
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    exec(loading.replace("path/to/this/folder", laid.storage.uri), {})
    assert capsys.readouterr().out.startswith("(48, 32)")
    exec(verifying.replace("path/to/this/folder", laid.storage.uri), {})
    laid.storage.write("index/test.parquet", b"other")
    with pytest.raises(AssertionError, match=r"index/test\.parquet"):
        exec(verifying.replace("path/to/this/folder", laid.storage.uri), {})


def test_the_configuration_is_shown_as_yaml_that_reads_back(dataset, figures):
    config = {"kinds": ("move", "add"), "note": HOSTILE[4], "n": {"share": 0.5, "none": None}}
    text = render_card(replace(dataset.manifest, config=config), figures, ABOUT)
    (block,) = re.findall(r"^`{4,}yaml\n(.*?)^`{4,}$", text, re.MULTILINE | re.DOTALL)
    shown = yaml.safe_load(block)
    assert shown["kinds"] == ["move", "add"] and shown["n"] == config["n"]
    assert shown["note"] == "``` # a heading ![](https://…"  # on one line, and without the address


def test_pictures_are_shown_only_where_they_are(card, dataset, figures):
    assert card.count("](assets/") == 2
    assert "](assets/" not in render_card(dataset.manifest, figures, ABOUT)


def test_citation_is_bibtex_that_closes(card):
    (entry,) = blocks(parts(card)[1], "bibtex")
    assert entry.startswith("@misc{demo-1.0.0,\n") and entry.count("{") == entry.count("}")
    assert "year = {2026}" in entry


def test_an_empty_dataset_has_a_card(tmp_path):
    nothing = Figures((), {}, {}, {}, {}, {}, {}, {}, {}, {}, 0, {}, {}, (), 0)
    text = render_card(Manifest("empty", "0.1.0", (), {}), nothing, CardText("Nothing"))
    matter, body = parts(text)
    assert matter["license"] == "other" and matter["configs"][0]["data_files"] == []
    assert "It holds no pairs" in body


@pytest.mark.parametrize(
    "wrong", [{"homepage": "javascript:alert(1)"}, {"homepage": "https://a b"}, {"date": "today"}]
)
def test_places_and_dates_that_are_none_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        CardText("x", **wrong)
