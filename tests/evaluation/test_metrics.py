import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, log_loss, precision_recall_fscore_support

from mnistctl.evaluation import metrics

NAMES = ["a", "b", "c", "d"]
answers = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60)


@given(answers)
def test_confusion_and_metrics_per_class_equal_those_of_scikit_learn(
    pairs: list[tuple[int, int]],
) -> None:
    labels, predicted = (np.array(column, dtype=np.int64) for column in zip(*pairs, strict=True))

    confusion = metrics.confusion_matrix(labels, predicted, classes=4)
    rows = metrics.per_class(confusion, NAMES)

    assert (confusion == confusion_matrix(labels, predicted, labels=range(4))).all()
    oracle = precision_recall_fscore_support(labels, predicted, labels=range(4), zero_division=0)
    for name, column in zip(("precision", "recall", "f1", "images"), oracle, strict=True):
        assert [row[name] for row in rows] == pytest.approx(list(column))


def test_cross_entropy_equals_that_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(4), size=50).astype(np.float32)
    labels = random.integers(0, 4, size=50)

    loss = metrics.cross_entropy(probabilities, labels)

    assert loss == pytest.approx(log_loss(labels, probabilities, labels=range(4)), rel=1e-5)


@pytest.mark.parametrize(
    ("right", "images", "low", "high"),
    [  # computed by hand from Wilson's formula, to four places
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (9_942, 10_000, 0.9925, 0.9955),
        (50, 100, 0.4038, 0.5962),
    ],
)
def test_the_wilson_interval_equals_values_computed_by_hand(
    right: int, images: int, low: float, high: float
) -> None:
    assert metrics.wilson_interval(right, images) == pytest.approx((low, high), abs=5e-5)


def test_the_most_confused_pairs_are_sorted_and_have_no_correct_predictions() -> None:
    confusion = np.array([[9, 2, 0, 0], [0, 9, 0, 0], [0, 0, 9, 5], [1, 0, 0, 9]])

    pairs = metrics.most_confused(confusion, NAMES, count=2)

    assert pairs == [
        {"label": "c", "predicted": "d", "images": 5},
        {"label": "a", "predicted": "b", "images": 2},
    ]


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemars_test_equals_the_binomial_test_of_scipy(only_first: int, only_second: int) -> None:
    images = only_first + only_second
    expected = binomtest(only_first, images).pvalue if images else 1.0

    assert metrics.mcnemar(only_first, only_second) == pytest.approx(expected, rel=1e-6)


def test_mcnemars_test_takes_60000_images() -> None:
    assert metrics.mcnemar(30_000, 30_000) == 1
    assert metrics.mcnemar(29_000, 31_000) < 1e-12


@pytest.mark.parametrize(
    ("p_values", "expected"),
    [
        ([], []),
        ([0.03], [0.03]),
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.5, 0.9], [1.0, 1.0]),
    ],
)
def test_holms_method_adjusts_p_values_for_the_number_of_comparisons(
    p_values: list[float], expected: list[float]
) -> None:
    assert metrics.holm(p_values) == pytest.approx(expected)


@pytest.mark.parametrize("factor", [0.2, 1.0, 4.0])
def test_the_temperature_equals_a_factor_on_the_logits(factor: float) -> None:
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (40_000, 5))
    gumbel = random.gumbel(size=logits.shape)  # argmax of logits + gumbel is a sample of softmax
    labels = (logits + gumbel).argmax(axis=1)

    temperature = metrics.fit_temperature((factor * logits).astype(np.float32), labels)

    assert temperature == pytest.approx(factor, rel=0.02)  # sampling error of 40,000 images


def test_the_temperature_is_as_good_as_the_minimum_that_scipy_finds() -> None:
    random = np.random.default_rng(1)
    logits = random.normal(0, 3, (300, 4)).astype(np.float32)
    labels = random.integers(0, 4, 300)

    def loss(temperature: float) -> float:
        shares = softmax(logits.astype(float) / temperature, axis=1)
        return float(log_loss(labels, shares, labels=range(4)))

    best = minimize_scalar(loss, bounds=(0.5, 90), method="bounded").x
    assert loss(metrics.fit_temperature(logits, labels)) <= loss(best) + 1e-9


def test_a_model_without_mistakes_gets_the_lowest_temperature() -> None:
    logits = np.eye(3, dtype=np.float32)

    assert metrics.fit_temperature(logits, np.arange(3)) == pytest.approx(0.01)


def test_the_calibration_error_is_the_mean_difference_of_confidence_and_accuracy() -> None:
    probabilities = np.array(4 * [[0.95, 0.05]] + [[0.45, 0.55], [1.0, 0.0]], dtype=np.float32)
    labels = np.array([0, 0, 0, 1, 1, 0])

    bins = metrics.reliability(probabilities, labels, bins=10)

    assert [(row["images"], row["accuracy"]) for row in bins] == [(1, 1.0), (5, 0.8)]
    assert [row["confidence"] for row in bins] == pytest.approx([0.55, 0.96])
    # by hand: (1 × 0.45 + 5 × 0.16) / 6
    assert metrics.expected_calibration_error(bins) == pytest.approx(1.25 / 6)


def test_the_loss_of_a_model_that_is_sure_and_right_is_zero_and_not_minus_zero() -> None:
    sure = np.array([[1, 0], [1.0000001, 0]], dtype=np.float32)

    assert str(metrics.cross_entropy(sure, np.array([0, 0]))) == "0.0"
