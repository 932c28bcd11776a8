"""The systems that `bench decode` compares: the searches that one model supports."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mtnat.bench.report import Row
from mtnat.config import replace
from mtnat.decoding import PRESETS, DecoderName, DecodingConfig
from mtnat.experiment import Experiment
from mtnat.model import Precision

BEAMS = (1, 5)
PASSES = (1, 2, 4, 10)
LENGTH_CANDIDATES = 5


@dataclass(frozen=True, kw_only=True)
class System:
    """A decoder and its settings."""

    decoder: DecoderName
    preset: str | None
    """Name in `PRESETS`; None for the AT decoder."""
    config: DecodingConfig

    @property
    def described(self) -> Row:
        """The settings as figures; those of the other decoder are None."""
        is_nat = self.decoder == "nat"
        return {
            "decoder": self.decoder,
            "passes": self.config.iterations if is_nat else None,
            "length_candidates": self.config.length_candidates if is_nat else None,
            "beam": None if is_nat else self.config.beam,
            "preset": self.preset,
            "rerank": self.config.rerank if is_nat else None,
        }


def systems_of(experiment: Experiment, precision: Precision | None) -> list[System]:
    """Returns the systems whose decoders the model has. Settings that a system does not fix are those of the experiment.

    Args:
        precision: precision of all systems. By default fp32, and for the presets `fast` and `fastest` that of the preset.
    """

    def system(decoder: DecoderName, preset: str | None, settings: Mapping[str, Any]) -> System:
        named = {**PRESETS[preset or "paper"], **settings, **({"precision": precision} if precision else {})}
        return System(decoder=decoder, preset=preset, config=replace(experiment.decoding, named))

    objective = experiment.objective
    systems: list[System] = []
    if objective.trains_at:
        systems += [system("at", None, {"beam": beam}) for beam in BEAMS]
    if objective.trains_nat:
        for rerank in ("none", "at") if objective.trains_at else ("none",):
            chosen = {"length_candidates": LENGTH_CANDIDATES, "rerank": rerank}
            systems += [system("nat", "paper", {**chosen, "iterations": passes}) for passes in PASSES]
            systems.append(system("nat", "fast", {"rerank": rerank}))
            if rerank == "none":  # `fastest` has a single candidate, so there is nothing to rerank
                systems.append(system("nat", "fastest", {}))
    return systems


def name_of(row: Row) -> str:
    """Returns a readable name of the system of a row."""
    if row["decoder"] == "at":
        return "AT, greedy" if row["beam"] == 1 else f"AT, beam {row['beam']}"
    reranked = ", reranked" if row["rerank"] == "at" else ""
    passes = "1 pass" if row["passes"] == 1 else f"{row['passes']} passes"
    return f"NAT, {passes if row['preset'] == 'paper' else row['preset']}{reranked}"


def named(row: Row) -> Row:
    """Returns the row for a table, with a name in place of the settings."""
    described = ("decoder", "passes", "length_candidates", "beam", "preset", "rerank")
    return {"system": name_of(row), **{name: figure for name, figure in row.items() if name not in described}}
