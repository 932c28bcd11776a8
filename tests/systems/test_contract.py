"""The contract of `mtnat.testing` on every system of the package."""

from collections.abc import Mapping
from typing import Any

import pytest
from teachers import saved_teacher, teacher_of

from mtnat.decoding import MaskPredictDecoding
from mtnat.objective import MultiTaskObjective
from mtnat.systems import (
    Ctc,
    CtcDecoding,
    DagDecoding,
    DaTransformer,
    FclNat,
    Glat,
    HintNat,
    HintNatBranch,
    Levenshtein,
    LevenshteinDecoding,
    MaskPredict,
    NadAd,
    NadAdDecoding,
    NatReg,
    SinglePassDecoding,
    VanillaNat,
    branch_of,
)
from mtnat.systems.registry import BUILT_IN
from mtnat.testing.system_contract import VOCABULARY, SystemContract


class TestMaskPredict(SystemContract):
    system = MaskPredict()
    decoding = MaskPredictDecoding(iterations=2, length_candidates=3)


class TestGlat(SystemContract):
    system = Glat()
    decoding = MaskPredictDecoding(iterations=1, length_candidates=3)


class TestCtc(SystemContract):
    system = Ctc()
    decoding = CtcDecoding(prefix_beam=4)


class TestLevenshtein(SystemContract):
    """Insertion is also learned from finished texts. By default it is not, and an iteration may change a right translation."""

    system = Levenshtein(max_placeholders=20, from_whole=0.2)
    decoding = LevenshteinDecoding(iterations=2, length_candidates=5)


class TestDaTransformer(SystemContract):
    system = DaTransformer(upsampling=4)
    decoding = DagDecoding(prefix_beam=4)


class TestVanillaNat(SystemContract):
    system = VanillaNat()
    decoding = SinglePassDecoding(length_candidates=3)


class TestVanillaNatWithSoftCopy(SystemContract):
    system = VanillaNat(copy_source="soft")
    decoding = SinglePassDecoding(length_candidates=3, lengths="likeliest")


class TestNatReg(SystemContract):
    system = NatReg()
    decoding = SinglePassDecoding(length_candidates=3)


class TestFclNatInItsCurriculum(SystemContract):
    """Most of the contract looks at the middle of the training."""

    system = FclNat()
    decoding = SinglePassDecoding(length_candidates=3)


class TestFclNatAfterItsCurriculum(SystemContract):
    system = FclNat(curriculum_start=0.1, curriculum_end=0.3, pace="linear", whole_targets=False)
    decoding = SinglePassDecoding(length_candidates=3)


class TestHintNat(SystemContract):
    system = HintNat()
    decoding = SinglePassDecoding(length_candidates=3)

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _teacher(cls, tmp_path_factory: pytest.TempPathFactory) -> None:
        """Saves a teacher for the tests that train by way of an experiment."""
        cls.system = HintNat(teacher=str(saved_teacher(tmp_path_factory.mktemp("teacher") / "model")))

    def objective(self, settings: Mapping[str, Any]) -> MultiTaskObjective:
        """Eq. 1 with a teacher in memory."""
        objective = super().objective(settings)
        branch = branch_of(objective.translator, "nat")
        assert isinstance(branch, HintNatBranch)
        branch.use_teacher(teacher_of(objective.translator.config, vocabulary=VOCABULARY))
        return objective


class TestNadAd(SystemContract):
    system = NadAd()
    decoding = NadAdDecoding(beam=3)


def test_every_system_of_the_package_keeps_the_contract() -> None:
    assert {type(each.system) for each in SystemContract.__subclasses__()} >= {*BUILT_IN}
