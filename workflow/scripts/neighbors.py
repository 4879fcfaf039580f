"""Rule neighbors: the nearest-neighbour ratio of every scored image, correct and as published."""

import torch

from engram.analyses import neighbors
from engram.runtime.jobs import job

with job(snakemake.log[0]):
    torch.set_num_threads(snakemake.threads)
    neighbors.analyse(
        dataset_path=snakemake.input.dataset,
        models_path=snakemake.input.models,
        score_paths=dict(zip(snakemake.params.estimators, snakemake.input.scores, strict=True)),
        output=snakemake.output[0],
        experiment=snakemake.wildcards.experiment,
        seed=snakemake.params.seed,
    )
