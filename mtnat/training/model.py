"""A trained model: its experiment, weights and vocabularies, in one folder."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from mtnat.config import build, read_yaml, write_yaml
from mtnat.data import Vocabularies
from mtnat.decoding import DecoderName, Decoding, Search, TranslatedLine, translate
from mtnat.errors import ModelError, UserError
from mtnat.experiment import Experiment
from mtnat.files import whole_file, write_whole
from mtnat.formats import MODEL_FORMAT, check_format, write_format
from mtnat.model.translator import Translator
from mtnat.systems import search_of
from mtnat.training.saved import read_saved, reason_of

WEIGHTS, EXPERIMENT, VOCABULARY = "weights.pt", "experiment.yaml", "vocabulary"


@dataclass(frozen=True)
class Model:
    """A trained translator with its experiment and vocabularies."""

    experiment: Experiment
    translator: Translator
    vocabularies: Vocabularies

    def translate(
        self,
        lines: Sequence[str],
        decoding: Decoding | None = None,
        decoder: DecoderName | None = None,
        n_best: int = 1,
    ) -> list[TranslatedLine]:
        """Translates lines, in order.

        Args:
            decoding: settings of decoding, of a kind that fits the system; by default the experiment's.
            decoder: the decoder that translates; by default the experiment's.
            n_best: maximum number of translations of each line.

        Raises:
            UserError: the model was trained without a decoder that is needed, or the search has fewer candidates than `n_best`.
        """
        config = decoding or self.experiment.decoding
        return translate(self.translator, self.vocabularies, lines, config, self.search(config, decoder), n_best)

    def search(self, decoding: Decoding | None = None, decoder: DecoderName | None = None) -> Search:
        """Returns the search that `translate` uses with these settings.

        Raises:
            UserError: the model was trained without a decoder that is needed.
        """
        config, chosen = decoding or self.experiment.decoding, decoder or self.experiment.decoder
        return search_of(self.translator, chosen, config)


def save_model(model: Model, folder: Path) -> None:
    """Writes a model folder. It is written under a temporary name and renamed, so that no reader sees a partial folder.

    Raises:
        OSError: if it cannot be written; a former model is kept.
    """
    for left in folder.parent.glob(f"{folder.name}.partial-*"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    partial = folder.with_name(f"{folder.name}.partial-{os.getpid()}")
    try:
        partial.mkdir(parents=True)
        write_format(partial, MODEL_FORMAT)
        with whole_file(partial / WEIGHTS) as file:
            torch.save(model.translator.state_dict(), file)
        write_whole(partial / EXPERIMENT, write_yaml(model.experiment).encode())
        model.vocabularies.save(partial / VOCABULARY)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def read_experiment(folder: Path) -> Experiment:
    """Reads the experiment of a model, without its weights.

    Raises:
        ModelError: the folder is missing or is not a model of this version.
    """
    check_format(folder, MODEL_FORMAT, ModelError)
    missing = [name for name in (WEIGHTS, EXPERIMENT, VOCABULARY) if not (folder / name).exists()]
    if missing:
        raise ModelError(
            f"{folder}: is not a model folder, {' and '.join(missing)} missing; give one such as outputs/quickstart/best."
        )
    try:
        return build(Experiment, read_yaml(folder / EXPERIMENT))
    except UserError as error:  # its problems begin with the path of the file
        raise ModelError(error.problems) from None


def load_model(folder: str | Path, device: str | torch.device = "cpu") -> Model:
    """Reads a model folder.

    Raises:
        ModelError: the folder is missing or is not a model of this version.
    """
    folder = Path(folder)
    experiment = read_experiment(folder)
    try:
        vocabularies = Vocabularies.load(folder / VOCABULARY)
    except UserError as error:  # its problems begin with the path of the file
        raise ModelError(error.problems) from None
    weights = read_saved(folder / WEIGHTS, "train the model again, or give another folder")
    try:
        translator = experiment.build_translator(vocabularies)
        translator.load_state_dict(weights)
    except UserError as error:
        raise ModelError(f"{folder}: {problem}" for problem in error.problems) from None
    except RuntimeError as error:
        raise ModelError(
            f"{folder}: cannot be loaded ({reason_of(error)}); train the model again, or give another folder."
        ) from None
    return Model(experiment, translator.to(device).eval(), vocabularies)
