"""Operations computed from lengths equal those that PyTorch's counter finds in the products of a batch without padding."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry
from translators import at, draw_of, objective_of, translator_of

from mtnat.bench.updates import padding
from mtnat.config import build
from mtnat.decoding import MaskPredictDecoding, Search
from mtnat.model import ModelConfig, Translator
from mtnat.model.flops import ModelFlops
from mtnat.objective import Draw, Moment, MultiTaskObjective, ObjectiveConfig
from mtnat.systems import search_of
from mtnat.tokens import EOS, PAD

VOCABULARY = 96
SENTENCES, SOURCE, TARGET = 6, 7, 5
MODEL = {"width": 32, "heads": 2, "feed_forward": 48, "encoder_layers": 3, "decoder_layers": 2, "max_positions": 16}
ONE_HALF: dict[str, Any] = {"schedule": {"kind": "constant", "value": 0.5}}


class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations like `FlopCounterMode`, which does not support a backward pass inside a forward pass."""

    formulas = flop_registry | {
        torch.ops.aten.addmm_: flop_registry[torch.ops.aten.addmm],
        torch.ops.aten.baddbmm_: flop_registry[torch.ops.aten.baddbmm],
    }

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if formula := self.formulas.get(func.overloadpacket):
            self.flops += formula(*args, **(kwargs or {}), out_val=result)
        return result


def sentences(lengths: list[int], seed: int) -> Tensor:
    """Draws rows of random pieces that end with EOS, padded to the longest."""
    rows = torch.full((len(lengths), max(lengths)), PAD)
    for row, length in zip(rows, lengths, strict=True):
        row[:length] = torch.randint(5, VOCABULARY, (length,), generator=torch.Generator().manual_seed(seed))
        row[length - 1] = EOS
    return rows


def objective_in(model: ModelConfig, settings: dict[str, Any]) -> MultiTaskObjective:
    config = build(ObjectiveConfig, settings)
    return objective_of(translator_of(model, VOCABULARY, config), config)


def draw_for(objective: MultiTaskObjective, source: list[int], target: list[int]) -> Draw:
    return draw_of(objective, sentences(source, 1), sentences(target, 2), seed=3)


def counted(objective: MultiTaskObjective, draw: Draw) -> int:
    """Counts the operations of a forward and a backward pass, with attention as plain matrix products."""
    scales = {part: torch.ones(()) for part in objective.parts}
    counter = Counter()
    with counter:
        total, *_ = objective(draw, scales, Moment(0, 1))
        total.backward()
    return counter.flops


def masked(draw: Draw) -> Tensor:
    """The number of masked positions of each sentence that the NAT decoder sees; none where there is no NAT decoder."""
    return draw.noise["nat"].tensors["is_masked"].sum(1) if "nat" in draw.noise else torch.zeros(0, dtype=torch.long)


@pytest.mark.parametrize(
    "settings",
    [
        {"schedule": {"kind": "constant", "value": 0.0}},
        {"schedule": {"kind": "constant", "value": 1.0}},
        ONE_HALF,
        {**ONE_HALF, "encoder_passes": 2},
        {**ONE_HALF, "estimator": "sampled"},
        {**ONE_HALF, "at_fraction": 0.5},
    ],
    ids=["at", "nat", "multi_task", "two passes", "sampled", "half of the AT batch"],
)
@pytest.mark.parametrize("length_prediction", ["offset", "absolute"])
def test_operations_of_training_equal_the_counter(settings: dict[str, Any], length_prediction: str) -> None:
    model = build(ModelConfig, {**MODEL, "length_prediction": length_prediction})
    objective = objective_in(model, settings)
    draw = draw_for(objective, [SOURCE] * SENTENCES, [TARGET] * SENTENCES)
    assert padding(draw)[0] == 0
    # Plain products also compute attention that the model does not require: the masked half of the AT decoder, and, in the last
    # layer of the NAT decoder, the positions that are not read.
    at_sentences = draw.noise["at"].sentences if "at" in draw.noise else 0
    unseen = model.decoder_layers * at_sentences * 2 * TARGET**2 * model.width
    unread = int((TARGET - masked(draw)).sum()) * 4 * (TARGET + SOURCE) * model.width
    work = objective.flops(ModelFlops(model, VOCABULARY), draw)
    assert work + 3 * (unseen + unread) == counted(objective, draw)


