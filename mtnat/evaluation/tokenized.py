"""Tokenized BLEU: BLEU on the tokens of Moses' tokenizer, as papers report it. Do not compare it with sacreBLEU's default."""

import re
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from importlib.metadata import version

from sacrebleu.metrics.bleu import BLEU

from mtnat.errors import UserError
from mtnat.evaluation.scores import Score, check_sentences

COMPOUND_LANGUAGES = ("de",)
"""Target languages whose compounds are by convention split at hyphens before scoring."""
_WITHOUT_SPACES = ("ja", "ko", "th", "zh")
"""Languages that Moses' tokenizer does not segment into words; most of them write no spaces between words."""
_COMPOUND = re.compile(r"(\S)-(\S)")
_SPLIT_COMPOUND = r"\1 ##AT##-##AT## \2"
_LINES_REMEMBERED = 2**14
"""Tokenized lines kept between calls, so that a test set is tokenized once for several scores of several systems."""


def tokenized_bleu(
    hypotheses: Sequence[str],
    references: Sequence[str],
    language: str,
    *,
    lowercase: bool = False,
    split_compounds: bool | None = None,
) -> Score:
    """Returns the corpus BLEU that Moses' ``tokenizer.perl`` and ``multi-bleu.perl`` compute for detokenised text.

    Both sides are tokenized by sacremoses' port of that tokenizer, without aggressive splitting of dashes. Unlike there, no
    character is escaped for XML: escaping only renames tokens on both sides, so n-gram counts stay the same. Precisions are
    not smoothed: without a matching 4-gram the score is 0, as in ``multi-bleu.perl``.

    Compounds: the evaluation of Vaswani et al. 2017, and likewise the scripts of tensor2tensor and fairseq, replaces ``a-b``
    by ``a ##AT##-##AT## b`` on both sides of German. It is a single pass of non-overlapping matches: ``a-b-c`` becomes
    ``a ##AT##-##AT## b-c``. A correct hyphen then counts as a matching token, which raises the score by a few tenths to one
    point. Unlike tensor2tensor's script, no Unicode punctuation is replaced in the hypotheses.

    Args:
        language: code of the target language, such as ``de``. It determines the abbreviations that keep their period and
            the tokenization of apostrophes.
        lowercase: ignore case, as ``multi-bleu.perl -lc`` does.
        split_compounds: by default, compounds of `COMPOUND_LANGUAGES` are split.

    Raises:
        UserError: if sacremoses is not installed, or its tokenizer does not support the language.
        DataError: if there are no sentences, or not equally many on both sides.
    """
    check_sentences(hypotheses, references)
    check_tokenizer(language)
    split = language in COMPOUND_LANGUAGES if split_compounds is None else split_compounds
    token_hypotheses, token_references = (
        [_tokenized(line, language, split) for line in lines] for lines in (hypotheses, references)
    )
    metric = BLEU(lowercase=lowercase, tokenize="none", smooth_method="none", force=True)
    score = metric.corpus_score(token_hypotheses, [token_references])
    tokenizer = f"tok:moses-{language}|escape:no|compounds:{'split' if split else 'whole'}"
    signature = str(metric.get_signature()).replace("tok:none", tokenizer)
    return Score(float(score.score), f"{signature}|sacremoses:{version('sacremoses')}")


def check_tokenizer(language: str) -> None:
    """Checks in advance that `tokenized_bleu` can score a language.

    Raises:
        UserError: if sacremoses is not installed, or its tokenizer does not support the language.
    """
    if not re.fullmatch("[a-z]{2,3}", language):
        raise UserError(f"tokenized BLEU: needs the code of a language, such as de; got {language!r}.")
    if language in _WITHOUT_SPACES:
        raise UserError(f"tokenized BLEU: Moses' tokenizer does not support {language!r}; use sacreBLEU's tokenizer for it.")
    _tokenizer(language)


@cache
def _tokenizer(language: str) -> Callable[[str], str]:
    try:
        from sacremoses import MosesTokenizer  # imported here, because the core runs without it
    except ModuleNotFoundError:
        raise UserError(
            "tokenized BLEU: needs sacremoses, which is not installed; `pip install sacremoses`, or mtnat's extra `study`."
        ) from None
    tokenizer = MosesTokenizer(language)

    def tokenize(line: str) -> str:
        return str(tokenizer.tokenize(line, return_str=True, aggressive_dash_splits=False, escape=False))

    return tokenize


@lru_cache(_LINES_REMEMBERED)
def _tokenized(line: str, language: str, split: bool) -> str:
    """Returns the tokens of a line, separated by spaces."""
    tokens = _tokenizer(language)(line)
    return _COMPOUND.sub(_SPLIT_COMPOUND, tokens) if split else tokens
