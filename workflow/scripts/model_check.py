"""Rule model_check: what is wrong with an experiment's model, before any is trained."""

from engram.checks import stage
from engram.checks.examination import Uses
from engram.report import contents
from engram.runtime.jobs import job

with job(snakemake.log[0]):
    experiment = snakemake.wildcards.experiment
    stage.run(
        snakemake.output[0],
        snakemake.input.dataset,
        experiment=experiment,
        model=snakemake.params.model,
        code=snakemake.params.code,
        # From the config, not by a parameter: another analysis or estimator is no reason to check, and so to train, again.
        uses=Uses(**contents.uses_of_model(snakemake.config, experiment)),
        threads=snakemake.threads,
    )
