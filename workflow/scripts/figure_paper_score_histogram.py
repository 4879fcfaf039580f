"""Rule figure_paper_score_histogram: distributions of the score at both learning rates."""

from engram.figures import style
from engram.figures.paper_score_histogram import paper_score_histogram
from engram.files import inputs
from engram.runtime.jobs import job

with job(snakemake.log[0]):
    params = snakemake.params
    by_rate = [
        (rate, inputs.scores(experiment["scores"]))
        for rate, experiment in zip(params.rates, params.experiments, strict=True)
    ]
    scores = {title: {rate: found[name] for rate, found in by_rate} for title, name in params.panels.items()}
    style.save(paper_score_histogram(scores), snakemake.output.pdf, snakemake.output.png)
