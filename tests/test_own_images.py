"""The hash by which own images count: of names and contents, read again only where they may differ."""

import os

import pytest

from engram.files import own_images
from engram.files.own_images import content_hash


@pytest.fixture
def folder(tmp_path):
    images = tmp_path / "images"
    for name in ("cat/1.png", "dog/2.png"):
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        (images / name).write_bytes(name.encode())
    return images


@pytest.fixture
def hashed(folder, tmp_path):
    return lambda: content_hash(folder, tmp_path / "cache.json")


def test_touched_and_hidden_files_and_what_systems_leave_behind_do_not_count(folder, hashed):
    before = hashed()
    os.utime(folder / "cat/1.png", (1, 1))
    (folder / ".DS_Store").write_text("x")
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX/1.png").write_text("x")
    (folder / "dog/Thumbs.db").write_text("x")
    assert hashed() == before


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "cat/1.png").write_bytes(b"cat/X.png"),  # of the same size
        lambda folder: (folder / "cat/1.png").unlink(),
        lambda folder: (folder / "cat/3.png").write_bytes(b"3"),
        lambda folder: (folder / "cat").rename(folder / "lynx"),
        lambda folder: (folder / "cat/1.png").rename(folder / "dog/1.png"),
    ],
    ids=["overwritten", "deleted", "added", "class renamed", "moved"],
)
def test_any_other_change_counts(folder, hashed, change):
    before = hashed()
    change(folder)
    assert hashed() != before


def test_contents_are_read_once(folder, hashed, monkeypatch):
    before = hashed()
    monkeypatch.setattr(own_images, "_content", lambda files: pytest.fail("was read again"))
    assert hashed() == before


def test_images_behind_a_link_count_and_a_link_in_a_circle_ends(folder, hashed, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/9.png").write_bytes(b"9")
    (folder / "more").symlink_to(tmp_path / "elsewhere")
    (folder / "circle").symlink_to(folder)
    before = hashed()
    (tmp_path / "elsewhere/9.png").write_bytes(b"8")
    assert hashed() != before


def test_one_file_counts_by_its_content_and_a_damaged_cache_is_made_again(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"1")
    (tmp_path / "cache.json").write_text("{")
    one = content_hash(tmp_path / "a.npz", tmp_path / "cache.json")
    (tmp_path / "b.npz").write_bytes(b"1")
    assert content_hash(tmp_path / "b.npz", tmp_path / "cache.json") == one
    assert content_hash(tmp_path / "absent", tmp_path / "cache.json") == "absent"