def test_the_counter_agrees_with_that_of_pytorch() -> None:
    states = torch.randn(3, 4, requires_grad=True)
    layer = torch.nn.Linear(4, 5)
    with FlopCounterMode(display=False) as theirs, Counter() as ours:
        layer(states).sum().backward()
    assert ours.flops == theirs.get_total_flops() == 3 * 2 * 3 * 4 * 5


def test_padding_does_not_count() -> None:
    model = build(ModelConfig, MODEL)
    work, objective = ModelFlops(model, VOCABULARY), objective_in(model, ONE_HALF)
    draw = draw_for(objective, [3, 7], [6, 4])
    padded, positions = padding(draw)
    assert (padded, positions) == (4 + 2 + 2, 14 + 12 + 12)
    lengths = zip((3, 7), (6, 4), masked(draw).tolist(), strict=True)
    forward = 0
    for source, target, read in ((torch.tensor([length]) for length in sentence) for sentence in lengths):
        forward += work.encoder(source) + work.memory(source) + work.at_pass(source, target)
        forward += work.memory(source) + work.nat_pass(source, target, read)
    predictions = 10 + int(masked(draw).sum())
    assert objective.flops(work, draw) == 3 * (forward + work.vocabulary(predictions) + work.lengths(2))


def test_a_batch_without_a_sentence_for_the_nat_decoder_has_the_operations_of_its_length_head() -> None:
    model = build(ModelConfig, MODEL)
    work = ModelFlops(model, VOCABULARY)
    rare = {"schedule": {"kind": "constant", "value": 1e-9}, "estimator": "sampled"}
    for passes in (1, 2):
        objective = objective_in(model, {**rare, "encoder_passes": passes})
        draw = draw_for(objective, [3, 7], [6, 4])
        assert draw.noise["nat"].sentences == 0
        source, target = torch.tensor([3, 7]), torch.tensor([6, 4])
        at = work.memory(source) + work.at_pass(source, target) + work.vocabulary(10)
        assert objective.flops(work, draw) == 3 * (passes * work.encoder(source) + at + work.lengths(2))


def test_one_layer_by_hand() -> None:
    model = build(ModelConfig, {"width": 8, "heads": 1, "feed_forward": 16, "encoder_layers": 1, "decoder_layers": 1})
    work = ModelFlops(model, 10)
    # 2 tokens: four 8×8 projections and two of 8×16, 2 operations for each weight and token; attention twice 2·2·2·8.
    assert work.encoder(torch.tensor([2])) == 2 * (2 * (4 * 64 + 2 * 128)) + 128
    # 3 targets on 2 sources: self- and cross-attention's projections, causal attention 4·8·9/2, to the source 4·8·6.
    source, target = torch.tensor([2]), torch.tensor([3])
    keys_values = 2 * (2 + 3) * 2 * 64
    assert work.memory(source) + work.at_pass(source, target) == 2 * 3 * (2 * 64 + 2 * 64 + 2 * 128) + keys_values + 144 + 192
    # One of the 3 is read: only its query attends to all 3 targets and to both sources.
    assert (
        work.memory(source) + work.nat_pass(source, target, torch.tensor([1]))
        == 2 * (2 * 64 + 2 * 64 + 2 * 128) + keys_values + 4 * 8 * 5
    )
    assert work.vocabulary(5) == 2 * 8 * 10 * 5
    assert work.lengths(1) == 2 * 8 * 2047


def searched(translator: Translator, search: Search) -> tuple[int, Tensor, Tensor]:
    """Decodes one source; returns the counted operations, and the length and the passes of the best hypothesis."""
    counter = Counter()
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        [[best]] = search(translator.encode(sentences([SOURCE], 1)), 1)
    return counter.flops, torch.tensor([len(best.tokens)]), torch.tensor([best.passes])


def random_translator(model: ModelConfig) -> Translator:
    torch.manual_seed(4)
    return translator_of(model, VOCABULARY).eval()


