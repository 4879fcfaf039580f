"""The rule of each figure of an experiment in engram.catalogue."""

from engram.figures import stage, style
from engram.runtime.jobs import job

with job(snakemake.log[0]):
    params = snakemake.params
    drawn = stage.draw(params.figure, params.reads, dict(snakemake.input.items()), params.estimators)
    style.save(drawn, snakemake.output.pdf, snakemake.output.png)
