"""Rule figure_comparison: the estimators side by side."""

from engram.figures import style
from engram.figures.comparison import comparison
from engram.files import inputs
from engram.runtime.jobs import job

with job(snakemake.log[0]):
    scores = inputs.scores(dict(zip(snakemake.params.estimators, snakemake.input.scores, strict=True)))
    style.save(comparison(scores), snakemake.output.pdf, snakemake.output.png)
