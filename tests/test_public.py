"""The public functions: what they take, what they refuse, and answers worked by hand."""

import inspect
import math
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import engram
from engram.errors import UserError

# Two repeats of two models, three images. By hand, image 0: repeat 0 gives -10 + 14 = 4, repeat 1 gives -11 + 13 = 2.
LOG_PX = np.array([[-10.0, -20.0, -30.0], [-14.0, -21.0, -30.0], [-11.0, -26.0, -30.0], [-13.0, -25.0, -30.0]])
IN_TRAINING = np.array([[1, 1, 1], [0, 0, 0], [1, 0, 1], [0, 1, 0]])
REPEAT = np.array([0, 0, 1, 1])
SCORE = [3.0, 1.0, 0.0]
STANDARD_ERROR = [1.0, 0.0, 0.0]  # half the difference of the two repeats' scores
P_VALUE = [0.25, 0.25, 1.0]  # of four relabellings: image 0 and 1 have the largest statistic, image 2 has ties only


def score(*arguments, **settings):
    """engram.score without its warnings, which tests of their own expect."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return engram.score(*arguments, **settings)


def gpus():
    return [torch.device("cuda")] if torch.cuda.is_available() else []


AS_FLOATS = {
    "list": lambda values: values.tolist(),
    "tuple": lambda values: tuple(map(tuple, values.tolist())),
    "float64": lambda values: values,
    "float32": lambda values: values.astype(np.float32),
    "float16": lambda values: values.astype(np.float16),
    "big-endian": lambda values: values.astype(">f8"),
    "objects": lambda values: values.astype(object),
    "Fortran order": lambda values: np.asfortranarray(values),
    "tensor": lambda values: torch.tensor(values),
    "bfloat16": lambda values: torch.tensor(values, dtype=torch.bfloat16),
    "gradient": lambda values: torch.tensor(values, requires_grad=True),
    "list of tensors": lambda values: [torch.tensor(row, requires_grad=True) for row in values],
    "DataFrame": lambda values: pd.DataFrame(values),
    "DataArray": lambda values: xr.DataArray(values, dims=("model", "sample")),
    "DataArray, samples first": lambda values: xr.DataArray(values.T, dims=("sample", "model")),
    "unmasked": lambda values: np.ma.masked_array(values),
} | {str(device): lambda values, device=device: torch.tensor(values, device=device) for device in gpus()}
AS_MASK = {kind: cast for kind, cast in AS_FLOATS.items()} | {
    "bool": lambda values: values.astype(bool),
    "uint8": lambda values: values.astype(np.uint8),
    "int64": lambda values: values.astype(np.int64),
    "bool tensor": lambda values: torch.tensor(values).bool(),
    "nullable": lambda values: pd.DataFrame(values.astype(bool)).astype("boolean"),
}


@pytest.mark.parametrize("kind", AS_FLOATS)
def test_log_p_may_come_in_any_form(kind):
    table = score(AS_FLOATS[kind](LOG_PX), IN_TRAINING, REPEAT)
    np.testing.assert_array_equal(table["score"], SCORE)
    np.testing.assert_array_equal(table["p_value"], P_VALUE)


@pytest.mark.parametrize("kind", AS_MASK)
def test_the_mask_may_come_in_any_form(kind):
    mask = AS_MASK[kind](IN_TRAINING.astype(float))
    np.testing.assert_array_equal(score(LOG_PX, mask, REPEAT)["score"], SCORE)
    np.testing.assert_array_equal(engram.scores.memorization_scores(LOG_PX, mask, "mean_log"), SCORE)
    np.testing.assert_array_equal(engram.permutation_test(LOG_PX, mask, REPEAT).p_value, P_VALUE)


@pytest.mark.parametrize(
    "repeat",
    [
        [0, 0, 1, 1],
        [7.0, 7.0, 9.0, 9.0],
        ["a", "a", "b", "b"],
        torch.tensor(REPEAT),
        pd.Series(REPEAT),
        (True, True, False, False),
    ],
    ids=str,
)
def test_repeats_may_have_any_names(repeat):
    table = score(LOG_PX, IN_TRAINING, repeat)
    np.testing.assert_array_equal(table["standard_error"], STANDARD_ERROR)
    np.testing.assert_array_equal(table["p_value"], P_VALUE)


def test_a_table_of_scores_by_hand():
    log_px = pd.DataFrame(LOG_PX, columns=["cat", "dog", "owl"])
    table = score(log_px, IN_TRAINING, REPEAT)
    expected = {"score": SCORE, "standard_error": STANDARD_ERROR, "p_value": P_VALUE, "q_value": [0.375, 0.375, 1.0]}
    pd.testing.assert_frame_equal(table, pd.DataFrame(expected, index=pd.Index(["cat", "dog", "owl"], name="image")))
    assert table.attrs["p_value_floor"] == 0.25
    assert table.attrs["relabellings"] == 4 and table.attrs["relabellings_are_all"]
    assert list(table.attrs["null_quantiles"]) == [0.5, 0.9, 0.95, 0.99, 0.999]
    assert table.attrs["null_quantiles"][0.999] <= 3.0 + 1e-9  # no relabelling beats image 0's own labels


def test_draws_are_averaged():
    draws = np.stack([LOG_PX - 1, LOG_PX + 1, LOG_PX], axis=1)
    table = score(draws, IN_TRAINING, REPEAT)
    np.testing.assert_allclose(table["score"], SCORE)
    np.testing.assert_allclose(table["standard_error_of_draws"], 0, atol=1e-12)
    draws = np.stack([LOG_PX + IN_TRAINING, LOG_PX - IN_TRAINING], axis=1)  # scores 2 nats apart
    np.testing.assert_allclose(score(draws, IN_TRAINING, REPEAT)["standard_error_of_draws"], 1)
    assert "standard_error_of_draws" not in score(LOG_PX[:, None], IN_TRAINING, REPEAT)


def test_an_integer_mask_is_a_mask():
    """~ of an integer 1 is -2: what was to be the models out was once the sum of all."""
    log_px = [[-100.0], [-104.3], [-100.0]]
    for mask in ([[1], [0], [1]], [[True], [False], [True]], [[1.0], [0.0], [1.0]]):
        assert engram.scores.memorization_scores(log_px, mask, "mean_log")[0] == pytest.approx(4.3)


WRONG = {
    "nan": (lambda x, m, r: (with_value(x, np.nan), m, r), "log_px: is nan for model 1, image 2"),
    "density 0": (lambda x, m, r: (with_value(x, -np.inf), m, r), "log_px: is -inf for model 1, image 2; density 0"),
    "infinite": (lambda x, m, r: (with_value(x, np.inf), m, r), "log_px: is inf for model 1, image 2"),
    "stand-in": (lambda x, m, r: (with_value(x, np.finfo(np.float32).min), m, r), "log_px: is -3.40282e.38 for model 1"),
    "None": (lambda x, m, r: (with_value(x.astype(object), None), m, r), r"log_px: holds 'None' at \(1, 2\)"),
    "text": (lambda x, m, r: (x.astype(str), m, r), "log_px: holds <U"),
    "ragged": (lambda x, m, r: ([[1.0, 2.0], [1.0]], m, r), "log_px: is no rectangular array of numbers"),
    "masked": (lambda x, m, r: (np.ma.masked_less(x, -29), m, r), r"log_px: has masked values.*\(0, 2\)"),
    "complex": (lambda x, m, r: (x + 0j, m, r), "log_px: holds complex128, not numbers"),
    "swapped": (lambda x, m, r: (m.astype(bool), x, r), "log_px: holds only true and false; log p in nats comes first"),
    "nothing": (lambda x, m, r: (x[:, :0], m[:, :0], r), r"log_px: has the shape \(4, 0\)"),
    "vector": (lambda x, m, r: (x[0], m[0], r), r"log_px: has the shape \(3,\)"),
    "mask of 2": (lambda x, m, r: (x, with_value(m, 2), r), "in_training: is 2 for model 1, image 2"),
    "mask of -1": (lambda x, m, r: (x, 2 * m - 1, r), "in_training: is -1 for model 1, image 0"),
    "mask of shares": (lambda x, m, r: (x, with_value(m.astype(float), 0.5), r), "in_training: is 0.5 for model 1, image 2"),
    "mask of nan": (lambda x, m, r: (x, with_value(m.astype(float), np.nan), r), "in_training: is nan for model 1, image 2"),
    "in all": (lambda x, m, r: (x, m | [[1, 0, 0]], r), "in_training: all models were trained on image 0; a score"),
    "in none": (lambda x, m, r: (x, m & [[1, 0, 0]], r), r"in_training: no model was trained on image 1 \(and 1 more images\)"),
    "too few models": (lambda x, m, r: (x, m[:3], r), r"in_training: has the shape \(3, 3\) beside log_px \(4, 3\)"),
    "a missing column": (lambda x, m, r: (x[:, :2], m, r), r"in_training: has the shape \(4, 3\) beside log_px \(4, 2\)"),
    "mask transposed": (lambda x, m, r: (x, m.T, r), "it is transposed; give in_training.T"),
    "log_px transposed": (lambda x, m, r: (x.T, m, r), "it is transposed; give log_px.T, a row a model"),
    "both transposed": (lambda x, m, r: (x.T, m.T, r), "it is transposed; give log_px.T and in_training.T"),
    "repeat too short": (lambda x, m, r: (x, m, r[:2]), r"repeat: has the shape \(2,\), must be \(4,\)"),
    "repeat a matrix": (lambda x, m, r: (x, m, r[:, None]), r"repeat: has the shape \(4, 1\)"),
    "repeat of nan": (lambda x, m, r: (x, m, [0, 0, np.nan, 1]), "repeat: is nan for model 2"),
    "repeat of None": (lambda x, m, r: (x, m, [0, 0, None, 1]), "repeat: is None for model 2"),
    "mixed repeat": (lambda x, m, r: (x, m, np.array([0, 0, "a", "a"], dtype=object)), "repeat: mixes numbers and names"),
}  # fmt: skip


def with_value(values, value):
    values = values.copy()
    values[1, 2] = value
    return values


# What is no array of numbers at all, whichever argument it stands for.
NO_ARRAY = {
    "a number": 3.5,
    "text": "log_px.npy",
    "a dictionary": {"a": 1},
    "nothing": [],
    "ragged": [[1.0], [2.0, 3.0]],
    "deeper": [[[1], [2, 3]]],
    "a sparse matrix": scipy.sparse.csr_matrix(LOG_PX),
    "a sparse tensor": torch.tensor(LOG_PX).to_sparse(),
    "a data set": xr.Dataset({"log_px": (("model", "sample"), LOG_PX)}),
    "times": np.zeros((4, 3), "M8[s]"),
    "a missing number": pd.DataFrame(LOG_PX).astype("Float64").mask(LOG_PX < -29),
}


@pytest.mark.parametrize("kind", NO_ARRAY)
def test_what_is_no_array_of_numbers_is_one_line_in_any_place(kind):
    for position, name in enumerate(("log_px", "in_training", "repeat")):
        arguments = [LOG_PX, IN_TRAINING, REPEAT]
        arguments[position] = NO_ARRAY[kind]
        with pytest.raises(UserError, match=f"^{name}: ") as raised:
            engram.permutation_test(*arguments)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_is_one_line_that_names_it(kind):
    change, message = WRONG[kind]
    arguments = change(LOG_PX, IN_TRAINING, REPEAT)
    for function in (engram.score, engram.permutation_test, memorization_scores):
        with pytest.raises(UserError, match=message) as raised:
            function(*arguments)
        assert "\n" not in str(raised.value)


def memorization_scores(log_px, in_training, repeat):
    return engram.scores.memorization_scores(log_px, in_training, "mean_log", repeat)


def test_labels_of_tables_must_agree_and_are_named():
    log_px = pd.DataFrame(LOG_PX, index=list("abcd"), columns=["cat", "dog", "owl"])
    mask = pd.DataFrame(IN_TRAINING, index=list("abcd"), columns=["cat", "dog", "owl"])
    repeat = pd.Series(REPEAT, index=list("abcd"))
    assert list(score(log_px, mask, repeat).index) == ["cat", "dog", "owl"]
    with pytest.raises(
        UserError, match=r"in_training: its images are not those of log_px.*number 0 is owl and not cat"
    ):
        engram.score(log_px, mask[["owl", "dog", "cat"]], repeat)
    with pytest.raises(UserError, match="in_training: its models are not those of log_px"):
        engram.score(log_px, mask.iloc[::-1], repeat)
    with pytest.raises(UserError, match="repeat: its models are not those of log_px"):
        engram.score(log_px, mask, repeat.iloc[::-1])
    with pytest.raises(UserError, match=r"log_px: is nan for model 1 \(b\), image 2 \(owl\)"):
        engram.score(pd.DataFrame(with_value(LOG_PX, np.nan), log_px.index, log_px.columns), mask, repeat)
    # Numbers that only count the columns go with any labels; the same numbers in another order do not.
    assert list(score(log_px, IN_TRAINING, repeat).index) == list(score(LOG_PX, mask, REPEAT).index)
    with pytest.raises(UserError, match="in_training: its images are not those of log_px"):
        engram.score(pd.DataFrame(LOG_PX), pd.DataFrame(IN_TRAINING)[[2, 1, 0]], REPEAT)


def test_the_test_asks_for_repeats():
    with pytest.raises(UserError, match="repeat: is None; give each model's split, or one number for all"):
        engram.permutation_test(LOG_PX, IN_TRAINING, None)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"permutations": 0}, "permutations: is 0"), ({"permutations": 1.5}, "permutations: is 1.5"), ({"seed": -1}, "seed: is -1")],
)  # fmt: skip
def test_settings_out_of_range_are_named(wrong, message):
    for function in (engram.score, engram.permutation_test):
        with pytest.raises(UserError, match=message):
            function(LOG_PX, IN_TRAINING, REPEAT, **wrong)


LEVELS = st.integers(-200, 0).map(float)  # exact in bfloat16, so that every container holds the same numbers
SPECIAL = st.sampled_from([math.nan, math.inf, -math.inf, 1e38])


@st.composite
def comparisons(draw):
    models, images = draw(st.integers(2, 6)), draw(st.integers(1, 5))
    cells = models * images
    log_px = np.array(draw(st.lists(LEVELS, min_size=cells, max_size=cells))).reshape(models, images)
    mask = np.array(draw(st.lists(st.sampled_from([0.0, 1.0]), min_size=cells, max_size=cells))).reshape(models, images)
    repeat = draw(st.none() | st.lists(st.integers(0, 2), min_size=models, max_size=models))
    if draw(st.integers(0, 5)) == 0:
        log_px[draw(st.integers(0, models - 1)), draw(st.integers(0, images - 1))] = draw(SPECIAL)
    if draw(st.integers(0, 5)) == 0:
        mask[draw(st.integers(0, models - 1)), draw(st.integers(0, images - 1))] = draw(
            st.sampled_from([2, -1, 0.5, math.nan])
        )
    if draw(st.integers(0, 7)) == 0:
        mask = mask.T
    if draw(st.integers(0, 7)) == 0:
        log_px = log_px.T
    if repeat and draw(st.integers(0, 9)) == 0:
        repeat = repeat[:-1]
    return log_px, mask, repeat, draw(st.sampled_from(list(AS_FLOATS))), draw(st.sampled_from(list(AS_FLOATS)))


def slow_score(log_px, mask, repeat):
    """mean_log by loops over Python's own numbers; None where there is none to be had."""
    rows, flags = log_px.tolist(), mask.tolist()
    if (repeat is not None and len(repeat) != len(rows)) or np.shape(rows) != np.shape(flags):
        return None
    if not all(math.isfinite(value) and abs(value) < 1e30 for row in rows for value in row):
        return None
    if not all(value in (0, 1) for row in flags for value in row):
        return None
    scores = []
    for column in range(len(rows[0])):
        sides = [
            [row[column] for row, flag in zip(rows, flags, strict=True) if flag[column] == side] for side in (1, 0)
        ]
        if not all(sides):
            return None
        scores.append(math.fsum(sides[0]) / len(sides[0]) - math.fsum(sides[1]) / len(sides[1]))
    return scores


