"""Files for the user: whole or not at all, and refused before the work rather than after it."""

import os
import stat

import pytest

from fastkmeans.files import check_writable, written_whole


def test_written_and_replaced(tmp_path):
    path = tmp_path / "out.txt"
    for content in (b"first", b"second"):
        with written_whole(path) as stream:
            stream.write(content)
            assert not path.exists() or path.read_bytes() != content
        assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["out.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_failure_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "out.txt"
    path.write_bytes(b"precious")
    with pytest.raises(error), written_whole(path) as stream:
        stream.write(b"half")
        raise error
    assert path.read_bytes() == b"precious"
    assert os.listdir(tmp_path) == ["out.txt"]


def test_links_and_permissions_stay(tmp_path):
    target, link = tmp_path / "target.txt", tmp_path / "link.txt"
    target.write_bytes(b"old")
    target.chmod(0o640)
    link.symlink_to(target)
    with written_whole(link) as stream:
        stream.write(b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_new_files_get_the_usual_permissions(tmp_path):
    (tmp_path / "usual").write_bytes(b"")
    with written_whole(tmp_path / "ours"):
        pass
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_devices_are_written_directly():
    with written_whole(os.devnull) as stream:
        stream.write(b"gone")
    assert not os.path.isfile(os.devnull)


def test_check_writable_leaves_nothing(tmp_path):
    check_writable(tmp_path / "new.csv")
    (tmp_path / "there.csv").write_bytes(b"precious")
    check_writable(tmp_path / "there.csv")
    assert os.listdir(tmp_path) == ["there.csv"]
    assert (tmp_path / "there.csv").read_bytes() == b"precious"


def test_check_writable_refuses(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="it is a folder"):
        check_writable(tmp_path)
    with pytest.raises(ValueError, match=r"cannot write .*there is no folder .*missing"):
        check_writable(tmp_path / "missing" / "out.csv")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"cannot write nix/out\.csv: there is no folder nix"):
        check_writable("nix/out.csv")
    (tmp_path / "locked.csv").write_bytes(b"")
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith("locked.csv"))
    with pytest.raises(ValueError, match="it is write-protected"):
        check_writable(tmp_path / "locked.csv")


def test_check_writable_asks_the_system(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(ValueError, match=r"out\.csv: Permission denied"):
        check_writable(tmp_path / "out.csv")