def test_operations_of_greedy_search_equal_the_counter() -> None:
    model = build(ModelConfig, MODEL)
    translator = random_translator(model)
    search = at(translator).search(MaskPredictDecoding(beam=1))
    flops, pieces, steps = searched(translator, search)
    # Step n attends to n keys; half of the square would be n - 1/2.
    more = model.decoder_layers * 2 * model.width * int(steps)
    assert search.flops(ModelFlops(model, VOCABULARY), torch.tensor([SOURCE]), pieces, steps) + more == flops


@pytest.mark.parametrize("rerank", ["none", "at"])
@pytest.mark.parametrize("iterations", [1, 3])
def test_operations_of_mask_predict_equal_the_counter(rerank: str, iterations: int) -> None:
    model = build(ModelConfig, MODEL)
    config = build(MaskPredictDecoding, {"iterations": iterations, "length_candidates": 1, "rerank": rerank})
    translator = random_translator(model)
    search = search_of(translator, "nat", config)
    flops, pieces, passes = searched(translator, search)
    target = int(pieces) + 1
    reads = [int(pieces) * (iterations - done) // iterations for done in range(int(passes))]
    # Plain products also compute outputs that are not read; see the test of training above.
    unread = sum(target - read for read in reads) * 4 * (target + SOURCE) * model.width
    unseen = model.decoder_layers * 2 * target**2 * model.width if rerank == "at" else 0
    work = search.flops(ModelFlops(model, VOCABULARY), torch.tensor([SOURCE]), pieces, passes)
    assert work + unread + unseen == flops


def test_searches_by_hand() -> None:
    model = build(ModelConfig, {"width": 8, "heads": 1, "feed_forward": 16, "encoder_layers": 1, "decoder_layers": 1})
    translator = translator_of(model, 10)
    work, source, pieces = ModelFlops(model, 10), torch.tensor([2]), torch.tensor([3])

    def mask_predict(config: MaskPredictDecoding, passes: list[int]) -> int:
        search = search_of(translator, "nat", config)
        rows = len(passes)
        return search.flops(work, source.repeat(rows), pieces.repeat(rows), torch.tensor(passes))

    # The source: two tokens through the encoder, and their keys and values for the decoder, 2 times 8×8 each.
    encoder, memory = 2 * (2 * (4 * 64 + 2 * 128)) + 128, 2 * 2 * 2 * 64
    # A decoded token: six 8×8 projections, two of 8×16, attention to both sources, ten logits.
    step = 2 * (6 * 64 + 2 * 128) + 4 * 8 * 2 + 2 * 8 * 10
    # Three steps, with self-attention to half of 3×3 positions, for each of 5 hypotheses.
    beam_search = at(translator).search(MaskPredictDecoding(beam=5))
    assert beam_search.flops(work, source, pieces - 1, pieces) == encoder + memory + 5 * (3 * step + 4 * 8 * 9 // 2)

    # Four positions, EOS one of them, have keys and values; those to predict, 3 and then 3·1/2 = 1, all else.
    asked, asking = 2 * 4 * 2 * 64, 2 * (4 * 64 + 2 * 128) + 4 * 8 * (4 + 2) + 2 * 8 * 10
    lengths = 2 * 8 * 2047
    config = MaskPredictDecoding(iterations=2, length_candidates=4)
    four = encoder + lengths + memory + 4 * (asked + 3 * asking) + 4 * (asked + asking)
    assert mask_predict(config, [2]) == four
    narrowed = config.model_copy(update={"narrow_after": 1, "narrow_to": 2})
    two = four - 2 * (asked + asking)
    assert mask_predict(narrowed, [2]) == two
    # The AT decoder reads BOS and 3 pieces, and predicts 3 pieces and EOS, for the remaining candidates.
    reranked = narrowed.model_copy(update={"rerank": "at"})
    scored = memory + 2 * (4 * step + 4 * 8 * 16 // 2)
    assert mask_predict(reranked, [2]) == two + scored
    # A finished source needs no further operations.
    assert mask_predict(config, [2, 1]) == 2 * four - 4 * (asked + asking)
