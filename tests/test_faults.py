"""Kills, full disks, read-only folders, damaged files, changed configs: a line that says what to do, never a wrong number."""

import ast
import logging
import os
import random
import re
import shutil
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import faults
import workspace
from engram import datasets
from engram.catalogue import FIGURES, analyses_of, figures_of
from engram.config_given import has
from engram.errors import UserError
from engram.figures import style
from engram.files import artifacts
from engram.files.artifacts import variable
from engram.files.atomic import write as write_whole
from engram.runtime import jobs
from engram.training.state import StateFolder
from faults import SCORES, mounted, same_numbers
from workspace import planned, snakemake

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system, which only root may")


@pytest.fixture(scope="session")
def fresh(tmp_path_factory):
    """The small workspace, nothing run in it; not to be changed."""
    return faults.small_workspace(tmp_path_factory.mktemp("fresh") / "engram")


@pytest.fixture(scope="session")
def whole(fresh, tmp_path_factory):
    """The same with all results, the report included; not to be changed."""
    folder = shutil.copytree(fresh, tmp_path_factory.mktemp("whole") / "engram")
    run = snakemake(folder, timeout=1500)
    assert run.returncode == 0, run.stdout
    return folder


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    with mounted(folder, "-t", "tmpfs", "-o", "size=64k", "none"):
        yield folder


def ends_in_a_line(run, *words):
    assert run.returncode != 0
    for word in words:
        assert word in run.stdout, run.stdout
    assert "Traceback (most recent call last)" not in run.stdout, run.stdout


@pytest.mark.slow
def test_kills_leave_nothing_half_written_lose_nothing_finished_and_change_no_bit(fresh, whole, tmp_path):
    folder = shutil.copytree(fresh, tmp_path / "killed")
    stages = ["train", "analyses", "figures", "report"]  # tests/faults.py kills in all of them
    _, breaches = faults.killed_in(stages, folder, whole, random.Random(0))
    assert not breaches, "\n".join(breaches)


@pytest.mark.slow
def test_a_second_snakemake_in_the_same_folder_stops_and_the_first_goes_on(fresh, whole, tmp_path):
    folder = shutil.copytree(fresh, tmp_path / "twice")
    first = faults.start(folder, SCORES)  # all of its stages, so that it lasts longer than the second takes to start
    faults.wait_for(lambda: (folder / "results/datasets/toy.h5").exists())
    second = snakemake(folder, SCORES)
    assert first.wait(timeout=1500) == 0 and same_numbers(whole / SCORES, folder / SCORES)
    ends_in_a_line(second, "Directory cannot be locked", "--unlock")


@pytest.mark.slow
def test_a_config_changed_during_a_run_takes_effect_in_the_next(fresh, tmp_path):
    folder, target = (
        shutil.copytree(fresh, tmp_path / "changed"),
        "results/tiny/likelihood/corrected/repeat-00/epoch-60.h5",
    )
    first = faults.start(folder, target)
    faults.wait_for(lambda: list(folder.glob("results/tiny/models/*.state")))
    workspace.change(folder, "estimators", "corrected", samples=5)
    assert first.wait(timeout=1500) == 0
    assert '"samples": 4' in artifacts.read(folder / target, "likelihood").attrs["values"]
    assert planned(folder, target) == {"likelihood": 1}


ESTIMATORS = {"corrected": workspace.read(workspace.REPOSITORY)["estimators"]["corrected"]}

# Of each kind of artifact a file, and one that is made from it.
CONSUMERS = [
    {"datasets/toy.h5": "tiny/membership.h5"},
    {"tiny/membership.h5": "tiny/scores/corrected.h5"},
    {"tiny/models/repeat-00.h5": "tiny/likelihood/corrected/repeat-00/epoch-60.h5"},
    {"tiny/likelihood/corrected/repeat-01/epoch-20.h5": "tiny/scores/corrected.h5"},
    {"tiny/scores/corrected.h5": "tiny/analyses/density_split.h5"},
    {
        f"tiny/analyses/{name}.h5": f"tiny/figures/{figure}.png"
        for figure in figures_of(ESTIMATORS, has(workspace.TINY, {}), workspace.ANALYSES)
        for name in analyses_of(ESTIMATORS, has(workspace.TINY, {}), workspace.ANALYSES)
        if name in FIGURES[figure].reads
    },
]


