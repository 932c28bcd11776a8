"""Data rejuvenation: scores by teacher forcing, the inactive pairs, and the final text."""

# N pairs, T target

import math
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from mtnat.data import DataConfig, prepare
from mtnat.data.corpus import TextPair, open_raw_corpus, read_lines
from mtnat.decoding import MaskPredictDecoding
from mtnat.decoding.batching import pad
from mtnat.decoding.teacher_forcing import sentence_scores
from mtnat.errors import DataError
from mtnat.systems import AtBranch, branch_of
from mtnat.systems.at import shift_right
from mtnat.training import Model, PairScores, Text, load_model
from mtnat.training.rejuvenation import (
    inactive_pairs,
    inactive_sources,
    score_pairs,
    write_rejuvenated,
    write_selection,
)

DECODING = MaskPredictDecoding()
SMALL_BATCHES = MaskPredictDecoding(max_tokens_per_batch=64)


@pytest.fixture(scope="module")
def teacher(model: Path) -> Model:
    return load_model(model)


@pytest.fixture(scope="module")
def pairs(teacher: Model, tmp_path_factory: pytest.TempPathFactory) -> list[TextPair]:
    corpus = open_raw_corpus(teacher.experiment.data, tmp_path_factory.mktemp("cache"))
    return list(islice(corpus.pairs("train"), 60))


def text(pairs: list[TextPair]) -> Text[TextPair]:
    return Text(lambda: iter(pairs), len(pairs), "digest")


def test_the_score_of_a_sentence_is_the_geometric_mean_of_its_tokens_probabilities() -> None:
    log_probabilities = torch.tensor([[-1.0, -3.0, 0.0, 0.0], [-1.0, -3.0, -1.0, -3.0], [-9.0, 7.0, 7.0, 7.0]])
    is_token = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]]).bool()
    assert sentence_scores(log_probabilities, is_token).tolist() == pytest.approx([0.135335, 0.135335, math.exp(-9)], rel=1e-5)


def test_of_ten_sentences_exactly_one_is_inactive() -> None:
    sentences = [[-0.1 * number, -0.3 * number] for number in (3, 8, 1, 9, 2, 10, 4, 7, 5, 6)]
    scores = sentence_scores(torch.tensor(sentences), torch.ones(10, 2, dtype=torch.bool))
    assert np.flatnonzero(inactive_pairs(scores.numpy(), 0.1)).tolist() == [5]


@pytest.mark.parametrize(
    ("pairs_", "share", "inactive"),
    [(10, 0.1, 1), (19, 0.1, 1), (20, 0.1, 2), (100, 0.29, 29), (3, 0.1, 1), (1000, 0.001, 1)],
)
def test_the_number_of_inactive_pairs_is_rounded_down(pairs_: int, share: float, inactive: int) -> None:
    assert inactive_pairs(np.linspace(0, 1, pairs_), share).sum() == inactive


def test_of_equal_scores_the_first_are_inactive_and_pairs_without_a_score_never_are() -> None:
    scores = np.array([math.nan, 0.5, 0.2, 0.2, math.nan, 0.2, 0.9, 0.8])
    assert np.flatnonzero(inactive_pairs(scores, 0.34)).tolist() == [2, 3]
    with pytest.raises(DataError, match=r"no training pair could be scored"):
        inactive_pairs(np.full(3, math.nan), 0.1)


def test_scores_are_those_of_the_at_decoder_on_each_sentence_alone(teacher: Model, pairs: list[TextPair]) -> None:
    """The expected scores come from the decoder's logits, one sentence at a time, in float64."""
    branch = branch_of(teacher.translator, "at")
    assert isinstance(branch, AtBranch)
    cpu = torch.device("cpu")
    expected = []
    for source, target in pairs:
        source_BS = pad(teacher.vocabularies.source.encode([source]), cpu)
        target_BT = pad(teacher.vocabularies.target.encode([target]), cpu)
        with torch.inference_mode():
            logits_BTV = branch.decoder.logits(teacher.translator.encode(source_BS), shift_right(target_BT)).double()
        tokens_BT = logits_BTV.log_softmax(dim=2).gather(2, target_BT[:, :, None]).squeeze(2)
        expected.append(math.exp(float(tokens_BT.mean())))
    assert len(set(expected)) == len(pairs)
    assert score_pairs(teacher, pairs, DECODING) == pytest.approx(expected, rel=1e-5)
    assert score_pairs(teacher, pairs, SMALL_BATCHES) == pytest.approx(expected, rel=1e-5)


def test_a_pair_with_an_empty_or_too_long_side_has_no_score(teacher: Model) -> None:
    long = "house " * 200
    pairs = [("", "Haus"), ("house", ""), ("house", "Haus"), (long, "Haus"), ("house", long)]
    assert [math.isnan(score) for score in score_pairs(teacher, pairs, DECODING)] == [True, True, False, True, True]


def test_processes_share_the_scores_by_shards(model: Path, teacher: Model, pairs: list[TextPair], tmp_path: Path) -> None:
    scoring = PairScores(model, text(pairs), DECODING, lines_per_shard=7, cache=tmp_path)
    assert next(scoring.work()) == 0  # and then the process ends
    again = PairScores(model, text(pairs), DECODING, lines_per_shard=7, cache=tmp_path)
    assert list(again.work()) == list(range(1, 9))
    assert again.scores().tolist() == pytest.approx(score_pairs(teacher, pairs, DECODING), rel=1e-6)
    other = PairScores(model, text(pairs), MaskPredictDecoding(precision="bf16"), lines_per_shard=7, cache=tmp_path)
    assert other.key != again.key
    assert PairScores(model, text(pairs), SMALL_BATCHES, lines_per_shard=7, cache=tmp_path).key == again.key


def test_the_final_text_replaces_only_the_inactive_targets_in_the_order_of_the_corpus(tmp_path: Path) -> None:
    pairs = text([("one", "eins"), ("two", "zwei"), ("three", "drei"), ("four", "vier")])
    is_inactive = np.array([False, True, False, True])
    sources = inactive_sources(pairs, is_inactive)
    assert (list(sources.read()), sources.lines) == (["two", "four"], 2)
    assert sources.digest != inactive_sources(pairs, np.array([True, False, True, False])).digest
    write_rejuvenated(pairs, is_inactive, ["zwo", "fier"], tmp_path / "targets.gz")
    assert list(read_lines(tmp_path / "targets.gz")) == ["eins", "zwo", "drei", "fier"]


def test_the_rejuvenation_model_trains_on_the_active_pairs(tmp_path: Path) -> None:
    data = DataConfig(corpus="grammar-en-de", corpus_size=300, vocabulary_size=300)
    is_inactive = np.zeros(300, np.bool_)
    is_inactive[[0, 7]] = True
    write_selection(~is_inactive, tmp_path / "active.gz")
    whole, active = prepare(data), prepare(data.model_copy(update={"selected": str(tmp_path / "active.gz")}))
    assert active.vocabularies.fingerprint == whole.vocabularies.fingerprint
    assert len(active.train) == 298
    assert [list(side) for side in active.train[0]] == [list(side) for side in whole.train[1]]
    assert [list(side) for side in active.train[6]] == [list(side) for side in whole.train[8]]
    assert active.fingerprint != whole.fingerprint
