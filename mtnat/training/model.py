"""A finished model: its experiment, its weights and its vocabularies, in one folder."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from mtnat.config import build, read_yaml, write_yaml
from mtnat.data import Vocabularies
from mtnat.decoding import DecoderName, DecodingConfig, TranslatedLine, translate
from mtnat.errors import ModelError, UserError
from mtnat.experiment import Experiment
from mtnat.model.translator import Translator

WEIGHTS, EXPERIMENT, VOCABULARY = "weights.pt", "experiment.yaml", "vocabulary"


@dataclass(frozen=True)
class Model:
    """A translator that can be used, and what it was trained as."""

    experiment: Experiment
    translator: Translator
    vocabularies: Vocabularies

    def translate(
        self,
        lines: Sequence[str],
        decoding: DecodingConfig | None = None,
        decoder: DecoderName | None = None,
        n_best: int = 1,
    ) -> list[TranslatedLine]:
        """What becomes of each line, in order.

        Args:
            decoding: other settings than the experiment's.
            decoder: another decoder than the experiment's.
            n_best: translations of each line, at most.

        Raises:
            UserError: the model lacks a decoder that this needs, or the search has fewer candidates than `n_best`.
        """
        config = decoding or self.experiment.decoding
        chosen = decoder or self.experiment.decoder
        if config.rerank == "at" and chosen == "nat" and not self.experiment.objective.trains_at:
            raise UserError("rerank: at needs a model with an AT decoder; got one that was trained without; leave it out.")
        return translate(self.translator, self.vocabularies, lines, config, chosen, n_best)


def save_model(model: Model, folder: Path) -> None:
    """Writes a model folder; whoever looks sees the former folder or the whole new one."""
    partial = folder.with_name(f"{folder.name}.partial-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    torch.save(model.translator.state_dict(), partial / WEIGHTS)
    (partial / EXPERIMENT).write_text(write_yaml(model.experiment), encoding="utf-8")
    model.vocabularies.save(partial / VOCABULARY)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def read_experiment(folder: Path) -> Experiment:
    """What a model was trained as, without its weights.

    Raises:
        ModelError: the folder is missing, or is not a model of this version.
    """
    missing = [name for name in (WEIGHTS, EXPERIMENT, VOCABULARY) if not (folder / name).exists()]
    if missing:
        raise ModelError(
            f"{folder}: is no model folder, {' and '.join(missing)} missing; give one such as outputs/quickstart/best."
        )
    try:
        return build(Experiment, read_yaml(folder / EXPERIMENT))
    except UserError as error:
        raise ModelError(f"{folder}: {problem}" for problem in error.problems) from None


def load_model(folder: str | Path, device: str | torch.device = "cpu") -> Model:
    """Reads a model folder.

    Raises:
        ModelError: the folder is missing, or is not a model of this version.
    """
    folder = Path(folder)
    experiment = read_experiment(folder)
    try:
        vocabularies = Vocabularies.load(folder / VOCABULARY)
        translator = experiment.build_translator(vocabularies)
        translator.load_state_dict(torch.load(folder / WEIGHTS, map_location="cpu", weights_only=True))
    except UserError as error:
        raise ModelError(f"{folder}: {problem}" for problem in error.problems) from None
    except (RuntimeError, OSError, EOFError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{folder}: cannot be loaded ({reason}); train it again or give another folder.") from None
    return Model(experiment, translator.to(device).eval(), vocabularies)
