"""Rule figure_mode_collapse: where samples crowd, against score."""

from engram.figures import style
from engram.figures.mode_collapse import mode_collapse
from engram.files import artifacts, inputs
from engram.runtime.jobs import job

with job(snakemake.log[0]):
    found = artifacts.read(snakemake.input.mode_collapse, "mode_collapse")
    scores = inputs.scores(dict(zip(snakemake.params.estimators, snakemake.input.scores, strict=True)))
    dataset = artifacts.read(snakemake.input.dataset, "dataset")
    style.save(mode_collapse(found, scores, dataset), snakemake.output.pdf, snakemake.output.png)
