"""Rule train: the models of one repeat (its K folds, or the full model), trained in lockstep."""

from engram.runtime.jobs import job
from engram.training import stage

with job(snakemake.log[0]):
    params = snakemake.params
    values = {name: params[name] for name in ("model", "membership", "seed", "code")}
    values["training"] = params.training and dict(params.training, epochs=params.epochs["epochs"])
    values["scored_epochs"] = params.epochs["scored_epochs"]
    stage.train(
        dataset_path=snakemake.input.dataset,
        output=snakemake.output[0],
        state=params.state,
        values=values,
        experiment=snakemake.wildcards.experiment,
        repeat=snakemake.wildcards.repeat,
        threads=snakemake.threads,
    )
