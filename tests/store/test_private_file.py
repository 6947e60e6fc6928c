"""Files of this user alone, replaced whole."""

import os
import stat
from pathlib import Path

import pytest

from gateway.store.private_file import replace_private


@pytest.fixture(autouse=True)
def _open_mask() -> object:
    """Take all bits that a careless umask leaves."""
    before = os.umask(0)
    yield
    os.umask(before)


def test_only_this_user_may_read_it(tmp_path: Path) -> None:
    """A new file has mode 0600 whatever the umask, and so has one that replaces an open file."""
    path = tmp_path / "file"
    replace_private(path, b"one")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o666)
    replace_private(path, b"two")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and path.read_bytes() == b"two"


def test_a_reader_keeps_the_old_content(tmp_path: Path) -> None:
    """A reader that has opened the file reads the old content to its end, and nothing else is left in the folder."""
    path = tmp_path / "file"
    replace_private(path, b"old")
    with path.open("rb") as reader:
        replace_private(path, b"newer")
        assert reader.read() == b"old"
    assert path.read_bytes() == b"newer" and list(tmp_path.iterdir()) == [path]


def test_what_a_crash_has_left_is_written_over(tmp_path: Path) -> None:
    """A half-written file of an earlier process with this id is no obstacle, and its mode does not stay."""
    path, left = tmp_path / "file", tmp_path / f".file.{os.getpid()}"
    left.write_bytes(b"half of something longer")
    left.chmod(0o666)
    replace_private(path, b"one")
    assert path.read_bytes() == b"one" and not left.exists()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    """If the content cannot be put in place, OSError is raised and nothing half-written stays."""
    with pytest.raises(OSError):
        replace_private(tmp_path / "missing" / "file", b"x")
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(OSError):
        replace_private(folder, b"x")
    assert list(tmp_path.iterdir()) == [folder] and folder.is_dir()
