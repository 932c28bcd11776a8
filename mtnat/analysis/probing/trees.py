"""Probing tasks from constituent trees in the brackets of the Penn Treebank."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mtnat.analysis.probing.tasks import ProbingTask, without_repeats
from mtnat.errors import DataError

TOP_SEQUENCES = 19
"""Number of sequences of top constituents that are classes of their own (Conneau et al. 2018)."""
OTHER = "other"
"""The class of all other sequences."""
_TOKEN = re.compile(r"[()]|[^\s()]+")
_BRACKETS = {"-LRB-": "(", "-RRB-": ")", "-LSB-": "[", "-RSB-": "]", "-LCB-": "{", "-RCB-": "}"}


@dataclass(frozen=True)
class Tree:
    """What the tasks need of a tree."""

    text: str
    """The words, separated by spaces."""
    label: str
    """The label of the top constituent."""
    children: tuple[str, ...]
    """The labels directly below it."""
    depth: int
    """Number of levels of constituents; a word with its part of speech is no level."""


@dataclass
class _Node:
    label: str
    children: list["_Node | str"]

    def depth(self) -> int:
        """Returns the number of levels of constituents, this one included if it is one."""
        inner = [child.depth() for child in self.children if isinstance(child, _Node)]
        return max(inner) + 1 if inner else 0

    def words(self) -> list[str]:
        """Returns the words; the traces of moved constituents are none."""
        if self.label == "-NONE-":
            return []
        return [
            word
            for child in self.children
            for word in ([_BRACKETS.get(child, child)] if isinstance(child, str) else child.words())
        ]


def parse_tree(brackets: str) -> Tree:
    """Reads a tree, such as ``(ROOT (S (NP (PRP She)) (VP (VBD slept)) (. .)))``.

    A top node without a label or with the label ROOT or TOP is left out, and functions are cut from labels: NP-SBJ is NP.

    Raises:
        ValueError: the brackets do not match, or there are no words.
    """
    top = _read(_TOKEN.findall(brackets))
    while top.label in ("", "ROOT", "TOP") and len(top.children) == 1 and isinstance(top.children[0], _Node):
        top = top.children[0]
    words = top.words()
    if not words:
        raise ValueError("has no words")
    children = tuple(child.label for child in top.children if isinstance(child, _Node) and child.label != "-NONE-")
    return Tree(" ".join(words), top.label, children, top.depth())


def _read(tokens: Sequence[str]) -> _Node:
    """Reads a tree without recursion, since a wrong file may contain any number of brackets."""
    root = _Node("", [])
    path = [root]
    for place, token in enumerate(tokens):
        if token == "(":
            node = _Node("", [])
            path[-1].children.append(node)
            path.append(node)
        elif token == ")":
            if len(path) == 1:
                raise ValueError("closes a bracket that is not open")
            if not path.pop().children:
                raise ValueError("has an empty constituent")
        elif tokens[place - 1] == "(":
            # A label that begins with a hyphen, such as -NONE- or -LRB-, has no function.
            path[-1].label = token if token.startswith("-") else re.split("[-=|]", token)[0]
        else:
            path[-1].children.append(token)
    if len(path) > 1:
        raise ValueError("does not close its brackets")
    if len(root.children) != 1:
        raise ValueError("is not one tree")
    return root


def tree_tasks(name: str, trees: Iterable[Tree]) -> list[ProbingTask]:
    """Makes the tasks `top_constituents` and `tree_depth`.

    - `top_constituents`: the labels directly below the sentence, of trees whose top label is S. The 19 most frequent sequences
      are classes, and all others are one more.
    - `tree_depth`: the number of levels. Depths below the 5th and above the 95th percentile join the class at that percentile.

    Raises:
        DataError: there are no trees.
    """
    trees = list(trees)
    if not trees:
        raise DataError(f"{name}: contains no trees; give one a line.")
    whole = [tree for tree in trees if tree.label == "S"] or trees
    frequent = {labels for labels, _ in Counter(tree.children for tree in whole).most_common(TOP_SEQUENCES)}
    tops = ((tree.text, " ".join(tree.children) if tree.children in frequent else OTHER) for tree in whole)
    depths = depth_classes([tree.depth for tree in trees])
    return [
        without_repeats(f"{name}/top_constituents", tops),
        without_repeats(f"{name}/tree_depth", ((tree.text, label) for tree, label in zip(trees, depths, strict=True))),
    ]


def depth_classes(depths: Sequence[int]) -> list[str]:
    """Returns the class of each depth; both ends are joined, so that they are not too rare."""
    ordered = sorted(depths)
    low, high = (ordered[round(share * (len(ordered) - 1))] for share in (0.05, 0.95))
    return [str(min(max(depth, low), high)) for depth in depths]
