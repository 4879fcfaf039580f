"""Rule scores: memorization scores of one estimator at every scored epoch, with error bars, p-values and their null."""

import time

from engram.files import artifacts, atomic, provenance
from engram.runtime.jobs import job
from engram.runtime.machine import peak_memory
from engram.scores import stage

with job(snakemake.log[0]) as log:
    started = time.monotonic()
    params, wildcards = snakemake.params, snakemake.wildcards
    membership = artifacts.read(snakemake.input.membership, "membership")
    settings = {
        "statistic": params.statistic,
        "scored_epochs": list(params.scored_epochs),
        "permutations": params.permutations,
    }
    variables, found, warning = stage.compute(
        snakemake.input.likelihoods, membership, seed=params.seed, threads=snakemake.threads, **settings
    )
    if warning:
        log.warning("%s, %s: %s", wildcards.experiment, wildcards.estimator, warning)
    attributes = provenance.attributes(
        wildcards.experiment,
        params.seed,
        settings,
        estimator=wildcards.estimator,
        dataset_sha256=membership.attrs["dataset_sha256"],
        wall_seconds=time.monotonic() - started,
        peak_memory_bytes=peak_memory(),
        **found,
    )
    artifacts.write(snakemake.output.h5, "scores", variables, attributes)
    atomic.write(snakemake.output.csv, stage.table(variables).to_csv(index=False).encode())