@pytest.mark.slow
@pytest.mark.parametrize("consumers", CONSUMERS, ids=lambda consumers: ", ".join(consumers))
def test_damaged_files_are_named_and_made_anew_when_they_are_deleted(whole, consumers, tmp_path):
    folder = shutil.copytree(whole, tmp_path / "copy")
    targets = [f"results/{consumer}" for consumer in consumers.values()]
    for target in targets:
        (folder / target).unlink()
    for damage in (lambda content, _: content[: len(content) // 2], flipped):
        for name in consumers:
            path, good = folder / "results" / name, whole / "results" / name
            path.write_bytes(damage(good.read_bytes(), random.Random(name)))
            os.utime(path, (good.stat().st_atime, good.stat().st_mtime))
        named = [f"results/{name}: is damaged" for name in consumers]
        ends_in_a_line(snakemake(folder, "--keep-going", *targets), *named, "delete it and run")
    for name in consumers:
        (folder / "results" / name).unlink()
    assert snakemake(folder, *targets).returncode == 0
    assert all(faults.same(whole / target, folder / target) for target in targets)


def flipped(content, rng):
    place = rng.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.slow
@needs_root
def test_a_full_disk_and_a_read_only_one_end_in_a_line_and_a_rerun_completes(fresh, whole, tmp_path):
    folder, target = shutil.copytree(fresh, tmp_path / "full"), "results/tiny/membership.h5"
    (folder / "results").mkdir()
    with mounted(folder / "results", "-t", "tmpfs", "-o", "size=16k", "none"):
        full = snakemake(folder, target)
        ends_in_a_line(full, "results/datasets/toy.h5: could not be written: [Errno 28]", "free some space")
        assert not list((folder / "results").rglob("*.h5")) and not list((folder / "results").rglob(".*.tmp"))
        subprocess.run(["mount", "-o", "remount,ro,size=10m", str(folder / "results")], check=True)
        ends_in_a_line(snakemake(folder, target), "Read-only file system: 'results/")
        subprocess.run(["mount", "-o", "remount,rw", str(folder / "results")], check=True)
        again = snakemake(folder, target)
        assert again.returncode == 0 and same_numbers(whole / target, folder / target), again.stdout


@pytest.mark.slow
@needs_root
def test_a_full_disk_with_snakemake_s_own_notes_on_it_loses_nothing_and_a_rerun_completes(whole, tmp_path):
    figures = [f"results/tiny/figures/{name}" for name in ("losses", "density_split", "grids")]
    with mounted(tmp_path, "-t", "tmpfs", "-o", "size=16m", "none"):
        folder = shutil.copytree(whole, tmp_path / "engram")
        for figure in figures:
            (folder / f"{figure}.pdf").unlink()
            (folder / f"{figure}.png").unlink()
        for room in (0, 50_000):
            kept = faults.finished(folder, faults.results(whole))
            (tmp_path / "ballast").write_bytes(bytes(shutil.disk_usage(tmp_path).free - room))
            full = snakemake(folder, *[f"{figure}.png" for figure in figures])
            assert full.returncode != 0 and "No space left on device" in full.stdout, full.stdout
            assert kept.items() <= faults.finished(folder, faults.results(whole)).items()
            assert not faults.different(whole, folder)
            (tmp_path / "ballast").unlink()
        again = snakemake(folder)
        assert again.returncode == 0 and not faults.different(whole, folder), again.stdout
        assert faults.results(folder) == faults.results(whole)


@pytest.mark.slow
def test_images_with_nan_are_named_and_replaced_ones_are_taken(fresh, tmp_path):
    folder, target = shutil.copytree(fresh, tmp_path / "nan"), "results/datasets/toy.h5"
    with np.load(folder / "toy.npz") as good:
        images = good["images"]
    spoilt = images / 255
    spoilt[3, 2, 1] = np.nan
    np.savez(folder / "toy.npz", images=spoilt)
    ends_in_a_line(snakemake(folder, target), "toy.npz: images are float64, must be uint8")
    np.savez(folder / "toy.npz", images=images)
    assert snakemake(folder, target).returncode == 0


@needs_root
def test_an_artifact_that_finds_no_room_leaves_the_old_one_and_nothing_else(small_disk):
    path = small_disk / "scores.h5"
    artifacts.write(path, "made_up", {"score": variable(("sample",), [1.0], "nats", "s")}, {})
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"^[^\n]*scores\.h5: could not be written: .*No space left.*free some space"):
        artifacts.write(path, "made_up", {"score": variable(("sample",), np.ones(10**5), "nats", "s")}, {})
    assert path.read_bytes() == before and [file.name for file in small_disk.iterdir()] == ["scores.h5"]


@needs_root
def test_a_figure_or_a_table_that_finds_no_room_leaves_the_old_one_and_nothing_else(small_disk):
    path = small_disk / "scores.csv"
    write_whole(path, b"score\n1.0\n")
    no_room = r"^[^\n]*{}: could not be written: .*No space left.*free some space"
    with pytest.raises(UserError, match=no_room.format("scores.csv")):
        write_whole(path, b"score\n" + b"1.0\n" * 10**5)
    assert path.read_text() == "score\n1.0\n" and list(small_disk.iterdir()) == [path]
    drawn = style.figure(3)
    drawn.subplots().imshow(np.random.default_rng(0).random((500, 500)))
    with pytest.raises(UserError, match=no_room.format("a.pdf")):
        style.save(drawn, small_disk / "a.pdf", small_disk / "a.png")
    assert list(small_disk.iterdir()) == [path]


@needs_root
def test_a_training_state_that_finds_no_room_leaves_the_old_one(small_disk):
    state = StateFolder(small_disk / "state", "f")
    with state.locked():
        state.save("state", {"weights": np.arange(10)}, epoch=1)
        with pytest.raises(UserError, match=r"state\.npz: could not be written: .*No space left"):
            state.save("state", {"weights": np.arange(10**5)}, epoch=2)
        assert state.load("state")["epoch"] == 1 and not list(state.path.glob("*.tmp"))


@pytest.fixture
def in_job(capsys):
    """Runs a function inside a job that must fail, and returns what the terminal sees. Puts logging back as it was."""
    root = logging.getLogger()
    handlers, level, raising = root.handlers, root.level, logging.raiseExceptions

    def run(log, function):
        with pytest.raises(SystemExit), jobs.job(log):
            function()
        for handler in root.handlers:
            handler.close()
        return capsys.readouterr().err

    yield run
    root.handlers, logging.raiseExceptions = handlers, raising
    root.setLevel(level)
    logging.captureWarnings(False)


@needs_root
def test_a_job_that_cannot_write_ends_in_one_line_even_without_its_log(small_disk, tmp_path, in_job):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for log in (small_disk / "logs/a.log", tmp_path / "a.log"):
        said = in_job(log, lambda: (small_disk / "x.csv").write_text("score"))
        assert said.count("\n") == 1 and f"engram: error: {small_disk}" in said and "Read-only file system" in said
    values = {"s": variable((), 1.0, "1", "s")}
    said = in_job(tmp_path / "a.log", lambda: artifacts.write(small_disk / "deep" / "x.h5", "made_up", values, {}))
    assert "x.h5: could not be written" in said and said.count("\n") == 1


@pytest.mark.parametrize(
    "fill", [lambda: np.empty(2**60, np.uint8), lambda: torch.empty(2**55)], ids=["numpy", "torch"]
)
def test_too_little_memory_is_one_line(tmp_path, fill, in_job):
    said = in_job(tmp_path / "a.log", fill)
    assert said.startswith("engram: error: not enough memory") and said.count("\n") == 1


CODE = Path(artifacts.__file__).parents[1]
UNPICKLERS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


@pytest.mark.parametrize("path", sorted(CODE.rglob("*.py")), ids=lambda path: str(path.relative_to(CODE)))
def test_nothing_is_unpickled_evaluated_or_given_to_a_shell(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            assert not UNPICKLERS & {name.split(".")[0] for name in names}
        if isinstance(node, ast.Call):
            call, given = ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}
            assert call not in ("eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.load")
            assert call != "torch.load" or given.get("weights_only") == "True"
            assert call != "np.load" or given.get("allow_pickle") == "False"
            assert given.get("shell", "False") == "False" and given.get("allow_pickle", "False") == "False"


def test_rules_hand_nothing_to_a_shell():
    for path in [workspace.REPOSITORY / "Snakefile", *(workspace.REPOSITORY / "rules").glob("*.smk")]:
        assert not re.search(
            r"^\s*(shell|run)\s*:|\bshell\(|pickle|\beval\(|\bexec\(", path.read_text(), re.MULTILINE
        ), path


def test_a_hostile_name_of_a_data_set_s_file_is_only_a_name(tmp_path):
    for name in ("x; touch hacked", "$(touch hacked)", "../" * 20 + "etc/shadow", "x" * 5000, "a\0b", "\ud800"):
        for kind in ("npz", "hdf5", "folder"):
            with pytest.raises(UserError, match=r"^datasets\.mine|^[^\n]*: (is not|cannot be read)"):
                datasets.make("mine", {kind: name})
    assert not Path("hacked").exists()


def test_a_user_s_hdf5_cannot_borrow_another_file_s_content(tmp_path):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["images"] = np.zeros((9, 4, 4), np.uint8)
    with h5py.File(tmp_path / "mine.h5", "w") as file:
        file["images"] = h5py.ExternalLink("secret.h5", "images")
    with pytest.raises(UserError, match=r"mine\.h5: cannot be read .*images is a link"):
        datasets.make("mine", {"hdf5": str(tmp_path / "mine.h5")})
