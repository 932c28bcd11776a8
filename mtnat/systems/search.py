"""The search that translates with a branch."""

from mtnat.decoding import DecoderName, Decoding, FallbackSearch, Search
from mtnat.decoding.beam import BeamSearch
from mtnat.errors import UserError
from mtnat.model import Translator
from mtnat.systems.branch import branch_of


def search_of(translator: Translator, name: DecoderName, decoding: Decoding) -> Search:
    """Returns the search of a branch, with beam search as its fallback if the settings ask for it.

    Raises:
        ModelError: the model was trained without the branch.
        UserError: the settings need another branch that the model lacks.
    """
    search = branch_of(translator, name).search(decoding, translator)
    if decoding.fallback_below is None or name == "at":
        return search
    if "at" not in translator.branches:
        raise UserError("fallback_below: needs a model with an AT decoder; got one that was trained without; leave it out.")
    beam = branch_of(translator, "at").search(decoding, translator)
    assert isinstance(beam, BeamSearch)
    return FallbackSearch(search, beam, decoding)
