"""Tokenised sentence pairs on disk, memory-mapped."""

import errno
import json
from array import array
from collections.abc import Iterable, Sequence
from itertools import chain, compress, islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mtnat.errors import DataError, ResourceError
from mtnat.tokens import EOS

# N pairs, K pairs that are kept

META_FILE, TOKENS_FILE, STARTS_FILE, LENGTHS_FILE = "store.json", "tokens.bin", "starts.npy", "lengths.npy"
_PAIRS_AT_ONCE = 8_192

EncodedPair = tuple[Sequence[int], Sequence[int]]


class TokenStore:
    """A folder of tokenised sentence pairs, EOS included. Opening it reads only the metadata; the arrays are memory-mapped.

    `tokens.bin` holds the source of each pair, directly followed by its target, as uint16 (as uint32 for a vocabulary of
    more than 65,536 pieces). A store is pickled as its path.
    """

    def __init__(self, folder: Path) -> None:
        """Opens a folder that `write_store` has written.

        Raises:
            DataError: if the folder holds no complete store.
            ResourceError: if there is not enough memory to open it.
        """
        self.folder = folder
        try:
            meta = json.loads((folder / META_FILE).read_text(encoding="utf-8"))
            self.left_out: int = meta["left_out"]
            self.tokens: npt.NDArray[Any] = np.memmap(folder / TOKENS_FILE, meta["dtype"], mode="r", shape=(meta["tokens"],))
            self.starts_N: npt.NDArray[np.int64] = np.load(folder / STARTS_FILE, mmap_mode="r")
            self.lengths_N2: npt.NDArray[np.int32] = np.load(folder / LENGTHS_FILE, mmap_mode="r")
        except (OSError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, OSError) and error.errno == errno.ENOMEM:
                raise ResourceError(
                    f"{folder}: cannot be opened, because memory ran out; start fewer runs at once, or use more memory."
                ) from None
            raise DataError(
                f"{folder}: is not a complete token store ({error}); delete it and prepare the data again."
            ) from None

    def __len__(self) -> int:
        return len(self.starts_N)

    def __getitem__(self, index: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Returns the source and the target of a pair, each with its EOS."""
        start = int(self.starts_N[index])
        source, target = (int(length) for length in self.lengths_N2[index])
        return self.tokens[start : start + source], self.tokens[start + source : start + source + target]

    def __reduce__(self) -> tuple[type["TokenStore"], tuple[Path]]:
        return TokenStore, (self.folder,)


def write_store(folder: Path, pairs: Iterable[EncodedPair], *, largest_vocabulary: int, max_length: int) -> TokenStore:
    """Writes pairs of piece ids (without EOS) into a new store and opens it.

    Pairs with an empty side, or with more than `max_length` tokens on a side (EOS counted), are left out and counted.
    The pairs are streamed: memory grows by about 40 bytes a pair. The folder is complete only when this function has
    returned, so write into a temporary folder and rename it afterwards.

    Raises:
        DataError: if no pair is left.
    """
    dtype = np.dtype(np.uint16 if largest_vocabulary <= 1 << 16 else np.uint32)
    folder.mkdir(parents=True, exist_ok=True)
    lengths = array("i")
    left_out = 0
    remaining = iter(pairs)
    with (folder / TOKENS_FILE).open("wb") as file:
        while chunk := list(islice(remaining, _PAIRS_AT_ONCE)):
            tokens, lengths_K2 = _packed(chunk, dtype, max_length)
            tokens.tofile(file)
            lengths.frombytes(lengths_K2.tobytes())
            left_out += len(chunk) - len(lengths_K2)
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


def _packed(
    pairs: Sequence[EncodedPair], dtype: np.dtype[Any], max_length: int
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int32]]:
    """Returns the tokens of the kept pairs as one array, with EOS after each side, and the lengths with EOS as int32 [K, 2]."""
    pieces_N2 = np.fromiter(map(len, chain.from_iterable(pairs)), np.int32, 2 * len(pairs)).reshape(-1, 2)
    keep_N = np.all((pieces_N2 > 0) & (pieces_N2 < max_length), axis=1)  # "<" leaves room for EOS
    kept = list(compress(pairs, keep_N))
    pieces_K2 = pieces_N2[keep_N]
    pieces = np.fromiter(chain.from_iterable(chain.from_iterable(kept)), dtype, int(pieces_K2.sum()))
    return np.insert(pieces, np.cumsum(pieces_K2), EOS), pieces_K2 + 1
