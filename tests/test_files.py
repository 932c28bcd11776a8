"""Files that are written atomically."""

import os
from contextlib import suppress
from pathlib import Path

from mtnat.files import whole_file, write_whole


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")
    with suppress(KeyboardInterrupt), whole_file(path) as file:
        file.write(b"new")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_keeps_pointing_to_its_file(tmp_path: Path) -> None:
    link, path = tmp_path / "link", tmp_path / "folder" / "file"
    path.parent.mkdir()
    link.symlink_to(path)
    for content in (b"first", b"second"):
        write_whole(link, content)
        assert (link.is_symlink(), path.read_bytes()) == (True, content)


def test_a_pipe_is_written_to_instead_of_being_replaced(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    write_whole(path, b"text")
    assert os.read(reader, 10) == b"text"
    os.close(reader)
    assert path.is_fifo()
