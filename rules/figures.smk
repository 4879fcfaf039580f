rule figure_losses:
    """Losses of the trained models against epoch."""
    input:
        models=all_models,
    output:
        pdf="results/{experiment}/figures/losses.pdf",
        png=report(
            "results/{experiment}/figures/losses.png",
            caption="../workflow/engram/report/captions/losses.rst",
            category="{experiment}",
        ),
    log:
        "logs/{experiment}/figures/losses.log",
    conda:
        "../envs/engram.yaml"
    params:
        code=code("figure_losses"),
    message:
        "Figure losses of {wildcards.experiment}"
    script:
        "../workflow/scripts/figure_losses.py"


rule figure_quantiles:
    """Quantiles of the score against epoch."""
    input:
        scores=scores,
    output:
        pdf="results/{experiment}/figures/quantiles.pdf",
        png=report(
            "results/{experiment}/figures/quantiles.png",
            caption="../workflow/engram/report/captions/quantiles.rst",
            category="{experiment}",
        ),
    log:
        "logs/{experiment}/figures/quantiles.log",
    conda:
        "../envs/engram.yaml"
    params:
        estimators=setting("estimators"),
        code=code("figure_quantiles"),
    message:
        "Figure quantiles of {wildcards.experiment}"
    script:
        "../workflow/scripts/figure_quantiles.py"


rule figure_score_histogram:
    """Distribution of the score, with a Johnson-SU fit and the null."""
    input:
        scores=scores,
    output:
        pdf="results/{experiment}/figures/score_histogram.pdf",
        png=report(
            "results/{experiment}/figures/score_histogram.png",
            caption="../workflow/engram/report/captions/score_histogram.rst",
            category="{experiment}",
        ),
    log:
        "logs/{experiment}/figures/score_histogram.log",
    conda:
        "../envs/engram.yaml"
    params:
        estimators=setting("estimators"),
        code=code("figure_score_histogram"),
    message:
        "Figure score_histogram of {wildcards.experiment}"
    script:
        "../workflow/scripts/figure_score_histogram.py"


rule figure_grids:
    """Images with the lowest, median and highest scores."""
    input:
        scores=scores,
        dataset=dataset_of,
    output:
        pdf="results/{experiment}/figures/grids.pdf",
        png=report(
            "results/{experiment}/figures/grids.png",
            caption="../workflow/engram/report/captions/grids.rst",
            category="{experiment}",
        ),
    log:
        "logs/{experiment}/figures/grids.log",
    conda:
        "../envs/engram.yaml"
    params:
        estimators=setting("estimators"),
        code=code("figure_grids"),
    message:
        "Figure grids of {wildcards.experiment}"
    script:
        "../workflow/scripts/figure_grids.py"


rule figure_density_split:
    """Log density of highly memorized and of other images, and the share by bin."""
    input:
        density_split="results/{experiment}/analyses/density_split.h5",
        scores=scores,
        dataset=dataset_of,
    output:
        pdf="results/{experiment}/figures/density_split.pdf",
        png=report(
            "results/{experiment}/figures/density_split.png",
            caption="../workflow/engram/report/captions/density_split.rst",
            category="{experiment}",
        ),
    log:
        "logs/{experiment}/figures/density_split.log",
    conda:
        "../envs/engram.yaml"
    params:
        estimators=setting("estimators"),
        code=code("figure_density_split"),
    message:
        "Figure density_split of {wildcards.experiment}"
    script:
        "../workflow/scripts/figure_density_split.py"


rule figure_neighbors:
    """Nearest-neighbour ratio against score."""
    input:
        neighbors="results/{experiment}/analyses/neighbors.h5",
        scores=scores,
    output:
        pdf="results/{experiment}/figures/neighbors.pdf",
        png=report(
            "results/{experiment}/figures/neighbors.png",
            caption="../workflow/engram/report/captions/neighbors.rst",
            category="{experiment}",
        ),
    log:
        "logs/{experiment}/figures/neighbors.log",
    conda:
        "../envs/engram.yaml"
    params:
        estimators=setting("estimators"),
        code=code("figure_neighbors"),
    message:
        "Figure neighbors of {wildcards.experiment}"
    script:
        "../workflow/scripts/figure_neighbors.py"


rule figure_mode_collapse:
    """Where samples crowd, against score."""
    input:
        mode_collapse="results/{experiment}/analyses/mode_collapse.h5",
        scores=scores,
        dataset=dataset_of,
    output:
        pdf="results/{experiment}/figures/mode_collapse.pdf",
        png=report(
            "results/{experiment}/figures/mode_collapse.png",
            caption="../workflow/engram/report/captions/mode_collapse.rst",
            category="{experiment}",
        ),
    log:
        "logs/{experiment}/figures/mode_collapse.log",
    conda:
        "../envs/engram.yaml"
    params:
        estimators=setting("estimators"),
        code=code("figure_mode_collapse"),
    message:
        "Figure mode_collapse of {wildcards.experiment}"
    script:
        "../workflow/scripts/figure_mode_collapse.py"


