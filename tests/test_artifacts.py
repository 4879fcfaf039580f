"""Artifacts are whole, labelled and checked; a damaged one is named and never read as numbers."""

import h5py
import numpy as np
import pytest
import xarray as xr

from engram.errors import UserError
from engram.files import artifacts
from engram.files.artifacts import variable

VALUES = np.arange(600, dtype=np.float32).reshape(2, 300)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "deep" / "scores.h5"
    variables = {
        "score": variable(("epoch", "sample"), VALUES, "nats", "memorization score"),
        "epoch": variable(("epoch",), [5, 10], "1", "epoch"),
        "flag": variable(("sample",), VALUES[0] > 3, "1", "a flag"),
    }
    artifacts.write(path, "made_up", variables, {"experiment": "e", "seed": 1})
    return path


def test_what_is_written_is_read_back(path):
    stored = artifacts.read(path, "made_up")
    assert np.array_equal(stored.score, VALUES) and stored.score.dtype == np.float32
    assert np.array_equal(stored.flag, VALUES[0] > 3) and stored.flag.dtype == bool
    assert stored.attrs["experiment"] == "e" and stored.attrs["format_version"] == artifacts.FORMAT_VERSION


def test_a_selection_reads_only_that_part(path):
    stored = artifacts.read(path, "made_up", ["score"], epoch=10)
    assert list(stored.data_vars) == ["score"] and np.array_equal(stored.score, VALUES[1])


def test_it_opens_in_xarray_and_h5py_with_named_axes_and_units(path):
    with xr.open_dataset(path, engine="h5netcdf") as stored:
        assert stored.score.dims == ("epoch", "sample") and stored.score.attrs["units"] == "nats"
        assert list(stored.epoch) == [5, 10] and list(stored.sample[:3]) == [0, 1, 2]
    with h5py.File(path) as file:
        assert [axis.keys()[0] for axis in file["score"].dims] == ["epoch", "sample"]
        assert all({"units", "long_name"} <= set(values.attrs) for values in file.values())


def test_nothing_is_left_beside_a_finished_file(path):
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_truncated_file_is_refused_with_the_way_to_rebuild_it(path):
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"scores.h5: is damaged .* delete it and run `snakemake"):
        artifacts.read(path, "made_up")


def test_a_flipped_bit_in_the_numbers_is_noticed(path):
    content = bytearray(path.read_bytes())
    where = content.find(VALUES.tobytes()[400:480])
    assert where > 0
    content[where] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="is damaged"):
        artifacts.read(path, "made_up")


def test_another_kind_a_missing_file_and_a_foreign_file_are_refused(path, tmp_path):
    with pytest.raises(UserError, match="is 'made_up', format 1, not 'models'"):
        artifacts.read(path, "models")
    with pytest.raises(UserError, match="no such file"):
        artifacts.read(tmp_path / "nowhere.h5", "made_up")
    (tmp_path / "text.h5").write_text("not HDF5")
    with pytest.raises(UserError, match="is damaged or not an engram artifact"):
        artifacts.read(tmp_path / "text.h5", "made_up")


def test_values_that_are_not_finite_are_refused_unless_they_have_a_meaning(tmp_path):
    dims, values, attributes = variable(("sample",), [1.0, np.nan], "nats", "x")
    artifacts.write(tmp_path / "a.h5", "made_up", {"log_px": (dims, values, attributes)}, {})
    with pytest.raises(UserError, match="log_px has values that are not finite"):
        artifacts.read(tmp_path / "a.h5", "made_up")
    artifacts.write(tmp_path / "b.h5", "made_up", {"rho": (dims, values, attributes | {"may_be_undefined": 1})}, {})
    assert np.isnan(artifacts.read(tmp_path / "b.h5", "made_up").rho[1])


def test_a_failed_write_leaves_the_old_file_and_no_other(path, monkeypatch):
    before = path.read_bytes()

    def full_disk(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(artifacts.os, "fsync", full_disk)
    with pytest.raises(UserError, match=r"scores.h5: could not be written: .*No space left"):
        artifacts.write(path, "made_up", {"score": variable(("sample",), [1.0], "nats", "s")}, {})
    assert path.read_bytes() == before and len(list(path.parent.iterdir())) == 1
