"""German function words in all their forms."""

from typing import Literal

from mtnat.data.grammar.lexicon import Case, Gender

Agreement = Literal["m", "f", "n", "p"]
"""A gender, or plural."""
Paradigm = dict[Agreement, dict[Case, str]]


def _paradigm(stem: str, masculine: str, feminine: str, neuter: str, plural: str) -> Paradigm:
    """Returns the forms of a word. Endings are in the order nominative, accusative, dative, genitive; "-" means no ending."""

    def row(endings: str) -> dict[Case, str]:
        nom, acc, dat, gen = (stem + ending.strip("-") for ending in endings.split())
        return {"nom": nom, "acc": acc, "dat": dat, "gen": gen}

    return {"m": row(masculine), "f": row(feminine), "n": row(neuter), "p": row(plural)}


def _like_der(stem: str) -> Paradigm:
    return _paradigm(stem, "er en em es", "e e er er", "es es em es", "e e en er")


def _like_ein(stem: str) -> Paradigm:
    return _paradigm(stem, "- en em es", "e e er er", "- - em es", "e e en er")


def _fixed(word: str) -> Paradigm:
    return _paradigm(word, "- - - -", "- - - -", "- - - -", "- - - -")


WEAK = _paradigm("", "e en en en", "e e en en", "e e en en", "en en en en")
MIXED = _paradigm("", "er en en en", "e e en en", "es es en en", "en en en en")
STRONG = _paradigm("", "er en em en", "e e er er", "es es em en", "e e en er")
ARTICLE = _paradigm("", "der den dem des", "die die der der", "das das dem des", "die die den der")
RELATIVE = _paradigm("", "der den dem dessen", "die die der deren", "das das dem dessen", "die die denen deren")
DETERMINERS: dict[str, tuple[Paradigm, Paradigm]] = {
    "the": (ARTICLE, WEAK),
    "this": (_like_der("dies"), WEAK),
    "every": (_like_der("jed"), WEAK),
    "all": (_like_der("all"), WEAK),
    "a": (_like_ein("ein"), MIXED),
    "no": (_like_ein("kein"), MIXED),
    "my": (_like_ein("mein"), MIXED),
    "his": (_like_ein("sein"), MIXED),
    "her": (_like_ein("ihr"), MIXED),
    "their": (_like_ein("ihr"), MIXED),
    "our": (_like_ein("unser"), MIXED),
    "many": (_like_der("viel"), STRONG),
    "some": (_like_der("einig"), STRONG),
    "two": (_fixed("zwei"), STRONG),
    "three": (_fixed("drei"), STRONG),
    "": (_fixed(""), STRONG),
}
"""English determiner → its German forms, and the endings of an adjective after it."""

PRONOUNS: dict[str, dict[Case, str]] = {
    "I": {"nom": "ich", "acc": "mich", "dat": "mir"},
    "he": {"nom": "er", "acc": "ihn", "dat": "ihm"},
    "she": {"nom": "sie", "acc": "sie", "dat": "ihr"},
    "we": {"nom": "wir", "acc": "uns", "dat": "uns"},
    "they": {"nom": "sie", "acc": "sie", "dat": "ihnen"},
}
IT: dict[Gender, str] = {"m": "er", "f": "sie", "n": "es"}
"""The pronoun for "it" by the gender of its noun; nominative."""
REFLEXIVE = {"I": "mich", "we": "uns"}
"""Reflexive pronouns other than "sich"."""

CONTRACTIONS = {
    "in dem": "im",
    "in das": "ins",
    "an dem": "am",
    "an das": "ans",
    "von dem": "vom",
    "zu dem": "zum",
    "zu der": "zur",
}
SEIN = {"present": ("bin", "ist", "sind"), "past": ("war", "war", "waren")}
HABEN = ("habe", "hat", "haben")
MODALS = {
    "can": {"present": ("kann", "kann", "können"), "past": ("konnte", "konnte", "konnten")},
    "have to": {"present": ("muss", "muss", "müssen"), "past": ("musste", "musste", "mussten")},
    "want to": {"present": ("will", "will", "wollen"), "past": ("wollte", "wollte", "wollten")},
}
