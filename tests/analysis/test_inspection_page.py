"""The page of an inspection needs no other file, and shows text as text."""

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from inspected import SENTENCE, SETTINGS, model_of

from mtnat.analysis.inspection import inspect_sentence, page_of, percent

EVIL = "the </script><script>alert(1)</script><b onclick='x'>dog</b> & <!-- $body ${style} cat."
VOID = {"meta", "input"}
NEEDS_OTHERS = re.compile(r"https?:|//|\bsrc=|<link|@import|url\(|<img|<iframe|fetch\(|XMLHttp", re.IGNORECASE)


class Reader(HTMLParser):
    """Reads a page: its tags, which must be nested, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            self.scripts.append(data)
        elif self.open[-1:] != ["style"]:
            self.text += f"{data}\n"


def read(page: str) -> Reader:
    reader = Reader(page)
    assert reader.open == []
    return reader


@pytest.mark.parametrize("name", SETTINGS)
def test_a_page_holds_every_figure_and_needs_no_other_file(name: str) -> None:
    found = inspect_sentence(model_of(name), SENTENCE)
    page = page_of(found, "outputs/mine/best")
    without_comments = re.sub(r"^ *// .*$", "", page, flags=re.MULTILINE)
    assert NEEDS_OTHERS.findall(without_comments) == []
    reader, [part] = read(page), found.parts
    assert ("html", {"lang": "en"}) in reader.tags
    lines = reader.text.split("\n")
    for text in ("outputs/mine/best", found.system, SENTENCE, found.translation, *part.source):
        assert text in lines
    for piece in part.pieces:
        assert piece.text in lines
        if piece.log_probability is not None:  # a translation of the AT decoder has its verdict only
            assert percent(piece.log_probability) in lines
        if piece.verdict:
            assert percent(piece.verdict.log_probability) in lines
        if piece.verdict:
            assert percent(piece.verdict.log_probability) in lines
            assert str(piece.verdict.rank) in lines
    for passed in part.passes:
        assert f"{passed.score:.3f}" in lines
    data, code = reader.scripts
    [maps] = json.loads(data)
    assert [each["name"] for each in maps] == [each.name for each in part.attention]
    for drawn, each in zip(maps, part.attention, strict=True):
        assert each.weights_LHTS is not None
        torch.testing.assert_close(torch.tensor(drawn["weights"]) / 1000, each.weights_LHTS, atol=6e-4, rtol=0)
        assert (drawn["rows"], drawn["columns"]) == (list(each.row_names), list(each.column_names))
    assert "innerHTML" not in code


def test_text_cannot_become_markup_or_code() -> None:
    found = inspect_sentence(model_of("mask-predict"), EVIL)
    # The vocabulary splits markup into small pieces; a vocabulary with larger ones could keep it whole.
    [part] = found.parts
    evil = replace(part, source=("</script>", "<!--"), text="<i>", confidence="<i>")
    maps = replace(part.attention[0], row_names=("<!-- <script>", *part.attention[0].row_names[1:]), name="</script><i>")
    page = page_of(replace(found, parts=(replace(evil, attention=(maps,)),), translation="<i>"), "<i>outputs</i>")
    reader = read(page)
    assert {"b", "i"} & {tag for tag, _ in reader.tags} == set()
    assert [attributes.get("type") for tag, attributes in reader.tags if tag == "script"] == ["application/json", None]
    assert all(not name.startswith("on") for _, attributes in reader.tags for name in attributes)
    assert EVIL in reader.text
    assert json.loads(reader.scripts[0])[0][0]["rows"][0] == "<!-- <script>"
    assert json.loads(reader.scripts[0])[0][0]["name"] == "</script><i>"


def test_every_control_has_a_label_and_every_wide_table_a_box_of_its_own() -> None:
    page = page_of(inspect_sentence(model_of("ctc"), " ".join([SENTENCE] * 9)), "model")
    reader = read(page)
    controls = sum(tag in {"select", "input"} for tag, _ in reader.tags)
    assert controls == 4 * page.count("data-attention=")
    assert sum(tag == "label" for tag, _ in reader.tags) == controls
    regions = [attributes["aria-label"] for _, attributes in reader.tags if attributes.get("role") == "region"]
    assert len(regions) == len(set(regions)) == page.count('class="box"')
    assert page.count("<table>") == page.count('tabindex="0" aria-label') - page.count("data-map")
    assert [text for text in reader.text.split("\n") if text.startswith("Part ")] == [
        f"Part {number} of {page.count('<h2>')}" for number in range(1, page.count("<h2>") + 1)
    ]


def test_a_map_that_is_too_large_is_left_out_and_named() -> None:
    found = inspect_sentence(model_of("mask-predict"), SENTENCE)
    [part] = found.parts
    first, *others = part.attention
    large = replace(first, name="NAT decoder: self-attention", weights_LHTS=None)
    page = page_of(replace(found, parts=(replace(part, attention=(large, *others)),)), "model")
    reader = read(page)
    size = f"{len(first.row_names)} × {len(first.column_names)} positions"
    assert f"Left out because of its size, {size}: NAT decoder: self-attention." in reader.text
    assert [each["name"] for each in json.loads(reader.scripts[0])[0]] == [each.name for each in others]


def test_probabilities_are_shown_in_percent() -> None:
    shown = [percent(value) for value in (0.0, math.log(0.5), math.log(0.0012), math.log(0.0004), None)]
    assert shown == ["100.0 %", "50.0 %", "0.1 %", "< 0.1 %", "–"]


def test_the_template_lies_beside_the_module() -> None:
    folder = Path(__file__).parents[2] / "mtnat" / "analysis" / "inspection"
    assert {file.name for file in folder.glob("page.*")} == {"page.py", "page.html", "page.css", "page.js"}
