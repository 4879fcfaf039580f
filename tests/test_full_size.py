"""The published data sets at full size go through the stages in bounded memory. .ci/run installs them."""

import os

import numpy as np
import pytest
import xarray as xr

import workspace
from workspace import snakemake

GIGABYTE = 1024**3
FULL_SIZE = workspace.TINY | {
    "model": {"name": "bernoulli_mlp_vae", "latent_dim": 16},
    "training": {"epochs": 1, "batch_size": 512, "learning_rate": 0.001},
    "membership": {"design": "k_fold", "folds": 5, "repeats": 1},
    "scored_epochs": [1],
}


def mirror(name):
    """The folder that holds the published files of a data set on this machine."""
    for root in filter(os.path.isdir, [os.environ.get("ENGRAM_TEST_DATA_ROOT", ""), "/usr/share/datasets"]):
        if any(name.replace("_", "-") == entry.replace("_", "-") for entry in os.listdir(root)):
            return root
    return pytest.skip(f"{name} is neither in ENGRAM_TEST_DATA_ROOT nor in /usr/share/datasets")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_seventy_thousand_images_go_from_idx_files_to_likelihoods_within_4_gigabytes(name, tmp_path):
    folder = workspace.create(tmp_path / "engram")
    workspace.change(folder, data_root=mirror(name))
    workspace.change(folder, "experiments", full_size=FULL_SIZE | {"dataset": name})
    workspace.change(folder, "estimators", "published", samples=1)
    target = "results/full_size/likelihood/published/repeat-00/epoch-1.h5"
    run = snakemake(folder, target)
    assert run.returncode == 0, run.stdout
    for path in (f"results/datasets/{name}.h5", "results/full_size/models/repeat-00.h5", target):
        with xr.open_dataset(folder / path, engine="h5netcdf") as stored:
            assert stored.attrs["peak_memory_bytes"] < 4 * GIGABYTE, path
    log_px = xr.load_dataset(folder / target, engine="h5netcdf").log_px
    assert log_px.shape == (5, 1, 70_000) and np.isfinite(log_px).all()
    assert -400 < log_px.mean() < -100
