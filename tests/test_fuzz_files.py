"""Mutated and hostile files of every kind: each is refused by name, or read as exactly what was written. Never a traceback."""

import io
import json
import random
import subprocess
import zipfile

import h5py
import numpy as np
import pytest
import torch

import synthetic
from engram import datasets
from engram.errors import UserError
from engram.files import artifacts, inputs
from engram.files.artifacts import variable
from engram.scores import stage
from engram.training import trained
from engram.training.plan import Plan
from engram.training.state import StateFolder
from engram.training.training import Training

MUTANTS = 30  # of each kind of file, by bytes and by content

pytestmark = pytest.mark.filterwarnings("ignore")  # xarray warns of odd files before it refuses them


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """One file of each kind, as the stages write them."""
    folder = tmp_path_factory.mktemp("originals")
    paths = synthetic.analysed(folder, n=100, test=30)
    kinds = {"dataset": paths["dataset"], "membership": paths["membership"], "scores": paths["scores"]["corrected"]}
    kinds |= {"models": _models(folder), "likelihood": _likelihood(folder), **paths["analyses"]}
    rng = np.random.default_rng(1)
    arrays = {"images": rng.integers(0, 256, (20, 4, 4)).astype(np.uint8), "labels": np.arange(20) % 3}
    kinds |= {"npz": folder / "mine.npz", "hdf5": folder / "mine.hdf5", "state": folder / "state" / "state.npz"}
    np.savez_compressed(kinds["npz"], **arrays)
    with h5py.File(kinds["hdf5"], "w") as file:
        for name, values in arrays.items():
            file.create_dataset(name, data=values, fletcher32=True)
    return kinds


def _train(folder):
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 2, (20, 36)).astype(np.uint8) * 200)
    rows = [np.arange(0, 20, 2), np.arange(1, 20, 2)]
    model = {"name": "bernoulli_mlp_vae", "latent_dim": 2, "hidden": [6, 4]}
    plan = Plan("e", "repeat-00", model, (1, 6, 6), 2, 8, 0.01, [1, 2], 42, [0, 1], rows, rows[::-1])
    training, state = Training(plan, images), StateFolder(folder / "state", "f")
    with state.locked():
        training.run(state)
    return training, state


def _models(folder):
    trained.write(folder / "models.h5", *_train(folder), {"values": "{}"})
    return folder / "models.h5"


def _likelihood(folder):
    rng = np.random.default_rng(2)
    variables = {
        "log_px": variable(("model", "draw", "sample"), rng.normal(-90, 3, (10, 1, 130)), "nats", "log p"),
        "repeat": variable(("model",), np.repeat([0, 1], 5), "1", "repeat"),
        "fold": variable(("model",), np.tile(np.arange(5), 2), "1", "fold"),
    }
    artifacts.write(
        folder / "epoch-40.h5", "likelihood", variables, {"estimator": "corrected", "values": json.dumps({"epoch": 40})}
    )
    return folder / "epoch-40.h5"


def contents(kind, path, originals):
    """All that the stages get to see of a file, by their own readers, as one comparable value."""
    if kind in ("npz", "hdf5"):
        found = datasets.make("mine", {kind: str(path)})
        return [found.sha256(), found.image_shape, found.labels.tolist()]
    if kind == "state":
        state = StateFolder(path.parent, "f").load(path.stem)
        return None if state is None else _arrays(state)
    stored = artifacts.read(path, kind)
    seen = [_arrays({name: values.values for name, values in stored.variables.items()}), _plain(stored.attrs)]
    if kind == "dataset":
        seen.append(inputs.images(stored, np.arange(5)).tobytes())
    if kind == "membership":
        comparison = stage.Comparison.of(stored)
        seen.append(comparison.is_in.tobytes())
    if kind == "models":
        seen += [_arrays(model.state_dict()) for model in trained.load_models(path, 2)]
    if kind == "likelihood":
        comparison = stage.Comparison.of(artifacts.read(originals["membership"], "membership"))
        files = inputs.likelihoods_by_epoch([path], "corrected")
        seen.append({epoch: stage.read_log_px(paths, comparison).tobytes() for epoch, paths in files.items()})
    return seen


def _arrays(values):
    return {name: (np.asarray(array).shape, np.asarray(array).tobytes()) for name, array in values.items()}


def _plain(attributes):
    return {name: np.asarray(value).tolist() for name, value in attributes.items()}