@settings(max_examples=300, deadline=None)
@given(comparisons())
def test_any_input_gives_the_right_score_or_one_line(comparison):
    log_px, mask, repeat, as_log_px, as_mask = comparison
    with np.errstate(all="ignore"):
        arguments = AS_FLOATS[as_log_px](log_px), AS_FLOATS[as_mask](mask), repeat
    expected = slow_score(log_px, mask, repeat)
    if expected is None:
        with pytest.raises(UserError):
            score(*arguments)
        return
    table = score(*arguments)
    np.testing.assert_allclose(table["score"], expected, atol=1e-9)
    assert ((table["p_value"] > 0) & (table["p_value"] <= 1)).all()
    np.testing.assert_array_equal(
        engram.scores.memorization_scores(arguments[0], arguments[1], "mean_log"), table["score"]
    )


def test_importing_engram_or_scoring_costs_no_torch():
    program = (
        "import sys, engram; before = 'torch' in sys.modules, 'pandas' in sys.modules; "
        "engram.score([[-1.0], [-2.0]] * 20, [[1], [0]] * 20, [0] * 40); "
        "print(*before, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False", "False"], done.stdout


def test_every_public_name_is_there_and_no_other():
    for name in engram.__all__:
        assert getattr(engram, name) is not None and name in dir(engram)
    with pytest.raises(AttributeError, match="module 'engram' has no attribute 'scoer'"):
        engram.scoer  # noqa: B018
    assert engram.permutation_test is engram.scores.permutation_test
    assert engram.estimate is engram.likelihood.estimate
    assert engram.score is engram.scores.score


# Promised to those who call: the names of the arguments, in order.
ARGUMENTS = {
    "scores.memorization_scores": ["log_px", "in_training", "statistic", "repeat"],
    "permutation_test": ["log_px", "in_training", "repeat", "permutations", "seed"],
    "score": ["log_px", "in_training", "repeat"],
    "load": ["folder"],
    "datasets.make": ["name", "definition"],
    "likelihood.estimate": ["model", "x", "proposal", "samples", "newton_steps", "proposal_scale", "seed"],
    "neighbors.distance_ratio": ["train", "validation", "samples", "as_published"],
    "models.build": ["name", "image_shape"],
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_public_functions_keep_their_arguments_and_are_documented(name):
    function = engram
    for part in name.split("."):
        function = getattr(function, part)
    assert list(inspect.signature(function).parameters)[: len(ARGUMENTS[name])] == ARGUMENTS[name]
    assert "UserError" in function.__doc__
