"""Does a set of images look like members? One p-value for the whole set, by relabelling all its images together.

The statistic is the mean over the set of the score by mean_log: mean log p of the models trained on an image minus that of the
others. If training on these images made no difference to them, the models of a repeat are exchangeable, and so are the rows of
labels that say which of the set's images each was trained on. All images of the set keep their labels together, so the test
holds however alike images and models are. A set that was chosen for its scores, such as the images found at FDR 5 %, has a small
p-value by that choice alone.
"""

import numpy as np

from engram.randomness import generator

RELABELLINGS = 9_999
BATCH = 1_000  # relabellings at once


def set_p_values(log_px: np.ndarray, is_in: np.ndarray, repeat: np.ndarray, sets: np.ndarray, seed: int) -> np.ndarray:
    """One-sided p-value of each set, (sets,), small where its images are likelier under the models trained on them.

    log_px (models, n), nats; is_in (models, n) bool; repeat (models,), within which labels are exchanged; sets (sets, n)
    bool. Exact (Phipson & Smyth 2010), from 9,999 relabellings that all sets share; ties count as reaching what is observed.
    """
    weight = is_in / is_in.sum(axis=0) - ~is_in / (~is_in).sum(axis=0)
    centred = log_px - log_px.mean(axis=0)
    rows = [np.flatnonzero(repeat == number) for number in np.unique(repeat)]
    # Of each repeat (sets, models, models): what the first model's log p adds under the second one's labels.
    tables = [np.array([(centred[row] * chosen) @ weight[row].T for chosen in sets]) for row in rows]
    observed = sum(np.trace(table, axis1=1, axis2=2) for table in tables)
    tolerance = 1e-9 * sum(np.abs(table).sum(axis=(1, 2)) for table in tables)
    rng = generator(seed, "set test")
    reaching = np.ones(len(sets), dtype=int)
    for start in range(0, RELABELLINGS, BATCH):
        count, statistic = min(BATCH, RELABELLINGS - start), 0
        for table in tables:
            models = table.shape[1]
            relabelled = rng.random((count, models)).argsort(axis=1)
            statistic = statistic + table[:, relabelled, np.arange(models)].sum(axis=2)
        reaching += (statistic >= (observed - tolerance)[:, None]).sum(axis=1)
    return reaching / (RELABELLINGS + 1)
