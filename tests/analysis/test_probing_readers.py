"""Reading probing tasks from files."""

import gzip
from collections import Counter
from pathlib import Path

import pytest

from mtnat.analysis.probing.readers import read_files, read_tasks
from mtnat.analysis.probing.tasks import ProbingTask, ready
from mtnat.analysis.probing.trees import parse_tree
from mtnat.errors import DataError

TREE = "(ROOT (S (NP-SBJ (PRP She)) (VP (VBD saw) (NP (DT a) (NN cat)) (-LRB- -LRB-) (ADVP (RB here)) (-RRB- -RRB-)) (. .)))"


def written(path: Path, *lines: str) -> list[Path]:
    text = "".join(f"{line}\n" for line in lines).encode()
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return [path]


def test_the_splits_of_a_senteval_file_are_joined(tmp_path: Path) -> None:
    files = written(tmp_path / "tense.txt", "tr\tPRES\tShe sleeps .", "va\tPAST\tShe slept .", "tr\tPAST\tHe slept .")
    [task] = read_files(files, "tense")
    assert (task.name, task.classes) == ("tense", ("PAST", "PRES"))
    assert dict(zip(task.sentences, task.labels, strict=True)) == {
        "She sleeps .": "PRES",
        "She slept .": "PAST",
        "He slept .": "PAST",
    }


def test_repeated_sentences_are_left_out_and_counted(tmp_path: Path) -> None:
    written(tmp_path / "shift" / "va.txt.gz", "a b\tO", "b a\tI", "a b\tO", "c d\tO", "c d\tI", "c d\tI")
    written(tmp_path / "shift" / "te.txt.gz", "a b\tO", "d c\tI")
    written(tmp_path / "README.txt", "lines\tfile")
    [task] = read_tasks(tmp_path)
    assert (task.name, set(task.sentences)) == ("shift", {"a b", "b a", "d c"})
    assert (task.repeated, task.contradictory) == (2, 1)


def test_a_line_is_ended_by_a_line_feed_only(tmp_path: Path) -> None:
    [task] = read_files(written(tmp_path / "a.txt", "one\u2028two\tO", "three\x85four\tI"), "a")
    assert task.sentences == ("one\u2028two", "three\x85four")


def test_a_tree_has_words_top_constituents_and_a_depth() -> None:
    tree = parse_tree(TREE)
    assert tree.text == "She saw a cat ( here ) ."
    assert (tree.label, tree.children, tree.depth) == ("S", ("NP", "VP", "."), 3)  # S, VP, NP


def test_trees_give_two_tasks(tmp_path: Path) -> None:
    flat = "(ROOT (S (VP (VB Go) (ADVP (RB home{})))))"
    fragment = "(ROOT (NP (NN yes)))"
    lines = [f"document\t{TREE}", *(f"document\t{flat.format(number)}" for number in range(30)), f"document\t{fragment}"]
    tops, depths = read_files(written(tmp_path / "gum.tsv", *lines), "gum")
    assert (tops.name, depths.name) == ("gum/top_constituents", "gum/tree_depth")
    assert Counter(tops.labels) == {"VP": 30, "NP VP .": 1}  # a fragment is no sentence
    assert len(depths.sentences) == 32


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["a b\tO", "c d"], "line 2: has 1 columns instead of 2; give sentence TAB label."),
        (["a b\tO", "c d\tI\tx"], "line 2: has 3 columns instead of 2"),
        (["a b\tO", "c d\t "], "line 2: column 2 is empty"),
        (["a b c"], "line 1: has one column; give sentence TAB label, split TAB label TAB sentence, or a tree."),
        ([], "is empty; give a file with a labelled sentence on each line."),
        (["tr\tA\ta b", "te\tB"], "line 2: has 2 columns instead of 3; give split TAB label TAB sentence."),
        (["tr\tA\ta b", "xx\tA\tc d"], "line 2: has the unknown split 'xx'; give one of tr, va, te."),
        (["tr\tA\ta b", "te\tB\tc d"], "line 2: has the label 'B', which no line of the split tr has; correct the label."),
        ([TREE, "(S (NP"], "line 2: does not close its brackets; give a tree such as"),
        ([TREE, "(S (NP a)))"], "line 2: closes a bracket that is not open"),
        ([TREE, "(S (NP (-NONE- *)))"], "line 2: has no words"),
        ([TREE, "(S (NP ()))"], "line 2: has an empty constituent"),
        ([TREE, "(NP a) (NP b)"], "line 2: is not one tree"),
    ],
)
def test_a_wrong_file_gives_one_sentence_with_its_line(tmp_path: Path, lines: list[str], said: str) -> None:
    with pytest.raises(DataError) as raised:
        read_files(written(tmp_path / "wrong.txt", *lines), "wrong")
    [problem] = raised.value.problems
    assert problem.startswith(f"{tmp_path / 'wrong.txt'}")
    assert said in problem


