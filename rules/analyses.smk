rule neighbors:
    """Nearest-neighbour ratio of every training image, correct and as published."""
    input:
        dataset=dataset_of,
        models="results/{experiment}/models/full.h5",
        scores=scores,
    output:
        "results/{experiment}/analyses/neighbors.h5",
    log:
        "logs/{experiment}/analyses/neighbors.log",
    conda:
        "../envs/engram.yaml"
    threads: 2
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        estimators=setting("estimators"),
        seed=setting("seed"),
        code=code_with_model("neighbors"),
    message:
        "Nearest neighbours of {wildcards.experiment}"
    script:
        "../workflow/scripts/neighbors.py"


rule mode_collapse:
    """Which training images the samples of the full model crowd around."""
    input:
        dataset=dataset_of,
        models="results/{experiment}/models/full.h5",
        scores=scores,
    output:
        "results/{experiment}/analyses/mode_collapse.h5",
    log:
        "logs/{experiment}/analyses/mode_collapse.log",
    conda:
        "../envs/engram.yaml"
    threads: 2
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        estimators=setting("estimators"),
        seed=setting("seed"),
        code=code_with_model("mode_collapse"),
    message:
        "Mode collapse of {wildcards.experiment}"
    script:
        "../workflow/scripts/mode_collapse.py"


rule density_split:
    """Log density of highly memorized and of other images."""
    input:
        scores=scores,
    output:
        "results/{experiment}/analyses/density_split.h5",
    log:
        "logs/{experiment}/analyses/density_split.log",
    conda:
        "../envs/engram.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        estimators=setting("estimators"),
        seed=setting("seed"),
        code=code("density_split"),
    message:
        "Density split of {wildcards.experiment}"
    script:
        "../workflow/scripts/density_split.py"


rule encoder_part:
    """What of the score is the encoder's: score by the encoder proposal minus score by the Laplace proposal."""
    input:
        encoder=scores_of_pair(0),
        laplace=scores_of_pair(1),
    output:
        "results/{experiment}/analyses/encoder_part.h5",
    log:
        "logs/{experiment}/analyses/encoder_part.log",
    conda:
        "../envs/engram.yaml"
    params:
        encoder_estimator=lambda wildcards: encoder_part_pair(wildcards.experiment)[0],
        laplace_estimator=lambda wildcards: encoder_part_pair(wildcards.experiment)[1],
        seed=setting("seed"),
        code=code("encoder_part"),
    message:
        "Encoder part of {wildcards.experiment}"
    script:
        "../workflow/scripts/encoder_part.py"
