"""Rule figure_error_by_repeats: how the error of a score falls with the number of repeats."""

from engram.figures import style
from engram.figures.error_by_repeats import error_by_repeats
from engram.files import inputs
from engram.runtime.jobs import job

with job(snakemake.log[0]):
    scores = inputs.scores(dict(zip(snakemake.params.estimators, snakemake.input.scores, strict=True)))
    style.save(error_by_repeats(scores), snakemake.output.pdf, snakemake.output.png)