def test_bytes_that_are_no_text_give_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "wrong.txt").write_bytes(b"a b\tO\n\xff\xfe\tI\n")
    with pytest.raises(DataError, match=r"wrong\.txt, line 2: is not UTF-8 \(byte 1 is 0xff\); convert the file\."):
        read_tasks(tmp_path)


def test_a_folder_without_tasks_gives_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"contains no file whose name ends with \.txt"):
        read_tasks(tmp_path)
    with pytest.raises(DataError, match="cannot be read"):
        read_tasks(tmp_path / "absent")
    written(tmp_path / "a.txt", "a\tO")
    written(tmp_path / "a.tsv", "a\tO")
    with pytest.raises(DataError, match="two tasks have the name a; rename a file"):
        read_tasks(tmp_path)


def labelled(*labels: str) -> ProbingTask:
    return ProbingTask(name="task", sentences=tuple(f"sentence {row}" for row in range(len(labels))), labels=labels)


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (labelled(*"O" * 20), "task: all 20 sentences have the label 'O'; give two or more."),
        (labelled(*"OI"), "task: has 2 different sentences, fewer than the 10 folds; give at least 10."),
        (labelled(*"O" * 20, "I"), "task: fewer than two of its 2 labels occur in at least 10 of the sentences"),
    ],
)
def test_a_task_that_cannot_be_split_gives_one_sentence(task: ProbingTask, said: str) -> None:
    with pytest.raises(DataError) as raised:
        ready(task)
    [problem] = raised.value.problems
    assert said in problem


def test_sentences_are_drawn_by_seed_and_rare_labels_are_left_out() -> None:
    task = labelled(*("OI" * 100), "X")
    assert (ready(task).rare, ready(task).classes) == (1, ("I", "O"))
    drawn = ready(task, most=50)
    assert drawn == ready(task, most=50)
    assert drawn != ready(task, most=50, seed=2)
    assert (len(drawn.sentences), drawn.rare) == (50, 1)


def test_of_very_many_labels_some_are_drawn() -> None:
    task = labelled(*(f"word {number % 100}" for number in range(3_000)))
    drawn = ready(task, most=1_000)
    assert len(drawn.classes) == 50  # two sentences of each of 50 labels are in each of ten folds
    assert (len(drawn.sentences) + drawn.rare, drawn.undrawn) == (1_000, 1_500)


@pytest.mark.slow
def test_real_tasks_are_read(corpora: Path) -> None:
    for folder in ("xprobe_en", "gum_constituents"):
        if not (corpora / folder).is_dir():
            pytest.skip(f"needs {folder} under MTNAT_DATA")
    tasks = {task.name: task for task in read_tasks(corpora / "xprobe_en") + read_tasks(corpora / "gum_constituents")}
    assert len(tasks) == 11
    assert all(len(task.sentences) == len(set(task.sentences)) > 5_000 for task in tasks.values())
    assert tasks["odd_man_out"].contradictory == 4_248  # counted by a separate script over the lines of both files
    assert len(tasks["gum_trees/top_constituents"].classes) == 20
