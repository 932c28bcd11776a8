"""The decoding of an experiment that sets none, or a part of it, follows its system."""

from typing import Any

import pytest

from mtnat.config import build, read_yaml, replace, write_yaml
from mtnat.decoding import MaskPredictDecoding
from mtnat.errors import ConfigError
from mtnat.experiment import Experiment
from mtnat.systems import CtcDecoding

BASE = {
    "data": {"corpus": "grammar-en-de", "max_length": 64},
    "model": {"max_positions": 64},
    "training": {"steps": 20_000},
}


def experiment(**sections: Any) -> Experiment:
    return build(Experiment, BASE | sections)


@pytest.mark.parametrize(
    ("sections", "decoding"),
    [
        ({}, MaskPredictDecoding(iterations=10)),
        ({"system": {"kind": "glat"}}, MaskPredictDecoding(iterations=1)),
        ({"system": {"kind": "ctc"}}, CtcDecoding()),
        (
            {"system": {"kind": "glat"}, "decoding": {"length_candidates": 3}},
            MaskPredictDecoding(iterations=1, length_candidates=3),
        ),
        ({"system": {"kind": "glat"}, "decoding": {"iterations": 4}}, MaskPredictDecoding(iterations=4)),
        ({"system": {"kind": "ctc"}, "decoding": {"prefix_beam": 5}}, CtcDecoding(prefix_beam=5)),
    ],
)
def test_an_experiment_file_needs_no_decoding(tmp_path: Any, sections: dict[str, Any], decoding: Any) -> None:
    built = experiment(**sections)
    assert built.decoding == decoding
    (tmp_path / "experiment.yaml").write_text(write_yaml(built))
    assert build(Experiment, read_yaml(tmp_path / "experiment.yaml")) == built


@pytest.mark.parametrize(
    ("base", "settings", "decoding"),
    [
        ({}, {"system.kind": "glat"}, MaskPredictDecoding(iterations=1)),
        ({}, {"system": {"kind": "ctc"}}, CtcDecoding()),
        ({}, {"system.kind": "ctc", "decoding.prefix_beam": 3}, CtcDecoding(prefix_beam=3)),
        ({"length_candidates": 2}, {"system.kind": "glat"}, MaskPredictDecoding(iterations=1, length_candidates=2)),
        ({"iterations": 4}, {"system.kind": "glat"}, MaskPredictDecoding(iterations=4)),
    ],
)
def test_a_trial_with_another_system_needs_no_decoding(base: dict[str, Any], settings: dict[str, Any], decoding: Any) -> None:
    trial = replace(replace(experiment(**({"decoding": base} if base else {})), {"training.steps": 30_000}), settings)
    assert trial.decoding == decoding
    assert trial.training.steps == 30_000


def test_a_decoding_of_another_system_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"decoding\.kind: mask-predict does not decode the system ctc; set decoding: \{kind: ctc\}"
    ):
        experiment(system={"kind": "ctc"}, decoding={"kind": "mask-predict"})
    with pytest.raises(ConfigError, match=r"^decoding\.iterations is unknown"):
        experiment(system={"kind": "ctc"}, decoding={"iterations": 3})


def test_an_unknown_system_is_the_only_problem_of_a_file_without_decoding() -> None:
    with pytest.raises(ConfigError) as raised:
        experiment(system={"kind": "no such"})
    assert raised.value.problems == ("system.kind: 'no such' is unknown; known here: mask-predict, glat, ctc, levenshtein.",)


def test_greedy_ctc_has_nothing_to_rerank() -> None:
    problem = "decoding.rerank: at needs several translations to choose from; got prefix_beam 1; raise it to 2 or more."
    with pytest.raises(ConfigError) as raised:
        experiment(system={"kind": "ctc"}, decoding={"rerank": "at"})
    assert raised.value.problems == (problem,)


def test_the_length_penalty_determines_translations_if_the_at_decoder_reranks() -> None:
    assert "length_penalty" not in MaskPredictDecoding().settings_of("nat")
    assert "length_penalty" in MaskPredictDecoding(rerank="at").settings_of("nat")
