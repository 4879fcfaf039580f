"""The command `engram`."""

import re
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

import engram
from engram import cli

MODELS, IMAGES = 12, 4
LABELS = ["cat", "dog", "owl", "pig"]


@pytest.fixture
def comparison(rng):
    log_px = rng.normal(-100, 5, (MODELS, IMAGES)).round(3)
    in_training = (np.arange(MODELS)[:, None] + np.arange(IMAGES)) % 2
    return log_px, in_training, np.arange(MODELS) // 2


def write(folder, comparison, ending):
    """The three arrays as files with this ending, and what to call them on the command line."""
    names = [folder / f"{name}{ending}" for name in ("log_px", "in_training", "repeat")]
    for path, values in zip(names, comparison, strict=True):
        if ending == ".npy":
            np.save(path, values)
        elif ending == ".csv":
            np.savetxt(path, values, delimiter=",")
    if ending == ".npz":
        np.savez(folder / "all.npz", **dict(zip(("log_px", "in_training", "repeat"), comparison, strict=True)))
        return [f"{folder}/all.npz:{name}" for name in ("log_px", "in_training", "repeat")]
    if ending == ".h5":
        with h5py.File(folder / "all.h5", "w") as file:
            for name, values in zip(("log_px", "in_training", "repeat"), comparison, strict=True):
                file[name] = values
        return [f"{folder}/all.h5:{name}" for name in ("log_px", "in_training", "repeat")]
    if ending == " as pandas writes it.csv":
        log_px, in_training, repeat = comparison
        models = [f"run {number}" for number in range(MODELS)]
        pd.DataFrame(log_px, models, LABELS).to_csv(names[0])
        pd.DataFrame(in_training, models, LABELS).to_csv(names[1])
        pd.Series(repeat, models, name="repeat").to_csv(names[2])
    return list(map(str, names))


def run(*arguments, code=0):
    assert cli.main(list(map(str, arguments))) == code


@pytest.mark.parametrize("ending", [".npy", ".npz", ".csv", ".h5", " as pandas writes it.csv"])
def test_score_writes_the_table_that_the_function_gives(ending, tmp_path, comparison, capsys):
    log_px, in_training, repeat = write(tmp_path, comparison, ending)
    run("score", log_px, in_training, "--repeat", repeat, "--output", tmp_path / "scores.csv")
    with pytest.warns(UserWarning, match="p-values cannot fall below"):
        expected = engram.score(*comparison)
    found = pd.read_csv(tmp_path / "scores.csv", index_col="image")
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert list(found) == ["score", "standard_error", "p_value", "q_value"]
    assert list(found.index) == (LABELS if "pandas" in ending else [0, 1, 2, 3])
    said = capsys.readouterr()
    assert said.out == f"{tmp_path}/scores.csv: 0 of 4 images are memorized at a false discovery rate of 5%\n"
    assert said.err.startswith("engram: warning: p-values cannot fall below 0.016") and said.err.count("\n") == 1


def test_score_takes_random_subsets_without_repeats(tmp_path, rng):
    np.save(tmp_path / "log_px.npy", rng.normal(size=(20, 3)))
    np.save(tmp_path / "in_training.npy", rng.permuted(np.tile(np.arange(20)[:, None] % 2, 3), axis=0))
    run("score", tmp_path / "log_px.npy", tmp_path / "in_training.npy", "--output", tmp_path / "new/scores.csv")
    assert pd.read_csv(tmp_path / "new/scores.csv").notna().all(axis=None)


def test_scores_without_p_values_are_not_called_unmemorized(tmp_path, rng, capsys):
    halves = np.arange(200) % 2 == np.array([0, 1] * 5)[:, None]
    for name, values in (("log_px", rng.normal(size=(10, 200))), ("in_training", halves)):
        np.save(tmp_path / f"{name}.npy", values)
    run("score", tmp_path / "log_px.npy", tmp_path / "in_training.npy", "--output", tmp_path / "scores.csv")
    said = capsys.readouterr()
    assert said.out == f"{tmp_path}/scores.csv: scores of 200 images\n"
    assert said.err.startswith("engram: warning: standard_error, p_value and q_value are NaN")


def damaged(folder):
    (folder / "damaged.npz").write_bytes(b"PK no zip")
    return folder / "damaged.npz"


def pickled(folder):
    np.save(folder / "pickled.npy", np.array([{}], dtype=object))
    return folder / "pickled.npy"


def with_a_gap(folder):
    (folder / "gap.csv").write_text("-1,-2,-3,-4\n" * 11 + "-1,-2,-3\n")
    return folder / "gap.csv"


def linked(folder):
    with h5py.File(folder / "linked.h5", "w") as file:
        file["log_px"] = h5py.ExternalLink("other.h5", "log_px")
    return folder / "linked.h5"


WRONG = {
    "no file": (lambda folder: folder / "none.npy", "none.npy: no such file"),
    "no matrix": (lambda folder: folder / "notes.txt", "notes.txt: is no .npy, .npz, .csv, .h5, .hdf5 file"),
    "no name": (
        lambda folder: folder / "all.npz",
        "which array; write .*all.npz:NAME with one of log_px, in_training, repeat",
    ),
    "another name": (lambda folder: f"{folder}/all.npz:elbo", "no array 'elbo'; write"),
    "a name too many": (lambda folder: f"{folder}/log_px.npy:x", "holds a single array; leave out ':x'"),
    "damaged": (damaged, "damaged.npz: cannot be read as .npz"),
    "pickled": (pickled, "pickled.npy: cannot be read as .npy"),
    "linked": (linked, "linked.h5: cannot be read as .h5 .*log_px is a link"),
    "with a gap": (with_a_gap, "log_px: is nan for model 11, image 3; a missing or failed estimate"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_file_that_cannot_be_used_is_one_line_and_exit_code_1(kind, tmp_path, comparison, capsys):
    write(tmp_path, comparison, ".npz")
    in_training = write(tmp_path, comparison, ".npy")[1]
    make, message = WRONG[kind]
    run("score", make(tmp_path), in_training, "--output", tmp_path / "scores.csv", code=1)
    error = capsys.readouterr().err
    assert error.startswith("engram: error: ") and error.count("\n") == 1
    assert re.search(message, error), error
    assert not (tmp_path / "scores.csv").exists()


def test_the_output_must_be_csv(tmp_path, comparison, capsys):
    log_px, in_training, _ = write(tmp_path, comparison, ".npy")
    run("score", log_px, in_training, "--output", tmp_path / "scores.h5", code=1)
    assert "scores.h5, must end in .csv" in capsys.readouterr().err


def test_a_command_that_cannot_be_parsed_is_exit_code_2(capsys):
    for arguments in ([], ["scores"], ["score", "a.npy"]):
        with pytest.raises(SystemExit) as stopped:
            cli.main(arguments)
        assert stopped.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_the_installed_command_lists_its_commands_and_its_version():
    command = Path(sys.executable).with_name("engram")
    listed = subprocess.run([command, "--help"], capture_output=True, text=True, check=True).stdout
    assert "score" in listed and "memorization scores from log p" in listed
    version = subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout
    assert version == f"engram {engram.__version__}\n"
