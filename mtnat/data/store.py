"""Tokenised sentence pairs on disk, memory-mapped."""

import json
from array import array
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mtnat.errors import DataError
from mtnat.tokens import EOS

# N pairs

META_FILE, TOKENS_FILE, STARTS_FILE, LENGTHS_FILE = "store.json", "tokens.bin", "starts.npy", "lengths.npy"
_WRITE_TOKENS = 1 << 20

EncodedPair = tuple[Sequence[int], Sequence[int]]


class TokenStore:
    """A folder of sentence pairs as tokens, EOS included; opening it reads nothing but a few headers.

    `tokens.bin` holds each pair's source and right behind it its target, as uint16 or, with more than 65,536 pieces,
    uint32. It pickles as its path.
    """

    def __init__(self, folder: Path) -> None:
        """Opens what `write_store` wrote.

        Raises:
            DataError: the folder holds no complete store.
        """
        self.folder = folder
        try:
            meta = json.loads((folder / META_FILE).read_text(encoding="utf-8"))
            self.left_out: int = meta["left_out"]
            self.tokens: npt.NDArray[Any] = np.memmap(folder / TOKENS_FILE, meta["dtype"], mode="r", shape=(meta["tokens"],))
            self.starts_N: npt.NDArray[np.int64] = np.load(folder / STARTS_FILE, mmap_mode="r")
            self.lengths_N2: npt.NDArray[np.int32] = np.load(folder / LENGTHS_FILE, mmap_mode="r")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{folder}: is no complete token store ({error}); delete it and prepare the data again.") from None

    def __len__(self) -> int:
        return len(self.starts_N)

    def __getitem__(self, index: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Source and target of a pair, each with its EOS."""
        start = int(self.starts_N[index])
        source, target = (int(length) for length in self.lengths_N2[index])
        return self.tokens[start : start + source], self.tokens[start + source : start + source + target]

    def __reduce__(self) -> tuple[type["TokenStore"], tuple[Path]]:
        return TokenStore, (self.folder,)


def write_store(folder: Path, pairs: Iterable[EncodedPair], *, largest_vocabulary: int, max_length: int) -> TokenStore:
    """Streams pairs of piece ids (without EOS) into a new store, at some 30 bytes of memory for each pair.

    Pairs with an empty side, or with more than `max_length` tokens on a side (EOS counted), are left out and counted.
    The caller makes the folder appear in its place only when this has returned.
    """
    dtype = np.dtype(np.uint16 if largest_vocabulary <= 1 << 16 else np.uint32)
    folder.mkdir(parents=True, exist_ok=True)
    lengths = array("i")
    tokens: list[int] = []
    left_out = 0
    with (folder / TOKENS_FILE).open("wb") as file:
        for source, target in pairs:
            if not 0 < len(source) < max_length or not 0 < len(target) < max_length:
                left_out += 1
                continue
            tokens.extend(chain(source, (EOS,), target, (EOS,)))
            lengths.extend((len(source) + 1, len(target) + 1))
            if len(tokens) >= _WRITE_TOKENS:
                np.array(tokens, dtype).tofile(file)
                tokens.clear()
        np.array(tokens, dtype).tofile(file)
    lengths_N2 = np.frombuffer(lengths, np.int32).reshape(-1, 2)
    ends_N = np.cumsum(lengths_N2.sum(axis=1, dtype=np.int64))
    if not len(ends_N):
        raise DataError(
            "data.train: every pair has an empty side or exceeds data.max_length; give more text or raise max_length."
        )
    np.save(folder / LENGTHS_FILE, lengths_N2)
    np.save(folder / STARTS_FILE, np.concatenate([[0], ends_N[:-1]]))
    meta = {"dtype": dtype.name, "tokens": int(ends_N[-1]), "left_out": left_out}
    (folder / META_FILE).write_text(json.dumps(meta), encoding="utf-8")
    return TokenStore(folder)
