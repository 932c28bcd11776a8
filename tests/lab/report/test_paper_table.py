"""The table of several leaderboards, as papers print it."""

from typing import Any

from mtnat.config import build
from mtnat.lab.report.latex import table_latex
from mtnat.lab.report.markdown import table_markdown
from mtnat.lab.results.leaderboard import Leaderboard
from mtnat.lab.results.paper_table import Table, make_table
from mtnat.lab.results.rows import Row
from mtnat.lab.study.record import Study

STUDY = build(
    Study,
    {
        "question": "Does 50 % λ help?",
        "experiment": {"data": {"corpus": "grammar-en-de"}, "training": {"steps": 20, "warmup_steps": 5}},
        "columns": {"en-de": {}, "de-en": {"data.corpus": "grammar-de-en"}},
        "baselines": {"plain": {"objective.schedule": {"kind": "constant", "value": 1.0}}, "half_λ": {}},
        "published": {"source": "Somebody 2020, Table 1", "bleu": {"half_λ": {"en-de": 27.98}}},
        "confirm": {"top": 0, "seeds": [1, 2], "against": "plain"},
    },
)


def row(name: str, scores: tuple[float, ...], **more: Any) -> Row:
    settings = {"kind": "baseline", "settings": {}, "confirmed": True, "seeds": (1, 2), "interval": None, "valid": 20.0}
    rest = {"against": None, "signature": "sacre", "failed": None, "tokenized_signature": "moses"}
    return Row(name=name, scores=scores, mean=sum(scores) / len(scores), **{**settings, **rest, **more})


def board(*rows: Row) -> Leaderboard:
    return Leaderboard(
        study="t",
        question="?",
        answer="Perhaps.",
        metric="valid.bleu",
        test_set="text",
        signature="sacre",
        winner=None,
        best_seed=None,
        rows=rows,
        notes=("Taught.",),
        seconds=1.0,
    )


def table() -> Table:
    compared = {"against": "plain", "difference": 2.0, "p_value": 0.002, "p_value_adjusted": 0.004}
    better = row("half_λ", (30.0, 31.0), mark="⇑", tokenized=(29.0, 29.5), **compared)
    return make_table(
        "t",
        STUDY,
        {
            "en-de": board(better, row("plain", (28.0, 29.0), tokenized=(27.0, 27.0))),
            "de-en": board(row("plain", (11.0, 12.0))),
        },
    )


def test_table_rows_follow_the_study_file_and_include_published_figures() -> None:
    made = table()
    assert [each.name for each in made.rows] == ["plain", "half_λ"]
    cell = made.rows[1].cells["en-de"]
    assert (cell.bleu, cell.mark, cell.tokenized, cell.published, cell.seeds) == (30.5, "⇑", 29.25, 27.98, 2)
    assert made.rows[1].cells["de-en"].bleu is None  # it failed there


def test_the_markdown_table_shows_sacrebleu_and_tokenized_bleu_in_separate_columns() -> None:
    lines = table_markdown(table()).split("\n")
    assert "| half_λ | 30.50⇑ | 29.25 | – | – |" in lines
    assert "| plain | 28.50 | 27.00 | 11.50 | – |" in lines
    assert "sacreBLEU (en-de, de-en): sacre." in lines
    assert "Tokenized BLEU (en-de, de-en): moses." in lines
    assert {"- en-de: Perhaps.", "en-de: Taught.", "de-en: Taught."} <= set(lines)


def test_published_figures_are_shown_apart_from_the_studys_own() -> None:
    _, published = table_markdown(table()).split("## Published figures\n")
    assert "Published elsewhere: Somebody 2020, Table 1. Other text and other training: not comparable with ours." in published
    assert [line for line in published.split("\n") if line.startswith("|")] == [
        "|  | en-de | de-en |",
        "|---|---:|---:|",
        "| half_λ | 27.98 | – |",
    ]


def test_the_latex_table_escapes_special_characters() -> None:
    text = table_latex(table())
    assert r"half\_$\lambda$ & 30.50$^{\Uparrow}$ & 29.25 & -- & -- \\" in text
    assert text.endswith(
        "\\begin{table}\n\\centering\n\\begin{tabular}{lrr}\n\\toprule\n"
        " & \\multicolumn{1}{c}{en-de} & \\multicolumn{1}{c}{de-en} \\\\\n"
        "\\midrule\nhalf\\_$\\lambda$ & 27.98 & -- \\\\\n\\bottomrule\n\\end{tabular}\n"
        "\\caption{Published elsewhere: Somebody 2020, Table 1. Other text and other training: not comparable with ours.}\n"
        "\\end{table}\n"
    )
    assert r"Does 50 \% $\lambda$ help?" in text
    assert r"$^{\uparrow}$ better at p $<$ 0.05" in text
    assert r"\multicolumn{2}{c}{en-de} & \multicolumn{2}{c}{de-en}" in text
    assert r"\cmidrule(lr){2-3} \cmidrule(lr){4-5}" in text
    for mark in "↑⇑↓⇓λ":
        assert mark not in text
