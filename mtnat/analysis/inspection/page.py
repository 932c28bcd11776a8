"""An inspection as one HTML page that needs no other file."""

import json
import math
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from itertools import chain
from string import Template

from mtnat.analysis.inspection.records import AttentionMaps, InspectedPass, InspectedPosition, Inspection, Part, Piece, Verdict

_ROOM = files("mtnat.analysis.inspection")


def page_of(found: Inspection, model: str) -> str:
    """Returns the page.

    Args:
        model: the name of the model.
    """
    is_split = len(found.parts) > 1
    sections = (_part(number, part, found, is_split) for number, part in enumerate(found.parts))
    return Template(_text("page.html")).substitute(
        title=escape(f"Inspection: {found.sentence}"),
        style=_text("page.css").rstrip(),
        script=_text("page.js").rstrip(),
        body="\n".join([*_head(found, model), *chain.from_iterable(sections)]),
        attention=_json([[_drawn(each) for each in part.attention if each.weights_LHTS is not None] for part in found.parts]),
    )


def percent(log_probability: float | None) -> str:
    """Returns a probability for people; a dash if there is none."""
    if log_probability is None:
        return "–"
    share = 100 * math.exp(log_probability)
    return "< 0.1 %" if share < 0.1 else f"{share:.1f} %"


def _text(name: str) -> str:
    return _ROOM.joinpath(name).read_text(encoding="utf-8")


