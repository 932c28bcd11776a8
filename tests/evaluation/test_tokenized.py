import gzip
import math
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from sacrebleu.metrics.bleu import BLEU
from sacremoses import MosesTokenizer

from mtnat.errors import DataError, UserError
from mtnat.evaluation import bleu
from mtnat.evaluation.tokenized import check_tokenizer, tokenized_bleu


def lines(path: Path) -> list[str]:
    return gzip.decompress(path.read_bytes()).decode().removesuffix("\n").split("\n")


@pytest.fixture(scope="module")
def wmt17(corpora: Path) -> tuple[list[str], list[str]]:
    """The output of a system for newstest2017 en-de, and the reference."""
    folder = corpora / "wmt17_outputs"
    if not folder.is_dir():
        pytest.skip("needs wmt17_outputs under $MTNAT_DATA")
    return lines(folder / "newstest2017.uedin-nmt.4722.en-de.de.gz"), lines(folder / "ref0.de.gz")


def test_tokenized_bleu_matches_a_case_worked_by_hand() -> None:
    """Hypothesis "a b c d x ." of six tokens, reference "a b c d e f ." of seven: 5 of 6, 3 of 5, 2 of 4 and 1 of 3 match."""
    expected = 100 * math.exp(1 - 7 / 6) * (5 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25
    assert tokenized_bleu(["a b c d x."], ["a b c d e f."], "en").value == pytest.approx(expected)


def test_compound_splitting_matches_a_case_worked_by_hand() -> None:
    """Unsplit, 4 of 5 words, 3 of 4 pairs, 2 of 3 triples and 1 of 2 quadruples match. Split, "E-Mail" and "E-Post" have three
    tokens each, of which two match: 6 of 7 words, 5 of 6 pairs, 4 of 5 triples and 3 of 4 quadruples."""
    hypothesis, reference = ["das ist die neue E-Mail"], ["das ist die neue E-Post"]
    whole, split = 100 * (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25, 100 * (6 / 7 * 5 / 6 * 4 / 5 * 3 / 4) ** 0.25
    assert tokenized_bleu(hypothesis, reference, "de").value == pytest.approx(split)
    assert tokenized_bleu(hypothesis, reference, "de", split_compounds=False).value == pytest.approx(whole)
    assert tokenized_bleu(hypothesis, reference, "en").value == pytest.approx(whole)
    assert tokenized_bleu(hypothesis, reference, "en", split_compounds=True).value == pytest.approx(split)


def test_matches_of_the_compound_pattern_do_not_overlap() -> None:
    """ "a-b-c" becomes ``a ##AT##-##AT## b-c`` as in the Perl scripts, since the first match consumes the b."""
    hypothesis, reference = ["w x y z a-b-c"], ["w x y z a-b-x"]
    assert tokenized_bleu(hypothesis, reference, "de").value == pytest.approx(100 * (6 / 7 * 5 / 6 * 4 / 5 * 3 / 4) ** 0.25)
    longer, other = ["w x y z aa-bb-cc"], ["w x y z aa-bb-xx"]  # here the matches do not overlap
    assert tokenized_bleu(longer, other, "de").value == pytest.approx(100 * (8 / 9 * 7 / 8 * 6 / 7 * 5 / 6) ** 0.25)


def test_without_a_matching_4_gram_the_score_is_0_as_in_multi_bleu() -> None:
    assert tokenized_bleu(["a b c x"], ["a b c y"], "en").value == 0
    assert bleu(["a b c x"], ["a b c y"]).value > 30


def test_tokenized_bleu_is_case_sensitive_unless_lowercase() -> None:
    hypothesis, reference = ["DAS Haus ist sehr alt"], ["das Haus ist sehr alt"]
    assert tokenized_bleu(hypothesis, reference, "de").value == pytest.approx(100 * (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25)
    assert tokenized_bleu(hypothesis, reference, "de", lowercase=True).value == pytest.approx(100)


def test_the_language_determines_abbreviations_and_apostrophes() -> None:
    """ "bzw." is an abbreviation only in German. English splits "he'd" into "he 'd", German into "he ' d"."""
    assert tokenized_bleu(["er bzw. Anna ist dort"], ["er bzw . Anna ist dort"], "de").value < 50
    assert tokenized_bleu(["er bzw. Anna ist dort"], ["er bzw . Anna ist dort"], "en").value == pytest.approx(100)
    hypothesis, reference = ["we all know he'd"], ["we all know he'll"]
    assert tokenized_bleu(hypothesis, reference, "en").value == pytest.approx(100 * (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25)
    assert tokenized_bleu(hypothesis, reference, "de").value == pytest.approx(100 * (5 / 6 * 4 / 5 * 3 / 4 * 2 / 3) ** 0.25)


def test_the_signature_states_all_settings() -> None:
    cased = tokenized_bleu(["a b c d"], ["a b c d"], "de").signature
    assert cased == (
        "nrefs:1|case:mixed|eff:no|tok:moses-de|escape:no|compounds:split|smooth:none"
        f"|version:{version('sacrebleu')}|sacremoses:{version('sacremoses')}"
    )
    others = {
        tokenized_bleu(["a b c d"], ["a b c d"], "en").signature,
        tokenized_bleu(["a b c d"], ["a b c d"], "de", lowercase=True).signature,
        tokenized_bleu(["a b c d"], ["a b c d"], "de", split_compounds=False).signature,
        bleu(["a b c d"], ["a b c d"], "none").signature,
        bleu(["a b c d"], ["a b c d"]).signature,
    }
    assert len(others - {cased}) == 5


def test_real_output_scores_as_sacrebleu_on_text_tokenized_beforehand(wmt17: tuple[list[str], list[str]]) -> None:
    """The text is tokenized with Moses' defaults, which escape characters: the names of tokens do not matter."""
    tokenizer = MosesTokenizer("de")
    hypotheses, references = (
        [re.sub(r"(\S)-(\S)", r"\1 ##AT##-##AT## \2", tokenizer.tokenize(line, return_str=True)) for line in side]
        for side in wmt17
    )
    assert any("&quot;" in line for line in references)
    for lowercase in (False, True):
        theirs = BLEU(lowercase=lowercase, tokenize="none", smooth_method="none", force=True)
        expected = theirs.corpus_score(hypotheses, [references]).score
        assert tokenized_bleu(*wmt17, "de", lowercase=lowercase).value == pytest.approx(expected)


def test_wrong_input_of_tokenized_bleu_gives_one_message() -> None:
    with pytest.raises(UserError, match=r"does not support 'zh'; use sacreBLEU's tokenizer for it"):
        tokenized_bleu(["a"], ["a"], "zh")
    with pytest.raises(UserError, match=r"needs the code of a language, such as de; got 'de\.gz'"):
        check_tokenizer("de.gz")
    with pytest.raises(DataError, match="got 1 and 2; give both in full"):
        tokenized_bleu(["a"], ["a", "b"], "de")
    with pytest.raises(DataError, match="references: are empty"):
        tokenized_bleu([], [], "de")


def test_without_sacremoses_there_is_one_message() -> None:
    """Runs a new interpreter in which the package is missing."""
    code = """if True:
        import sys
        sys.modules["sacremoses"] = None
        from mtnat.errors import UserError
        from mtnat.evaluation.tokenized import tokenized_bleu
        try:
            tokenized_bleu(["a"], ["a"], "de")
        except UserError as error:
            print(error)
    """
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.startswith("tokenized BLEU: needs sacremoses, which is not installed")
    assert said.count("\n") == 1
