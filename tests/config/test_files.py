"""Files of the state directory: the gateway's own secret, and files replaced whole."""

import stat
from pathlib import Path

import pytest

from gateway.config.state import own_secret
from gateway.store.private_file import replace_private


def test_our_own_secret_is_made_once(tmp_path: Path) -> None:
    """The gateway's secret is made once, for this user only; without a state directory each call makes one."""
    made = own_secret(tmp_path)
    assert len(made) == 64 and own_secret(tmp_path) == made
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600
    assert own_secret(None) != own_secret(None)
    (tmp_path / "secret").write_bytes(b"")
    assert own_secret(tmp_path) != made, "an empty file is no secret"


def test_files_are_replaced_whole(tmp_path: Path) -> None:
    """A file is replaced whole, and a failed replacement leaves nothing behind."""
    path = tmp_path / "file"
    replace_private(path, b"one")
    replace_private(path, b"two")
    assert path.read_bytes() == b"two" and list(tmp_path.iterdir()) == [path]
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(OSError):
        replace_private(folder, b"x")
    assert sorted(tmp_path.iterdir()) == [path, folder]