def _json(value: object) -> str:
    """Returns JSON that may stand in a script element, which `</script>` or `<!--` in a piece would end or change."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _drawn(maps: AttentionMaps) -> dict[str, object]:
    assert maps.weights_LHTS is not None
    return {
        "name": maps.name,
        "rows": maps.row_names,
        "columns": maps.column_names,
        "pieces": maps.row_pieces,
        "weights": (1000 * maps.weights_LHTS).round().int().tolist(),
    }


def _head(found: Inspection, model: str) -> Iterable[str]:
    settings = ", ".join(f"{name}: {value}" for name, value in found.decoding.items())
    entries = {
        "sentence": found.sentence,
        "translation": found.translation,
        "model": model,
        "system": found.system,
        "decoder": f"{found.decoder.upper()} ({settings})",
    }
    yield "<h1>Inside a translator</h1>"
    yield "<dl>"
    yield from (f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in entries.items())
    yield "</dl>"
    if len(found.parts) > 1:
        yield f"<p>The sentence has more pieces than the model has positions. It is translated in {len(found.parts)} parts.</p>"
    yield '<p class="note">▁ stands for a space, &lt;/s&gt; for the end, &lt;s&gt; for the beginning.</p>'


def _part(number: int, part: Part, found: Inspection, is_split: bool) -> Iterable[str]:
    level = 3 if is_split else 2
    name = f" of part {number + 1}" if is_split else ""  # names of regions are unique
    if is_split:
        yield f"<h2>Part {number + 1} of {len(found.parts)}</h2>"
    yield f"<h{level}>Source</h{level}>"
    yield _pieces(f"<li>{escape(piece)}</li>" for piece in part.source)
    yield f"<h{level}>Translation</h{level}>"
    yield from _translations(part, found, name)
    yield from _verdicts(part, name)
    if part.passes:
        yield f"<h{level}>Passes</h{level}>"
        yield from _passes(part.passes, name)
    if part.positions:
        yield f"<h{level}>Positions of the decoder</h{level}>"
        yield from _positions(part.positions, name)
    yield f"<h{level}>Attention</h{level}>"
    yield from _attention(number, part.attention, name)


def _pieces(items: Iterable[str]) -> str:
    return f'<ul class="pieces">{"".join(items)}</ul>'


def _table(label: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterable[str]:
    """Yields a table that scrolls within its own box. The cells are HTML."""
    yield f'<div class="box" role="region" tabindex="0" aria-label="{escape(label)}"><table>'
    yield "<thead><tr>" + "".join(f'<th scope="col">{heading}</th>' for heading in headings) + "</tr></thead>"
    yield "<tbody>"
    yield from (f"<tr>{''.join(row)}</tr>" for row in rows)
    yield "</tbody></table></div>"


def _cell(text: str, kind: str = "number") -> str:
    return f'<td class="{kind}">{escape(text)}</td>'


def _share(log_probability: float | None) -> str:
    """Returns a cell with a probability and a bar."""
    width = 0.0 if log_probability is None else 100 * math.exp(log_probability)
    return f'<td class="number share" style="--share: {width:.1f}%">{percent(log_probability)}</td>'


def _translations(part: Part, found: Inspection, name: str) -> Iterable[str]:
    who = "AT decoder, to which the search fell back" if part.fell_back else f"{found.decoder.upper()} decoder"
    headings = ["by", "translation", "score of the search"]
    rows = [[_cell(who, "name"), _cell(part.text, "text"), _cell(f"{part.score:.3f}")]]
    if part.at is not None:
        headings.append("score of the AT decoder")
        rows[0].append(_cell(f"{part.at.score_of_translation:.3f}"))
        if found.decoder != "at":
            beam = [_cell("AT decoder, beam search", "name"), _cell(part.at.text, "text"), _cell("–")]
            rows.append([*beam, _cell(f"{part.at.score:.3f}")])
    yield from _table(f"Translations{name}", headings, rows)


def _verdicts(part: Part, name: str) -> Iterable[str]:
    has_at, has_own = part.at is not None, any(piece.log_probability is not None for piece in part.pieces)
    headings = ["position", "piece"]
    if has_own:
        headings.append("confidence")
    if has_at:
        headings += ["AT decoder", "rank", "first choice of the AT decoder"]

    def row(number: str, text: str, own: float | None, verdict: Verdict | None) -> list[str]:
        cells = [_cell(number), f'<th scope="row">{escape(text)}</th>']
        if has_own:
            cells.append(_share(own))
        if has_at:
            assert verdict is not None
            choice = "the same" if verdict.rank == 1 else f"{verdict.choice} ({percent(verdict.choice_log_probability)})"
            cells += [_share(verdict.log_probability), _cell(str(verdict.rank)), _cell(choice, "name")]
        return cells

    rows = [row(str(number), *_columns(piece)) for number, piece in enumerate(part.pieces, 1)]
    if part.at is not None:
        rows.append(row("", "end", None, part.at.end))
    yield from _table(f"Pieces{name}", headings, rows)
    notes = [f"confidence: {part.confidence}."] if has_own else []
    if has_at:
        notes.append(
            "AT decoder: its probability of the piece given the source and the pieces before it (teacher forcing). Rank 1 is "
            "its first choice."
        )
    if notes:
        yield f'<p class="note">{escape(" ".join(notes))}</p>'


def _columns(piece: Piece) -> tuple[str, float | None, Verdict | None]:
    return piece.text, piece.log_probability, piece.verdict


def _passes(passes: Sequence[InspectedPass], name: str) -> Iterable[str]:
    yield (
        '<p class="note">[piece]: predicted in this pass. *piece*: changed by it. The number below a piece is its probability '
        "in the pass that last predicted it, if the search keeps it. Candidates: number of pieces and score.</p>"
    )
    rows = (
        [
            _cell(str(each.number)),
            _cell(f"{each.score:.3f}"),
            f'<td class="candidates">{_candidates(each)}</td>',
            f"<td>{_pieces(_marked(each))}</td>",
        ]
        for each in passes
    )
    yield from _table(f"Passes{name}", ["pass", "score", "candidates", "pieces"], rows)


def _candidates(each: InspectedPass) -> str:
    return " ".join(f"<span>{length} ({score:.3f})</span>" for length, score in each.candidates)


def _marked(each: InspectedPass) -> Iterable[str]:
    """Yields the pieces of a pass with the marks of ``mtnat translate --trace``."""
    scores = each.log_probabilities or (None,) * len(each.pieces)
    for piece, is_masked, is_changed, score in zip(each.pieces, each.is_masked, each.is_changed, scores, strict=True):
        text = f"*{piece}*" if is_changed else f"[{piece}]" if is_masked else piece
        kind = ' class="changed"' if is_changed else ' class="masked"' if is_masked else ""
        below = "" if score is None else f"<small>{percent(score)}</small>"
        yield f"<li{kind}>{escape(text)}{below}</li>"


def _positions(positions: Sequence[InspectedPosition], name: str) -> Iterable[str]:
    count = sum(each.piece is not None for each in positions)
    yield f"<details><summary>{len(positions)} positions, of which {count} give a piece</summary>"
    rows = (
        [
            _cell(str(number)),
            f'<th scope="row">{escape(each.text)}</th>',
            _share(each.log_probability),
            _cell("–" if each.piece is None else str(each.piece + 1)),
        ]
        for number, each in enumerate(positions, 1)
    )
    yield from _table(f"Positions{name}", ["position", "predicts", "probability", "gives piece"], rows)
    yield "</details>"


def _attention(number: int, attention: Sequence[AttentionMaps], name: str) -> Iterable[str]:
    drawn = [each.name for each in attention if each.weights_LHTS is not None]
    options = "".join(f'<option value="{place}">{escape(each)}</option>' for place, each in enumerate(drawn))
    yield (
        '<p class="note">A row shows how a position distributes its attention, in percent; · is less than half a percent. The '
        "strongest weight of a row is bold in a frame, and colours grow with the square root of a weight. Attention shows what "
        "a layer reads, which need not be why it predicts a piece (Jain and Wallace 2019).</p>"
    )
    yield "<noscript><p>The maps are drawn by JavaScript, which is switched off.</p></noscript>"
    yield f'<div data-attention="{number}"><div class="controls" hidden>'
    yield f"<label>Attention{name} <select data-kind>{options}</select></label>"
    yield "<label>Layer <select data-layer></select></label>"
    yield "<label>Head <select data-head></select></label>"
    yield '<label class="tick" hidden><input type="checkbox" data-only checked> Only positions that give a piece</label>'
    yield "</div>"
    yield f'<div class="box" data-map role="region" tabindex="0" aria-label="Attention map{name}" aria-live="polite"></div>'
    yield "</div>"
    for each in attention:
        if each.weights_LHTS is None:
            size = f"{len(each.row_names):,} × {len(each.column_names):,} positions"
            yield f'<p class="note">Left out because of its size, {size}: {escape(each.name)}.</p>'
