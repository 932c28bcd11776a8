"""The system `blocks` is held to what every system promises."""

from nat_blocks import Blocks

from mtnat.decoding import MaskPredictDecoding
from mtnat.testing.system_contract import SystemContract


class TestBlocks(SystemContract):
    """All tests of the contract."""

    system = Blocks(share=0.7)
    decoding = MaskPredictDecoding(iterations=2, length_candidates=3)
