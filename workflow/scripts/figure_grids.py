"""Rule figure_grids: images of lowest, median and highest score."""

from engram.figures import style
from engram.figures.grids import grids
from engram.files import artifacts, inputs
from engram.runtime.jobs import job

with job(snakemake.log[0]):
    scores = inputs.scores(dict(zip(snakemake.params.estimators, snakemake.input.scores, strict=True)))
    dataset = artifacts.read(snakemake.input.dataset, "dataset")
    style.save(grids(scores, dataset), snakemake.output.pdf, snakemake.output.png)
