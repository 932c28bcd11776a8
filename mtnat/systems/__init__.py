"""Systems: kinds of non-autoregressive translation, each with its branch, losses and search."""

from mtnat.systems.at import AtBranch
from mtnat.systems.branch import Branch, branch_of
from mtnat.systems.copied_source import CopiedSource, CopiedSourceBranch, SinglePassDecoding, SinglePassSearch, VanillaNat
from mtnat.systems.ctc import Ctc, CtcBranch, CtcDecoding, CtcSearch
from mtnat.systems.curriculum import FclNat, FclNatBranch
from mtnat.systems.da_transformer import DagDecoding, DagSearch, DaTransformer, DaTransformerBranch, Graph
from mtnat.systems.glat import Glat, GlatBranch
from mtnat.systems.hints import HintNat, HintNatBranch
from mtnat.systems.levenshtein import Levenshtein, LevenshteinBranch
from mtnat.systems.levenshtein_search import LevenshteinDecoding, LevenshteinSearch
from mtnat.systems.mask_predict import LengthBranch, LengthHeadBranch, MaskPredict, MaskPredictBranch
from mtnat.systems.nad_ad import NadAd, NadAdBranch, NadAdDecoding, NadAdSearch
from mtnat.systems.nat_reg import NatReg, NatRegBranch
from mtnat.systems.search import search_of
from mtnat.systems.system import BranchName, System
from mtnat.systems.taught import TaughtBranch

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
    "DaTransformer",
    "DaTransformerBranch",
    "DagDecoding",
    "DagSearch",
    "FclNat",
    "FclNatBranch",
    "Glat",
    "GlatBranch",
    "Graph",
    "HintNat",
    "HintNatBranch",
    "LengthBranch",
    "LengthHeadBranch",
    "Levenshtein",
    "LevenshteinBranch",
    "LevenshteinDecoding",
    "LevenshteinSearch",
    "MaskPredict",
    "MaskPredictBranch",
    "NadAd",
    "NadAdBranch",
    "NadAdDecoding",
    "NadAdSearch",
    "NatReg",
    "NatRegBranch",
    "SinglePassDecoding",
    "SinglePassSearch",
    "System",
    "TaughtBranch",
    "VanillaNat",
    "branch_of",
    "search_of",
]
