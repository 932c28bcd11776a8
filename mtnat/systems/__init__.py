"""Systems: kinds of non-autoregressive translation, each with its branch, losses and search."""

from mtnat.systems.at import AtBranch, reranker_of
from mtnat.systems.branch import Branch, branch_of
from mtnat.systems.copied_source import CopiedSource, CopiedSourceBranch, SinglePassDecoding, SinglePassSearch, VanillaNat
from mtnat.systems.ctc import Ctc, CtcBranch, CtcDecoding, CtcSearch
from mtnat.systems.glat import Glat, GlatBranch
from mtnat.systems.mask_predict import LengthBranch, LengthHeadBranch, MaskPredict, MaskPredictBranch
from mtnat.systems.system import BranchName, System

__all__ = [
    "AtBranch",
    "Branch",
    "BranchName",
    "CopiedSource",
    "CopiedSourceBranch",
    "Ctc",
    "CtcBranch",
    "CtcDecoding",
    "CtcSearch",
    "Glat",
    "GlatBranch",
    "LengthBranch",
    "LengthHeadBranch",
    "MaskPredict",
    "MaskPredictBranch",
    "SinglePassDecoding",
    "SinglePassSearch",
    "System",
    "VanillaNat",
    "branch_of",
    "reranker_of",
]
