rule model_check:
    """What is wrong with the model of an experiment, if anything: found on one batch, before any model is trained."""
    input:
        dataset=dataset_of,
    output:
        EXPERIMENT.model_check("{digest}"),
    log:
        "logs/{experiment}/model_check/{digest}.log",
    # Before any training, also of another experiment.
    priority: 100
    # It takes seconds: on a cluster, queueing would take longer.
    localrule: True
    conda:
        "../envs/engram.yaml"
    threads: 1
    params:
        model=setting("model"),
        # That of rule train: what else is looked for in a model is no reason to train it again.
        code=code_with_model("train"),
    message:
        "Check of the model of {wildcards.experiment}"
    script:
        "../workflow/scripts/model_check.py"
