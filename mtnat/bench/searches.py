"""The searches that `bench decode` compares: those that one model supports."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mtnat.bench.report import Row
from mtnat.config import replace
from mtnat.decoding import DecoderName, Decoding
from mtnat.model import Precision
from mtnat.training import Model

BEAMS = (1, 5)


@dataclass(frozen=True, kw_only=True)
class SearchSetting:
    """A decoder and the settings of its search."""

    decoder: DecoderName
    name: str
    """What a person calls the settings, without the decoder and the reranker."""
    config: Decoding
    shown: tuple[str, ...]
    """Settings that are columns of the report."""

    @property
    def described(self) -> Row:
        """The settings as columns; those of the other decoder are None."""
        settings = {name: getattr(self.config, name) for name in self.shown}
        return {
            "decoder": self.decoder,
            "search": self.name,
            "passes": settings.get("iterations"),
            "length_candidates": settings.get("length_candidates"),
            "beam": settings.get("beam", settings.get("prefix_beam")),
            "rerank": settings.get("rerank"),
        }


def searches_of(model: Model, precision: Precision | None) -> list[SearchSetting]:
    """Returns the searches of the decoders that the model has. Settings that none of them fixes are those of the experiment.

    Args:
        precision: precision of all searches. By default fp32, and for presets that set a precision that of the preset.
    """
    decoding = model.experiment.decoding

    def setting(decoder: DecoderName, name: str, settings: Mapping[str, Any], shown: tuple[str, ...]) -> SearchSetting:
        named = {
            "precision": "fp32",
            "rerank": "none",
            "fallback_below": None,
            **settings,
            **({"precision": precision} if precision else {}),
        }
        return SearchSetting(decoder=decoder, name=name, config=replace(decoding, named), shown=shown)

    branches = model.experiment.branches
    found: list[SearchSetting] = []
    if "at" in branches:
        found += [setting("at", "greedy" if beam == 1 else f"beam {beam}", {"beam": beam}, ("beam",)) for beam in BEAMS]
    if "nat" in branches:
        columns = ("iterations", "length_candidates", "prefix_beam", "rerank")
        shown = tuple(name for name in columns if name in type(decoding).model_fields)
        plain = [setting("nat", name, {**settings, "rerank": "none"}, shown) for name, settings in decoding.compared.items()]
        found += plain
        if "at" in branches:
            several = [search for search in plain if model.search(search.config, "nat").most[1] > 1]  # else nothing to rerank
            found += [setting("nat", each.name, {**decoding.compared[each.name], "rerank": "at"}, shown) for each in several]
            if decoding.fallback_below is not None:
                found.append(setting("nat", "fallback", decoding.model_dump(include={"fallback_below", "rerank"}), shown))
    return found


def name_of(row: Row) -> str:
    """Returns a readable name of the search of a row."""
    reranked = ", reranked" if row["rerank"] == "at" else ""
    return f"{str(row['decoder']).upper()}, {row['search']}{reranked}"


def named(row: Row) -> Row:
    """Returns the row for a table, with a name in place of the settings."""
    described = ("decoder", "search", "passes", "length_candidates", "beam", "rerank")
    return {"search": name_of(row), **{name: figure for name, figure in row.items() if name not in described}}
