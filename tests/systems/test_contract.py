"""The contract of `mtnat.testing` on every system of the package."""

from mtnat.decoding import MaskPredictDecoding
from mtnat.systems import Ctc, CtcDecoding, Glat, Levenshtein, LevenshteinDecoding, MaskPredict
from mtnat.systems.registry import BUILT_IN
from mtnat.testing.system_contract import SystemContract


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
    system = Levenshtein(max_placeholders=20, from_whole=0.2)
    decoding = LevenshteinDecoding(iterations=2, length_candidates=5)


def test_every_system_of_the_package_keeps_the_contract() -> None:
    assert {type(each.system) for each in SystemContract.__subclasses__()} >= {*BUILT_IN}
