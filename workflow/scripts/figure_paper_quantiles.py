"""Rule figure_paper_quantiles: quantiles of the score against epoch at both learning rates."""

from engram.figures import style
from engram.figures.paper_quantiles import paper_quantiles, with_intervals
from engram.runtime.jobs import job

with job(snakemake.log[0]):
    experiments = dict(zip(snakemake.params.rates, snakemake.params.experiments, strict=True))
    drawn = paper_quantiles(with_intervals(experiments, snakemake.params.panels))
    style.save(drawn, snakemake.output.pdf, snakemake.output.png)
