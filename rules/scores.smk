rule scores:
    """Memorization score of every training image, with its error bar and p-value."""
    input:
        likelihoods=likelihoods,
        membership=EXPERIMENT.membership,
        dataset=dataset_of,
    output:
        h5=EXPERIMENT.scores("{estimator}", "h5"),
        csv=EXPERIMENT.scores("{estimator}", "csv"),
    log:
        "logs/{experiment}/scores/{estimator}.log",
    conda:
        "../envs/engram.yaml"
    threads: 2
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        statistic=estimator("statistic"),
        permutations=estimator("permutations"),
        scored_epochs=epochs_of,
        seed=setting("seed"),
        code=code("scores"),
    message:
        "Scores of {wildcards.experiment} by {wildcards.estimator}"
    script:
        "../workflow/scripts/scores.py"