rule figure_comparison:
    """The estimators side by side."""
    input:
        scores=scores,
    output:
        pdf="results/{experiment}/figures/comparison.pdf",
        png=report(
            "results/{experiment}/figures/comparison.png",
            caption="../workflow/engram/report/captions/comparison.rst",
            category="{experiment}",
        ),
    log:
        "logs/{experiment}/figures/comparison.log",
    conda:
        "../envs/engram.yaml"
    params:
        estimators=setting("estimators"),
        code=code("figure_comparison"),
    message:
        "Figure comparison of {wildcards.experiment}"
    script:
        "../workflow/scripts/figure_comparison.py"


rule figure_encoder_part:
    """The part of the score that is the encoder's generalization gap."""
    input:
        encoder_part="results/{experiment}/analyses/encoder_part.h5",
    output:
        pdf="results/{experiment}/figures/encoder_part.pdf",
        png=report(
            "results/{experiment}/figures/encoder_part.png",
            caption="../workflow/engram/report/captions/encoder_part.rst",
            category="{experiment}",
        ),
    log:
        "logs/{experiment}/figures/encoder_part.log",
    conda:
        "../envs/engram.yaml"
    params:
        code=code("figure_encoder_part"),
    message:
        "Figure encoder_part of {wildcards.experiment}"
    script:
        "../workflow/scripts/figure_encoder_part.py"


rule figure_error_by_repeats:
    """How the error of a score falls with the number of repeats."""
    input:
        scores=scores,
    output:
        pdf="results/{experiment}/figures/error_by_repeats.pdf",
        png=report(
            "results/{experiment}/figures/error_by_repeats.png",
            caption="../workflow/engram/report/captions/error_by_repeats.rst",
            category="{experiment}",
        ),
    log:
        "logs/{experiment}/figures/error_by_repeats.log",
    conda:
        "../envs/engram.yaml"
    params:
        estimators=setting("estimators"),
        code=code("figure_error_by_repeats"),
    message:
        "Figure error_by_repeats of {wildcards.experiment}"
    script:
        "../workflow/scripts/figure_error_by_repeats.py"


rule figure_paper_losses:
    """Losses of the full models at the paper's two learning rates."""
    input:
        models=full_models_of_both_rates,
    output:
        pdf="results/{reproduction}/figures/losses.pdf",
        png=report(
            "results/{reproduction}/figures/losses.png",
            caption="../workflow/engram/report/captions/paper_losses.rst",
            category="{reproduction}",
        ),
    log:
        "logs/{reproduction}/figures/losses.log",
    conda:
        "../envs/engram.yaml"
    params:
        rates=rates,
        code=code("figure_paper_losses"),
    message:
        "Figure losses of {wildcards.reproduction}"
    script:
        "../workflow/scripts/figure_paper_losses.py"


rule figure_paper_quantiles:
    """Quantiles of the score against epoch at the paper's two learning rates, with intervals."""
    input:
        likelihoods_of_both_rates,
    output:
        pdf="results/{reproduction}/figures/quantiles.pdf",
        png=report(
            "results/{reproduction}/figures/quantiles.png",
            caption="../workflow/engram/report/captions/paper_quantiles.rst",
            category="{reproduction}",
        ),
    log:
        "logs/{reproduction}/figures/quantiles.log",
    conda:
        "../envs/engram.yaml"
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        rates=rates,
        experiments=experiments_of_both_rates,
        panels=AS_PUBLISHED_AND_CORRECTED,
        code=code("figure_paper_quantiles"),
    message:
        "Figure quantiles of {wildcards.reproduction}"
    script:
        "../workflow/scripts/figure_paper_quantiles.py"


rule figure_paper_score_histogram:
    """Distributions of the score at the paper's two learning rates, with Johnson-SU fits."""
    input:
        scores_of_both_rates,
    output:
        pdf="results/{reproduction}/figures/score_histogram.pdf",
        png=report(
            "results/{reproduction}/figures/score_histogram.png",
            caption="../workflow/engram/report/captions/paper_score_histogram.rst",
            category="{reproduction}",
        ),
    log:
        "logs/{reproduction}/figures/score_histogram.log",
    conda:
        "../envs/engram.yaml"
    params:
        rates=rates,
        experiments=experiments_of_both_rates,
        panels=AS_PUBLISHED_AND_CORRECTED,
        code=code("figure_paper_score_histogram"),
    message:
        "Figure score_histogram of {wildcards.reproduction}"
    script:
        "../workflow/scripts/figure_paper_score_histogram.py"
