rule dataset:
    """Images, labels and the train/test split of a data set, in one HDF5 form."""
    output:
        "results/datasets/{dataset}.h5",
    log:
        "logs/datasets/{dataset}.log",
    conda:
        "../envs/engram.yaml"
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        definition=dataset_definition,
        code=code("dataset"),
    message:
        "Data set {wildcards.dataset}"
    script:
        "../workflow/scripts/dataset.py"
