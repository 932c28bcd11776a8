"""BLEU on text that Moses' tokenizer has cut, as papers report it; never to be compared with sacreBLEU's default."""

import re
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from importlib.metadata import version

from sacrebleu.metrics.bleu import BLEU

from mtnat.errors import UserError
from mtnat.evaluation.scores import Score, check_sentences

COMPOUND_LANGUAGES = ("de",)
"""Target languages of which the field splits compounds at hyphens before it scores."""
_WITHOUT_SPACES = ("ja", "ko", "th", "zh")
"""Languages that are not scored on the tokens of Moses' tokenizer: most of them write no spaces between words."""
_COMPOUND = re.compile(r"(\S)-(\S)")
_SPLIT_COMPOUND = r"\1 ##AT##-##AT## \2"
_LINES_REMEMBERED = 2**14
"""Tokenized lines kept from call to call, so that one test set is cut once for several scores of several systems."""


def tokenized_bleu(
    hypotheses: Sequence[str],
    references: Sequence[str],
    language: str,
    *,
    lowercase: bool = False,
    split_compounds: bool | None = None,
) -> Score:
    """Corpus BLEU as Moses' ``tokenizer.perl`` and ``multi-bleu.perl`` give it for detokenised text.

    Both sides are cut by sacremoses' port of that tokenizer, without its aggressive splitting of dashes. Unlike there, no
    character is escaped for XML, on either side: escaping renames tokens, which no count of n-grams notices. Precisions are
    not smoothed: without a single matching 4-gram the score is 0, as in ``multi-bleu.perl``.

    Compounds: the evaluation of Vaswani et al. 2017 (tensor2tensor's and fairseq's scripts do the same) turns ``a-b`` into
    ``a ##AT##-##AT## b`` on both sides of German, in one pass of matches that do not overlap: ``a-b-c`` becomes
    ``a ##AT##-##AT## b-c``. A hyphen that is right then counts as a match of its own, which is worth a few tenths to one point.
    Unlike tensor2tensor's script, no Unicode punctuation is replaced in the hypotheses.

    Args:
        language: of the target, such as ``de``; decides which abbreviations keep their period and how apostrophes are cut.
        lowercase: leaves case out of account, as ``multi-bleu.perl -lc`` does.
        split_compounds: by default where the field does it, `COMPOUND_LANGUAGES`.

    Raises:
        UserError: sacremoses is not installed, or its tokenizer does not cut this language's words.
        DataError: there are no sentences, or not equally many on both sides.
    """
    check_sentences(hypotheses, references)
    check_tokenizer(language)
    split = language in COMPOUND_LANGUAGES if split_compounds is None else split_compounds
    cut_hypotheses, cut_references = ([_cut(line, language, split) for line in lines] for lines in (hypotheses, references))
    metric = BLEU(lowercase=lowercase, tokenize="none", smooth_method="none", force=True)
    score = metric.corpus_score(cut_hypotheses, [cut_references])
    tokenizer = f"tok:moses-{language}|escape:no|compounds:{'split' if split else 'whole'}"
    signature = str(metric.get_signature()).replace("tok:none", tokenizer)
    return Score(float(score.score), f"{signature}|sacremoses:{version('sacremoses')}")


def check_tokenizer(language: str) -> None:
    """Says before any work whether `tokenized_bleu` can score this language.

    Raises:
        UserError: sacremoses is not installed, or its tokenizer does not cut this language's words.
    """
    if not re.fullmatch("[a-z]{2,3}", language):
        raise UserError(f"tokenized BLEU: needs a language's code, such as de; got {language!r}.")
    if language in _WITHOUT_SPACES:
        raise UserError(f"tokenized BLEU: Moses' tokenizer does not cut words of {language!r}; use sacreBLEU's own for it.")
    _tokenizer(language)


@cache
def _tokenizer(language: str) -> Callable[[str], str]:
    try:
        from sacremoses import MosesTokenizer  # only here, because the core runs without it
    except ModuleNotFoundError:
        raise UserError(
            "tokenized BLEU: needs sacremoses, which is not installed; `pip install sacremoses`, or mtnat's extra `study`."
        ) from None
    tokenizer = MosesTokenizer(language)

    def cut(line: str) -> str:
        return str(tokenizer.tokenize(line, return_str=True, aggressive_dash_splits=False, escape=False))

    return cut


@lru_cache(_LINES_REMEMBERED)
def _cut(line: str, language: str, split: bool) -> str:
    """A line's tokens with spaces between them."""
    tokens = _tokenizer(language)(line)
    return _COMPOUND.sub(_SPLIT_COMPOUND, tokens) if split else tokens
