import numpy as np
import pytest
from scipy import sparse
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import cohen_kappa_score

from tests.transfer.given import known_of
from tests.transfer.planted import PlantedRun
from unlabeled.data import grades
from unlabeled.data.label_forms import as_task, form_of
from unlabeled.data.labels import Labels
from unlabeled.errors import UsageError
from unlabeled.transfer import ordinal, readings, schema, stats, targets
from unlabeled.transfer import roster as module
from unlabeled.transfer.baselines import Plain
from unlabeled.transfer.boosted import Boosted
from unlabeled.transfer.evaluate import evaluate
from unlabeled.transfer.joined import Joined
from unlabeled.transfer.readings import Frozen
from unlabeled.types import PLAIN

RNG = np.random.default_rng(0)
X = RNG.normal(size=(150, 6))
LINE = X @ RNG.normal(size=6)
Y = np.digitize(LINE + RNG.logistic(size=150), [-2, 0, 1, 3])


def labels_of(words, column: str) -> Labels:
    names = sorted(set(words))
    y = np.array([names.index(w) for w in words])
    return Labels(np.arange(len(words)), y, names, column=column)


@pytest.mark.parametrize(
    ("words", "column", "form"),
    [
        (["1", "2", "3", "4"], "rating", "ordinal"),
        (["1", "2", "3", "4"], "label", "single"),
        (["low", "medium", "high"], "Severity", "ordinal"),
        (["low", "medium", "high"], "animal", "single"),
        (["cat", "dog", "cow"], "grade", "single"),
        (["pos", "neg"], "score", "single"),
        (["1", "0"], "score", "single"),
        ([str(i) for i in range(60)], "score", "regression"),
        (["0.5", "1", "1.5", "2"], "stars", "ordinal"),
    ],
)
def test_grades_are_found_by_name_and_few_values_in_order(words, column, form):
    assert form_of(labels_of(words * 20, column)) == form


def test_any_part_of_a_known_scale_is_in_its_order():
    for scale in grades.SCALES:
        found = grades.in_order(sorted(scale))
        assert found == list(scale)
        assert len(set(scale)) == len(scale)
    assert grades.in_order(["A-", "B+", "A", "C"]) == ["A", "A-", "B+", "C"]
    assert grades.in_order(["G3", "G1", "G2"]) == ["G1", "G2", "G3"]
    assert grades.in_order(["Stage IIIB", "Stage I", "Stage IV"]) == [
        "Stage I", "Stage IIIB", "Stage IV"
    ]  # fmt: skip
    assert grades.in_order(["1-2", "3-4", "5-6"]) is None


def test_grades_become_ranks_that_the_test_part_shares():
    found = as_task(labels_of(["high", "low", "medium", "low"], "risk_level"), None)
    assert (found.task, found.classes) == ("ordinal", ["low", "medium", "high"])
    assert found.y.tolist() == [2, 0, 1, 0]
    again = as_task(labels_of(["high", "medium"], "x"), "ordinal", found)
    assert again.y.tolist() == [2, 1]
    with pytest.raises(UsageError, match="'severe', which the training labels lack"):
        as_task(labels_of(["high", "severe"], "x"), "ordinal", found)
    assert as_task(labels_of(["1", "2", "3"], "stars"), "classification").task == "single"


def test_the_score_is_the_kappa_of_scikit_learn_on_every_copy():
    guess = np.clip(Y + RNG.integers(-1, 2, 150), 0, 4)
    weights = stats.item_weights(150, 0, count=10)
    found = stats.resample(np.stack([guess, 4 - guess]), Y, "quadratic_kappa", weights)
    for i, weight in enumerate(weights):
        rows = np.repeat(np.arange(150), weight.astype(int))
        expected = cohen_kappa_score(Y[rows], guess[rows], weights="quadratic")
        assert found[0, i] == pytest.approx(expected)
    assert (found[1] == 0).all()  # the wrong way round is below chance
    assert targets.mean_error(guess, Y) == np.abs(guess - Y).mean()
    assert targets.score(np.full(150, 2), Y, "quadratic_kappa") == 0


