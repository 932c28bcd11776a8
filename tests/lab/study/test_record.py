"""Names of trials as names of folders."""

from pathlib import Path

import pytest

from mtnat.lab.study.record import slug

NAMES = {"Fixed λ, 2-1": "fixed-λ-2-1", "///": "unnamed", "..": "unnamed", "机器": "机器"}


@pytest.mark.parametrize(("name", "folder"), NAMES.items())
def test_a_folder_has_the_words_of_the_name(name: str, folder: str) -> None:
    assert slug(name) == folder


def test_long_names_have_different_folders_that_a_file_system_accepts(tmp_path: Path) -> None:
    names = ["机器翻译" * 25 + end for end in ("一", "二")] + ["a" * 1_000, "a" * 1_001]
    folders = {slug(name) for name in names}
    assert len(folders) == len(names)
    for folder in folders:
        (tmp_path / f"damaged-{folder}-seed123456789-300000steps").mkdir()
