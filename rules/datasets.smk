rule dataset:
    """Images, labels and the train/test split of a data set, in one HDF5 form."""
    output:
        layout.dataset("{dataset}"),
    log:
        "logs/datasets/{dataset}.log",
    # On a cluster it runs where Snakemake does: compute nodes often have no internet.
    localrule: True
    conda:
        "../envs/engram.yaml"
    params:
        definition=dataset_definition,
        images=content_of_own_images,
        code=code_of_dataset,
    message:
        "Data set {wildcards.dataset}"
    script:
        "../workflow/scripts/dataset.py"
