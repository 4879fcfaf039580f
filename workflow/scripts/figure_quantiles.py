"""Rule figure_quantiles: quantiles of the score against epoch."""

from engram.figures import style
from engram.figures.quantiles import quantiles
from engram.files import inputs
from engram.runtime.jobs import job

with job(snakemake.log[0]):
    scores = inputs.scores(dict(zip(snakemake.params.estimators, snakemake.input.scores, strict=True)))
    style.save(quantiles(scores), snakemake.output.pdf, snakemake.output.png)
