"""Systems: kinds of non-autoregressive translation, each with its branch, losses and search."""

from mtnat.systems.at import AtBranch, reranker_of
from mtnat.systems.branch import Branch, branch_of
from mtnat.systems.ctc import Ctc, CtcBranch, CtcDecoding, CtcSearch
from mtnat.systems.glat import Glat, GlatBranch
from mtnat.systems.levenshtein import Levenshtein, LevenshteinBranch
from mtnat.systems.levenshtein_search import LevenshteinDecoding, LevenshteinSearch
from mtnat.systems.mask_predict import LengthBranch, MaskPredict, MaskPredictBranch
from mtnat.systems.system import BranchName, System

__all__ = [
    "AtBranch",
    "Branch",
    "BranchName",
    "Ctc",
    "CtcBranch",
    "CtcDecoding",
    "CtcSearch",
    "Glat",
    "GlatBranch",
    "LengthBranch",
    "Levenshtein",
    "LevenshteinBranch",
    "LevenshteinDecoding",
    "LevenshteinSearch",
    "MaskPredict",
    "MaskPredictBranch",
    "System",
    "branch_of",
    "reranker_of",
]
