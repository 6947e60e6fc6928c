"""The configuration file, the state directory, and the files that are made in it."""

import stat
from pathlib import Path

import pytest
from attrs import evolve

from gateway.config.files import read_config
from gateway.config.problems import ConfigError
from gateway.config.schema import Config
from gateway.config.state import find_state_dir, own_secret, sqlite_file
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


PROVIDERS = 'providers: {one: {base_url: "https://x.example/v1", speaks: [openai_chat], auth: {bearer: {env: K}}}}\n'


def config_at(folder: Path, text: str = "", **environ: str) -> Config:
    path = folder / "providers.yaml"
    path.write_text(PROVIDERS + text)
    return read_config(str(path), environ)


def test_state_lies_beside_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never in the folder that the gateway happens to run in: beside the file, where the unit says, or in XDG's place."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    config = config_at(tmp_path)
    assert find_state_dir(config, {}) == tmp_path / "state"
    assert find_state_dir(config, {"STATE_DIRECTORY": "/var/lib/gateway:/x"}) == Path("/var/lib/gateway")
    assert find_state_dir(config_at(tmp_path, 'store: {url: "sqlite:/data/x.db"}'), {}) == Path("/data")
    assert find_state_dir(config_at(tmp_path, 'store: {url: "redis://h:1"}'), {}) == tmp_path / "state"
    assert find_state_dir(config_at(tmp_path, 'store: {url: "memory:"}'), {}) is None
    assert sqlite_file(config, "/var/lib/gateway") == Path("/var/lib/gateway/gateway.db")


def test_where_nothing_can_be_written_xdgs_place_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a file that only root may write, and for a file on standard input, state is in `$XDG_STATE_HOME/gateway`."""
    config = config_at(tmp_path)
    assert find_state_dir(evolve(config, folder=""), {"XDG_STATE_HOME": "/xdg"}) == Path("/xdg/gateway")
    monkeypatch.setattr("gateway.config.state.os.access", lambda *_: False)
    assert find_state_dir(config, {"XDG_STATE_HOME": "/xdg"}) == Path("/xdg/gateway")
    assert find_state_dir(config, {}) == Path("~/.local/state/gateway").expanduser()


def test_secrets_of_the_environment_are_stripped(tmp_path: Path) -> None:
    """A line end behind a secret is no part of it; what still cannot stand in a header names its variable."""
    config = config_at(tmp_path, K=" sk-abc\r\n")
    assert [one.value for one in config.providers["one"].auth.secrets] == ["sk-abc"]
    for value in ("sk-a\nb", "sk-\u00e9", "sk\x7f"):
        with pytest.raises(ConfigError, match="the secret from env K has characters that no header can carry"):
            config_at(tmp_path, K=value)
        with pytest.raises(ConfigError, match=r"keys\.a\.secret: the secret from env G has characters"):
            config_at(tmp_path, "keys: {a: {secret: {env: G}}}", K="sk", G=value)


@pytest.mark.parametrize("text", ["", "# nothing\n", "server: {}\n", "providers:\n", "providers: {}\nroutes: {}\n"])
def test_a_file_that_was_cut_off_is_none(tmp_path: Path, text: str) -> None:
    """A file without providers is not taken, and the message has its place."""
    path = tmp_path / "providers.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_config(str(path), {})
    assert all(line.startswith(f"{path}:1:") for line in caught.value.lines())


@pytest.mark.parametrize(
    ("listen", "base", "is_own"),
    [
        ("127.0.0.1:8080", "http://localhost:8080/v1", True),
        ("127.0.0.1:8080", "http://127.0.0.1:8080/v1", True),
        ("0.0.0.0:8080", "http://localhost:8080/v1", True),
        ("[::]:8080", "http://[::1]:8080/v1", True),
        ("10.0.0.5:80", "http://10.0.0.5/v1", True),
        ("10.0.0.5:443", "https://10.0.0.5/v1", True),
        ("127.0.0.1:8080", "http://localhost:8081/v1", False),
        ("127.0.0.1:8080", "http://10.0.0.5:8080/v1", False),
        ("10.0.0.5:8080", "http://localhost:8080/v1", False),
        ("unix:/run/g.sock", "http://localhost:8080/v1", False),
    ],
)
def test_a_gateway_that_would_ask_itself_is_refused(tmp_path: Path, listen: str, base: str, is_own: bool) -> None:
    """A provider at the gateway's own address is a problem, whichever of its addresses is written."""
    text = PROVIDERS.replace("https://x.example/v1", base) + f'server: {{listen: ["{listen}"], open: true}}\n'
    path = tmp_path / "providers.yaml"
    path.write_text(text)
    if is_own:
        with pytest.raises(ConfigError, match=r"providers\.one\.base_url: .* is this gateway itself"):
            read_config(str(path), {"K": "k"})
        assert read_config(str(path), {"K": "k"}, ["127.0.0.1:1"])
    else:
        assert read_config(str(path), {"K": "k"})
