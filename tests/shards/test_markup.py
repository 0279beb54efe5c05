"""Words from data stay words: rendered by somebody else's Markdown, they come out as the letters that went in."""

from __future__ import annotations

from html.parser import HTMLParser

import jinja2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from shards.markup import Raw, environment, escaped, fenced, one_line
from tests.datasets_by_hand import HOSTILE

MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
SIGNS = st.text(alphabet=st.sampled_from("<>&`*_[]()!#|~-+=1.\\:$@{}\"' \n\taé"), max_size=40)


class Page(HTMLParser):
    """Tags with their attributes, and all text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def names(self) -> list[str]:
        return [tag for tag, _ in self.tags]


@pytest.mark.parametrize(
    ("frame", "tags"),
    [
        ("{}", ["p"]),
        ("# {}", ["h1"]),
        ("- {}", ["ul", "li"]),
        ("above\n{}", ["p"]),
        ("| a | b |\n|---|---|\n| x | {} |", ["table", "thead", "tr", "th", "th", "tbody", "tr", "td", "td"]),
    ],
    ids=["paragraph", "heading", "list", "second line", "cell"],
)
@settings(max_examples=60)
@given(text=SIGNS | st.text(max_size=30) | st.sampled_from(HOSTILE))
def test_text_comes_out_of_markdown_as_it_went_in_and_makes_no_markup(frame, tags, text):
    shown = one_line(text)
    if not shown:
        return
    page = Page(MARKDOWN.render(frame.format(escaped(text))))
    assert page.names == tags
    assert shown in page.text.replace("\ufffd", "\0")


@pytest.mark.parametrize(
    "link", ["https://evil.example", "www.evil.example", "HTTP://evil.example", "javascript:x"]
)
def test_bare_links_are_none_to_renderers_that_make_links_of_them(link):
    # Such renderers look for these letters in the source, before entities are read.
    source = escaped(f"see {link}").lower()
    assert "://" not in source and "www." not in source and "javascript:" not in source


def test_signs_that_turn_or_hide_text_are_left_out():
    assert one_line("a\u202eb\u200bc\r\n\x07d") == "a b c d"


@given(text=SIGNS | st.sampled_from(HOSTILE))
def test_nothing_ends_a_fenced_block(text):
    page = Page(MARKDOWN.render(f"{fenced(text, 'yaml')}\n\nafter"))
    assert page.names == ["pre", "code", "p"]
    assert page.text.endswith("after\n")


def test_templates_escape_what_is_not_marked_as_markdown():
    template = environment(jinja2.DictLoader({"t": "{{ a }} {{ b }} {{ c }} {{ a | upper }}"})).get_template(
        "t"
    )
    assert template.render(a="*x*", b=Raw("*y*"), c=7) == "&#42;x&#42; *y* 7 &#42;X&#42;"
    with pytest.raises(jinja2.UndefinedError):
        template.render(a="")
