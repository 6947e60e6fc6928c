"""Files of this user alone, replaced whole."""

import os
import stat
from pathlib import Path

import pytest

from gateway.store.private_file import private_directory, replace_private, touch_private


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


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    """A link in the file's place is replaced by the file; what it led to stays as it was."""
    path, other = tmp_path / "file", tmp_path / "other"
    other.write_bytes(b"other")
    path.symlink_to(other)
    replace_private(path, b"one")
    assert path.read_bytes() == b"one" and not path.is_symlink() and other.read_bytes() == b"other"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_link_is_not_touched(tmp_path: Path) -> None:
    """A database that is a link is refused: somebody else may have put it there."""
    path = tmp_path / "file"
    path.symlink_to(tmp_path / "nothing")
    with pytest.raises(OSError):
        touch_private(path)
    path.unlink()
    touch_private(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and path.read_bytes() == b""


def test_a_directory_that_others_may_write_to_is_mended(tmp_path: Path) -> None:
    """A state directory is made for us alone; one of ours that others may write to loses that."""
    private_directory(tmp_path / "state")
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    (tmp_path / "state").chmod(0o777)
    private_directory(tmp_path / "state")
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o755


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    """If the content cannot be put in place, OSError is raised and nothing half-written stays."""
    with pytest.raises(OSError):
        replace_private(tmp_path / "missing" / "file", b"x")
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(OSError):
        replace_private(folder, b"x")
    assert list(tmp_path.iterdir()) == [folder] and folder.is_dir()
