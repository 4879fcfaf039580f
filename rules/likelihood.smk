rule likelihood:
    """log p of every image under the models of one repeat at one epoch, by one estimator."""
    input:
        models=trained_models,
        dataset=dataset_of,
    output:
        EXPERIMENT.likelihood("{estimator}", "{repeat}", "{epoch}"),
    log:
        "logs/{experiment}/likelihood/{estimator}/{repeat}/epoch-{epoch}.log",
    conda:
        "../envs/engram.yaml"
    threads: 1
    resources:
        gpu=gpus_here,
        mem_mb=likelihood_request(requests.likelihood_megabytes),
        runtime=likelihood_request(requests.likelihood_minutes),
    params:
        estimator=likelihood_settings,
        seed=setting("seed"),
        code=code_with_model("likelihood"),
    message:
        "Likelihood of {wildcards.experiment} by {wildcards.estimator}: {wildcards.repeat}, epoch {wildcards.epoch}"
    script:
        "../workflow/scripts/likelihood.py"
