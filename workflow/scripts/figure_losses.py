"""Rule figure_losses: losses and generalization gap against epoch."""

from engram.figures import style
from engram.figures.losses import losses
from engram.files import artifacts
from engram.runtime.jobs import job

with job(snakemake.log[0]):
    wanted = ["loss_train", "loss_held_out"]
    *folds, full = [artifacts.read(path, "models", wanted) for path in snakemake.input.models]
    style.save(losses(folds, full), snakemake.output.pdf, snakemake.output.png)
