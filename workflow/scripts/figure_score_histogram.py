"""Rule figure_score_histogram: distribution of the score with its Johnson-SU fit."""

from engram.figures import style
from engram.figures.score_histogram import score_histogram
from engram.files import inputs
from engram.runtime.jobs import job

with job(snakemake.log[0]):
    scores = inputs.scores(dict(zip(snakemake.params.estimators, snakemake.input.scores, strict=True)))
    style.save(score_histogram(scores), snakemake.output.pdf, snakemake.output.png)
