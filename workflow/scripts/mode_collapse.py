"""Rule mode_collapse: where the samples of the full model crowd, and whether those images are memorized."""

import torch

from engram.analyses import mode_collapse
from engram.runtime.jobs import job

with job(snakemake.log[0]):
    torch.set_num_threads(snakemake.threads)
    mode_collapse.analyse(
        dataset_path=snakemake.input.dataset,
        models_path=snakemake.input.models,
        score_paths=dict(zip(snakemake.params.estimators, snakemake.input.scores, strict=True)),
        output=snakemake.output[0],
        experiment=snakemake.wildcards.experiment,
        seed=snakemake.params.seed,
    )
