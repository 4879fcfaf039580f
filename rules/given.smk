# Of experiments whose log p is given: files of the user's in place of training and estimation. Each rule takes seconds, where
# Snakemake runs, because compute nodes need not see the user's files.


rule given_images:
    """Images and labels that come with log p, in the form of a data set."""
    output:
        EXPERIMENT.images,
    log:
        "logs/{experiment}/given_images.log",
    wildcard_constraints:
        experiment=THAT_GIVE_LOG_PX,
    localrule: True
    conda:
        "../envs/engram.yaml"
    params:
        given=given(given_pictures),
        code=code("given_images"),
    message:
        "Images of {wildcards.experiment}"
    script:
        "../workflow/scripts/given_images.py"


rule given_membership:
    """Which model was trained on which image, from the file that says so."""
    input:
        dataset=dataset_of,
    output:
        EXPERIMENT.membership,
    log:
        "logs/{experiment}/given_membership.log",
    wildcard_constraints:
        experiment=THAT_GIVE_LOG_PX,
    localrule: True
    conda:
        "../envs/engram.yaml"
    params:
        given=given(given_first),
        seed=setting("seed"),
        code=code("given_membership"),
    message:
        "Membership of {wildcards.experiment}"
    script:
        "../workflow/scripts/given_membership.py"


rule given_likelihood:
    """log p of every image under every model, from the file that gives it for one epoch."""
    input:
        membership=EXPERIMENT.membership,
    output:
        EXPERIMENT.likelihood(GIVEN, ALL_MODELS, "{epoch}"),
    log:
        f"logs/{{experiment}}/{GIVEN}_likelihood/epoch-{{epoch}}.log",
    wildcard_constraints:
        experiment=THAT_GIVE_LOG_PX,
    localrule: True
    conda:
        "../envs/engram.yaml"
    params:
        given=given(given_at_epoch),
        seed=setting("seed"),
        code=code("given_likelihood"),
    message:
        "Given log p of {wildcards.experiment}, epoch {wildcards.epoch}"
    script:
        "../workflow/scripts/given_likelihood.py"
