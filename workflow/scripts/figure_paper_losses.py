"""Rule figure_paper_losses: losses of the full models at both learning rates."""

from engram.figures import style
from engram.figures.paper_losses import paper_losses
from engram.files import artifacts
from engram.runtime.jobs import job

with job(snakemake.log[0]):
    wanted = ["loss_train", "loss_held_out"]
    full = [artifacts.read(path, "models", wanted) for path in snakemake.input.models]
    drawn = paper_losses(dict(zip(snakemake.params.rates, full, strict=True)))
    style.save(drawn, snakemake.output.pdf, snakemake.output.png)
