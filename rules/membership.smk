rule membership:
    """Which model is trained on which image: the folds of every repeat."""
    input:
        dataset=dataset_of,
    output:
        EXPERIMENT.membership,
    log:
        "logs/{experiment}/membership.log",
    wildcard_constraints:
        experiment=THAT_TRAIN,
    # It takes seconds: on a cluster, queueing would take longer.
    localrule: True
    conda:
        "../envs/engram.yaml"
    params:
        membership=setting("membership"),
        seed=setting("seed"),
        code=code("membership"),
    message:
        "Membership of {wildcards.experiment}"
    script:
        "../workflow/scripts/membership.py"
