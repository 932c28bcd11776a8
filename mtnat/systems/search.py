"""The search that translates with a branch."""

from mtnat.decoding import DecoderName, Decoding, FallbackSearch, RerankedSearch, Search
from mtnat.decoding.beam import BeamSearch
from mtnat.errors import UserError
from mtnat.model import Translator
from mtnat.systems.branch import branch_of


def search_of(translator: Translator, name: DecoderName, decoding: Decoding) -> Search:
    """Returns the search of a branch. If the settings ask for it, the AT decoder reranks the candidates of a NAT branch, and
    beam search is its fallback.

    Raises:
        ModelError: the model was trained without the branch.
        UserError: the settings need an AT decoder that the model lacks.
    """
    search = branch_of(translator, name).search(decoding)
    if name == "at":
        return search
    if decoding.rerank == "at":
        search = RerankedSearch(search, _beam_search(translator, decoding, "rerank: at").decoder, decoding)
    if decoding.fallback_below is not None:
        search = FallbackSearch(search, _beam_search(translator, decoding, "fallback_below:"), decoding)
    return search


def _beam_search(translator: Translator, decoding: Decoding, setting: str) -> BeamSearch:
    if "at" not in translator.branches:
        raise UserError(f"{setting} needs a model with an AT decoder; got one that was trained without; leave it out.")
    search = branch_of(translator, "at").search(decoding)
    assert isinstance(search, BeamSearch)
    return search
