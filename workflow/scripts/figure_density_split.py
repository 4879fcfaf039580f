"""Rule figure_density_split: log p of highly memorized and regular images."""

from engram.figures import style
from engram.figures.density_split import density_split
from engram.files import artifacts, inputs
from engram.runtime.jobs import job

with job(snakemake.log[0]):
    found = artifacts.read(snakemake.input.density_split, "density_split")
    scores = inputs.scores(dict(zip(snakemake.params.estimators, snakemake.input.scores, strict=True)))
    dataset = artifacts.read(snakemake.input.dataset, "dataset")
    style.save(density_split(found, scores, dataset), snakemake.output.pdf, snakemake.output.png)
