# engram: which training examples has a generative model memorized?
# Contents: data sets -> membership -> model check -> train -> likelihood -> scores -> analyses -> measures -> figures -> report.
# Everything of an experiment is set in config.yaml; everything made is under results/.

from snakemake.utils import min_version

min_version("9.13")


include: "rules/start.smk"


configfile: "config.yaml"


include: "rules/common.smk"
include: "rules/datasets.smk"
include: "rules/membership.smk"
include: "rules/model_check.smk"
include: "rules/train.smk"
include: "rules/likelihood.smk"
include: "rules/given.smk"
include: "rules/audit.smk"
include: "rules/scores.smk"
include: "rules/analyses.smk"
include: "rules/measures.smk"
include: "rules/figures.smk"
include: "rules/report.smk"
include: "rules/paper.smk"


# A limit on GPUs is this machine's own: it must not hold back jobs on a cluster.
resource_scopes:
    gpu="local",


rule all:
    """The report of the experiments in `run:`, and every result behind it."""
    default_target: True
    input:
        shared_page(config["run"]),
        all_results(config["run"]),


rule all_scores:
    """Scores of the experiments in `run:`, without analyses, figures and report."""
    input:
        all_scores(config["run"]),


rule paper:
    """The paper's four experiments: results/paper/reproduction.csv and results/paper/report.html."""
    input:
        lambda wildcards: reproduction_results("paper"),


rule paper_small:
    """The same from small versions of the MNIST experiments, for a workstation: results/paper_small/."""
    input:
        lambda wildcards: reproduction_results("paper_small"),