def refused(kind, path, originals, expected=None, harmless=()):
    """Whether a mutant is refused by name; if not, it must be read as `expected`, where that is given."""
    try:
        seen = contents(kind, path, originals)
    except UserError as error:
        assert str(path) in str(error) and "\n" not in str(error), str(error)
        return True
    assert seen is None or expected is None or seen == expected, f"{kind}: read as other values"
    return seen is None


KINDS = ["dataset", "membership", "models", "likelihood", "scores", *synthetic.ANALYSES]
OTHERS = ["npz", "hdf5", "state"]


def damage(content, rng):
    """Bytes as a bad disk, a broken copy or a crash leaves them."""
    content, where = bytearray(content), rng.randrange(len(content))
    match rng.randrange(6):
        case 0 | 1 | 2:
            content[where] ^= 1 << rng.randrange(8)
        case 3:
            del content[where:]
        case 4:
            content[where : where + 512] = bytes(len(content[where : where + 512]))
        case _:
            content[where:where] = rng.randbytes(rng.choice([1, 100, 4096]))
    return bytes(content)


@pytest.mark.parametrize("kind", KINDS + OTHERS)
def test_damaged_bytes_are_refused_or_change_nothing(originals, kind, tmp_path, caplog):
    rng, content, count = random.Random(f"bytes {kind}"), originals[kind].read_bytes(), 0
    expected = contents(kind, originals[kind], originals)
    path = tmp_path / originals[kind].name
    for _ in range(MUTANTS):
        while (damaged := damage(content, rng)) == content:
            pass
        path.write_bytes(damaged)
        count += refused(kind, path, originals, None if kind == "hdf5" else expected)
    assert count == MUTANTS if kind in KINDS else count > 0


def drop_variable(file, rng):
    del file[rng.choice(sorted(file))]


def drop_attribute(file, rng):
    del file.attrs[rng.choice(sorted(file.attrs))]


def change_attribute(file, rng):
    file.attrs[rng.choice(sorted(file.attrs))] = rng.choice([-1, "x", 1e300, "../..", np.zeros(3), "{}", "null"])


def replace(file, rng, values):
    name = rng.choice(sorted(name for name in file if file[name].ndim))
    kept = dict(file[name].attrs) if "may_be_undefined" in file[name].attrs else {}
    del file[name]
    file[name] = values(kept)
    return name


def change_shape(file, rng):
    replace(file, rng, lambda _: np.zeros(rng.choice([(), (1,), (3, 3), (0,), (2, 2, 2, 2)])))


def change_type(file, rng):
    replace(file, rng, lambda _: rng.choice([np.array([b"text"] * 5), np.array([1 + 2j] * 5), np.zeros(5, "i1, f8")]))


def put_nan(file, rng):
    name = rng.choice(sorted(name for name in file if file[name].dtype.kind == "f" and file[name].size) or [None])
    if name:
        file[name][...] = np.nan


def rename(file, rng):
    name = rng.choice(sorted(file))
    file.move(name, rng.choice(["x", "images2", "a b", "\u00e9"]))


def other_kind(file, rng):
    file.attrs["kind"] = rng.choice(KINDS)
    file.attrs["format_version"] = rng.choice([1, 2, "1", 0])


def group(file, rng):
    name = rng.choice(sorted(file))
    del file[name]
    file.create_group(name)


EDITS = [drop_variable, drop_attribute, change_attribute, change_shape, change_type, put_nan, rename, other_kind, group]


def seal(path):
    """End a file with the right checksum again, as whoever forges one would."""
    import hashlib

    content = path.read_bytes()
    path.write_bytes(content + artifacts.SEAL + hashlib.sha256(content).digest())


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("kind", KINDS)
def test_edited_files_are_refused_and_forged_ones_end_in_a_line_or_a_value(originals, kind, edit, tmp_path):
    rng, path = random.Random(f"{edit.__name__} {kind}"), tmp_path / originals[kind].name
    for forged in (False, True, True):
        path.write_bytes(originals[kind].read_bytes())
        with h5py.File(path, "r+") as file:
            edit(file, rng)
        if forged:
            seal(path)
        assert refused(kind, path, originals) or forged or edit is drop_attribute


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_another_kind_in_its_place_is_refused(originals, kind, tmp_path):
    for other in KINDS:
        assert other == kind or refused(kind, originals[other], originals)


def external_link(file, name, secret):
    file[name] = h5py.ExternalLink(str(secret), "secret")


def soft_link(file, name, secret):
    file[name] = h5py.SoftLink("/elsewhere")
    file["elsewhere"] = np.zeros(5)


def virtual(file, name, secret):
    layout = h5py.VirtualLayout((5,), float)
    layout[:] = h5py.VirtualSource(str(secret), "secret", (5,))
    file.create_virtual_dataset(name, layout)