def test_two_grades_are_logistic_regression():
    two = (Y > 1).astype(np.int64)
    for x in (X, sparse.csr_matrix(X)):
        ((weight, cuts),) = ordinal.solve(x, two, 2, [0.7], 1e-8)
        oracle = LogisticRegression(C=1 / 0.7, tol=1e-10).fit(X, two)
        assert weight == pytest.approx(oracle.coef_[0], abs=1e-6)
        assert cuts == pytest.approx(-oracle.intercept_, abs=1e-6)


def test_without_a_slope_cuts_are_the_logits_of_the_shares():
    (_, cuts), (weight, again) = ordinal.solve(X, Y, 5, [1e9, 1.0])
    shares = np.cumsum(np.bincount(Y))[:-1] / len(Y)
    assert cuts == pytest.approx(logit(shares), abs=1e-5)
    assert (np.diff(again) > 0).all()
    assert np.corrcoef(X @ weight, LINE)[0, 1] > 0.95


def test_the_fit_is_the_maximum_of_the_penalised_likelihood():
    """Probabilities are built here from the definition; no step away from the fit is better."""
    ((weight, cuts),) = ordinal.solve(X, Y, 5, [0.5], 1e-8)

    def cost(w, c):
        below = np.pad(expit(c - (X @ w)[:, None]), ((0, 0), (1, 1)))
        below[:, -1] = 1
        chance = np.diff(below, axis=1)[np.arange(150), Y]
        return -np.log(chance).sum() + 0.25 * w @ w

    best = cost(weight, cuts)
    for _ in range(40):
        step = 1e-3 * RNG.normal(size=10)
        assert cost(weight + step[:6], cuts + step[6:]) > best


def test_grades_beyond_those_that_labels_show_are_never_guessed():
    y = np.array([1, 1, 3, 3, 1, 3])
    x = np.where(y == 1, -1.0, 1.0)[:, None].astype(np.float32)
    found = ordinal.fit(x, y, 6, penalties=[0.01])
    assert found.predict(np.float32([[-99], [0], [99]])).tolist() == [1, 2, 3]
    assert ordinal.fit(x, np.full(6, 2), 6).predict(x).tolist() == [2] * 6
    assert ordinal.steps_of(np.array([0, 2]), 3).tolist() == [[0, 0], [1, 1]]


def test_trees_and_joined_features_read_grades_too():
    known = known_of(Y, Y[:20], 30)
    known.task = "ordinal"
    x = LINE[:, None].astype(np.float32)
    plain = Frozen(known, lambda: Plain(x, x[:20]))
    for reading in (
        Boosted(known, {"line": plain}, trees=3),
        Joined(known, plain, {"line": plain}),
    ):
        found = reading(known.pool, 1, 0)
        assert set(found.test) <= set(range(5))
        assert targets.score(found.validation, Y[:30], "quadratic_kappa") > 0.3


def test_the_study_reads_grades(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "own_view", lambda run: PLAIN)
    search = readings.Search((PLAIN,), rates=(1e-2,), lengths=(1.0,), epochs=1, fewest=6, most=6)
    monkeypatch.setattr(module, "search_of", lambda run, quick, ways=False: search)
    run = PlantedRun(tmp_path / "r")
    words = ["poor", "fair", "good"]
    lines = [f"{run.source().name(i)},{words[y]}" for i, y in enumerate(run.source().y)]
    file = tmp_path / "labels.csv"
    file.write_text("path,quality\n" + "\n".join(lines))
    arms = ["knn", "probe", "finetune", "untrained"]
    found = evaluate(run, file, counts=[2, 10], draws=2, label_column="quality", arms=arms)
    schema.check(found)
    assert (found["task"], found["metric"]) == ("ordinal", "quadratic_kappa")
    assert found["classes"] == words
    means = {(r["reading"], r["labels_per_class"]): r for r in found["summary"]}
    assert means["probe", 10]["mean"] > means["untrained", 10]["mean"] + 0.1
    assert means["probe", 10]["mae"] < means["untrained", 10]["mae"]
    assert {name for name, _ in means} == set(arms)
    assert any("poor < fair < good" in note for note in found["notes"])
    plain = evaluate(run, file, counts=[2], draws=2, label_column="quality",
                     task="classification", arms=["knn"])  # fmt: skip
    assert (plain["task"], plain["metric"]) == ("single", "accuracy")