def external_storage(file, name, secret):
    file.create_dataset(name, (5,), float, external=[(str(secret), 0, 40)])


def huge(file, name, secret):
    file.create_dataset(name, (2**50,), "u1", chunks=(2**20,), fletcher32=True)


def huge_chunks(file, name, secret):
    file.create_dataset(name, (2**45, 3), "f8", chunks=(2**20, 3), compression="gzip")


@pytest.mark.parametrize("trick", [external_link, soft_link, virtual, external_storage, huge, huge_chunks])
@pytest.mark.parametrize(
    ("kind", "name"), [("dataset", "images"), ("scores", "score"), ("models", "fold"), ("hdf5", "images")]
)
def test_a_file_that_points_elsewhere_or_claims_all_memory_is_refused(originals, kind, name, trick, tmp_path):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["secret"] = np.ones(5)
    path = tmp_path / originals[kind].name
    path.write_bytes(originals[kind].read_bytes())
    with h5py.File(path, "r+") as file:
        del file[name]
        trick(file, name, secret)
    if kind != "hdf5":
        seal(path)
    assert refused(kind, path, originals)


def _npz(path, claimed, count=8):
    """An npz whose array `images` claims a shape that its bytes do not fill."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": claimed})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("images.npy", header.getvalue() + bytes(count))


@pytest.mark.parametrize("claimed", [(2**50,), (2**40, 4, 4), (10**12, 1, 1)])
def test_an_npz_that_claims_all_memory_is_refused(originals, claimed, tmp_path):
    _npz(tmp_path / "mine.npz", claimed)
    assert refused("npz", tmp_path / "mine.npz", originals)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(originals, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("engram.files.untrusted.installed_memory", lambda: 100 * 4096)
    _npz(tmp_path / "mine.npz", (10**6,), 10**6)
    assert (tmp_path / "mine.npz").stat().st_size < 5000
    with pytest.raises(UserError, match=r"mine\.npz: cannot be read .* GiB of memory"):
        contents("npz", tmp_path / "mine.npz", originals)
    (tmp_path / "mine.npz").rename(tmp_path / "state.npz")
    assert contents("state", tmp_path / "state.npz", originals) is None and "is damaged" in caplog.text


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(path.read_bytes()[:300]), lambda path: path.unlink()])
def test_a_training_whose_finished_models_are_damaged_makes_them_again_with_the_same_bits(spoil, tmp_path, caplog):
    _, state = _train(tmp_path)
    before = _arrays(state.load("epoch-1"))
    spoil(state.path / "epoch-1.npz")
    _train(tmp_path)
    assert "training starts again" in caplog.text and _arrays(state.load("epoch-1")) == before


def test_a_state_with_pickled_objects_is_not_opened(tmp_path, caplog):
    np.savez(tmp_path / "state.npz", trap=np.array([Trap(tmp_path / "hacked")], dtype=object), fingerprint="f")
    assert StateFolder(tmp_path, "f").load("state") is None and "Object arrays cannot be loaded" in caplog.text
    assert not (tmp_path / "hacked").exists()


class Trap:
    """Runs a command when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return subprocess.call, (["touch", str(self.path)],)


@pytest.mark.parametrize(
    "name", ["subprocess:Popen", "os:system", "builtins:eval", "no_such_module:Model", "pathlib:Path"]
)
def test_models_whose_file_names_a_program_run_nothing(originals, name, tmp_path):
    path = tmp_path / "models.h5"
    path.write_bytes(originals["models"].read_bytes())
    with h5py.File(path, "r+") as file:
        file.attrs["model"] = json.dumps({"name": name})
        file.attrs["image_shape"] = ["touch", str(tmp_path / "hacked")]
    seal(path)
    assert refused("models", path, originals)
    with h5py.File(path, "r+") as file:
        file.attrs["image_shape"] = [1, 6, 6]
    seal(path)
    with pytest.raises(UserError, match=r"is no subclass of|could not be imported"):
        trained.load_models(path, 2)
    assert not (tmp_path / "hacked").exists()


def test_files_written_before_there_were_seals_are_still_read(originals, tmp_path):
    path = tmp_path / "scores.h5"
    content = originals["scores"].read_bytes()
    path.write_bytes(content[: -artifacts.SEAL_LENGTH])
    with pytest.raises(UserError, match="it was changed since it was written"):
        artifacts.read(path, "scores")
    with h5py.File(path, "r+") as file:
        del file.attrs["sealed"]
    assert artifacts.read(path, "scores").equals(artifacts.read(originals["scores"], "scores"))
