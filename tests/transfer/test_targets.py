from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, f1_score, r2_score
from torch.nn import functional

from tests.transfer.planted import PlantedRun
from unlabeled.data.label_columns import table_of
from unlabeled.data.label_forms import as_task, form_of
from unlabeled.data.labels import Labels, read_labels
from unlabeled.errors import UsageError
from unlabeled.transfer import metrics, readings, schema, stats, targets
from unlabeled.transfer import roster as module
from unlabeled.transfer.evaluate import evaluate
from unlabeled.types import PLAIN

RNG = np.random.default_rng(0)


def labels_of(words) -> Labels:
    names = sorted(set(words))
    return Labels(np.arange(len(words)), np.array([names.index(w) for w in words]), names)


@pytest.mark.parametrize(
    ("words", "form"),
    [
        (["cat", "dog"] * 9, "single"),
        (["cat|dog", "dog", "cat;bird"] * 3, "multi"),
        ([str(i % 10) for i in range(60)], "single"),
        ([f"{v:.3f}" for v in RNG.normal(size=60)], "regression"),
        ([str(v) for v in RNG.integers(0, 900, 200)], "regression"),
        (["0.5", "1.0", "1.5"] * 9, "single"),
    ],
)
def test_the_form_is_found(words, form):
    assert form_of(labels_of(words)) == form


def test_several_labels_become_a_table_and_a_class_for_drawing():
    found = as_task(labels_of(["a|b", "a", "a;c", "a", "b"]), None)
    assert found.classes == ["a", "b", "c"]
    assert found.targets.tolist() == [[1, 1, 0], [1, 0, 0], [1, 0, 1], [1, 0, 0], [0, 1, 0]]
    assert found.y.tolist() == [1, 0, 2, 0, 1]  # the rarest label of each
    part = found.take(np.array([2, 4]))
    assert part.targets.tolist() == [[1, 0, 1], [0, 1, 0]]
    assert part.task == "multi"


def test_a_question_mark_says_that_a_label_is_not_known():
    found = as_task(labels_of(["a|?b", "b", "?a|c"]), None)
    assert found.classes == ["a", "b", "c"]
    expected = [[1, np.nan, 0], [0, 1, 0], [np.nan, 0, 1]]
    np.testing.assert_array_equal(found.targets, expected)
    assert found.y.tolist() == [0, 1, 2]


def test_several_columns_are_one_table_whose_empty_cells_are_not_known():
    one = replace(labels_of(["1", "0", "1"]), indices=np.array([0, 2, 3]))
    other = replace(labels_of(["no", "Yes"]), indices=np.array([3, 5]))
    found = table_of({"cat": one, "dog": other})
    assert found.indices.tolist() == [0, 2, 3, 5]
    expected = [[1, np.nan], [0, np.nan], [1, 0], [np.nan, 1]]
    np.testing.assert_array_equal(found.targets, expected)
    assert (found.classes, found.task) == (["cat", "dog"], "multi")
    with pytest.raises(UsageError, match="Column 'cat' has 'tall', which says neither yes nor no"):
        table_of({"cat": labels_of(["tall", "1"])})


def test_numbers_become_five_slices_that_the_test_part_shares():
    values = np.round(RNG.normal(size=200), 3)
    found = as_task(labels_of([str(v) for v in values]), None)
    assert found.targets == pytest.approx(values, abs=1e-6)
    assert np.bincount(found.y).min() > 30
    again = as_task(labels_of(["-9.0", "9.0", "0.0"]), None, found)
    assert again.y.tolist() == [0, 4, found.y[np.abs(values).argmin()]]
    assert again.classes == found.classes


def test_minus_one_is_a_number_among_numbers_and_unknown_among_classes(tmp_path):
    class Three:
        kind = "image"

        def __len__(self):
            return 3

        def name(self, index):
            return f"{index}.png"

    for column, kept in ((("-1", "2", "3"), 2), (("-1", "0.5", "3"), 3), (("-1", "-2", "0"), 3)):
        file = tmp_path / "labels.csv"
        rows = "\n".join(f"{i}.png,{word}" for i, word in enumerate(column))
        file.write_text(f"path,label\n{rows}\n")
        assert len(read_labels(file, Three())) == kept


def test_wrong_tasks_are_answered_with_a_sentence():
    with pytest.raises(UsageError, match="Did you mean 'regression'"):
        as_task(labels_of(["a", "b"]), "regresion")
    with pytest.raises(UsageError, match="'a' is none"):
        as_task(labels_of(["a", "b"]), "regression")
    with pytest.raises(UsageError, match="which way 'a' and 'b' go is not known"):
        as_task(labels_of(["a", "b", "cat"]), "ordinal")
    with pytest.raises(UsageError, match="30 different values"):
        as_task(labels_of([str(i) for i in range(30)]), "ordinal")


def test_scores_are_those_of_scikit_learn_on_every_copy():
    truth, guess = RNG.integers(0, 2, (50, 4)), RNG.integers(0, 2, (50, 4))
    number = RNG.normal(size=50)
    said = number + 0.5 * RNG.normal(size=50)
    weights = stats.item_weights(50, 0, count=10)
    several = stats.resample(guess[None], truth, "label_f1", weights)[0]
    explained = stats.resample(said[None], number, "r2", weights)[0]
    for i, weight in enumerate(weights):
        rows = np.repeat(np.arange(50), weight.astype(int))
        assert several[i] == pytest.approx(f1_score(truth[rows], guess[rows], average="macro"))
        assert explained[i] == pytest.approx(r2_score(number[rows], said[rows]), abs=1e-6)


def test_balanced_accuracy_is_that_of_scikit_learn():
    truth, guess = RNG.integers(0, 3, 60), RNG.integers(0, 4, 60)
    with pytest.warns(UserWarning, match="y_pred contains classes"):
        expected = balanced_accuracy_score(truth, guess)
    assert metrics.balanced_accuracy(guess, truth) == pytest.approx(expected)


def test_losses_are_chosen_by_the_form_of_the_targets():
    logits = torch.tensor([[2.0, -1.0]])
    one = targets.loss(logits, torch.tensor([0]))
    assert float(one) == pytest.approx(np.log(1 + np.exp(-3)))
    both = targets.loss(logits, torch.tensor([[1.0, 1.0]]))
    expected = (np.log(1 + np.exp(-2)) + np.log(1 + np.exp(1))) / 2
    assert float(both) == pytest.approx(expected, rel=1e-5)
    assert float(targets.loss(logits[:, :1], torch.tensor([0.0]))) == 4


def test_the_loss_over_known_cells_is_the_loss_without_the_others():
    logits, target = torch.randn(6, 3), torch.randint(0, 2, (6, 3)).float()
    known = torch.tensor([[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 1], [0, 1, 1], [1, 0, 1]]).bool()
    target[~known] = torch.nan
    expected = functional.binary_cross_entropy_with_logits(logits[known], target[known])
    assert float(targets.loss(logits, target)) == pytest.approx(float(expected))
    numbers = torch.tensor([1.0, torch.nan, -2.0])
    seen = functional.mse_loss(logits[[0, 2], 0], numbers[[0, 2]])
    assert float(targets.loss(logits[:3, :1], numbers)) == pytest.approx(float(seen))
    weights = torch.tensor([3.0, 1.0, 1.0])
    weighted = targets.loss(logits[:, :1], target[:, :1], weights[:1])
    cells = functional.binary_cross_entropy_with_logits(
        logits[known[:, 0], 0], target[known[:, 0], 0], pos_weight=weights[:1]
    )
    assert float(weighted) == pytest.approx(float(cells))
    nothing = targets.loss(logits, torch.full((6, 3), torch.nan))
    assert float(nothing) == 0


def test_cells_that_are_not_known_are_no_negatives_for_any_reading():
    x = RNG.normal(size=(60, 5)).astype(np.float32)
    table = (x[:, :3] + 0.3 * RNG.normal(size=(60, 3)) > 0.4).astype(np.float32)
    table[:25, 1] = np.nan
    fitted = targets.fit(x, table, 0)
    alone = targets.fit(x[25:], table[25:, 1:2], 0)
    assert fitted.weight[:, 1] == pytest.approx(alone.weight[:, 0])
    guess = (x @ fitted.weight + fitted.bias > 0).astype(np.int64)
    each = [
        f1_score(table[rows, k], guess[rows, k])
        for k, rows in enumerate([slice(60), slice(25, 60), slice(60)])
    ]
    assert targets.score(guess, table, "label_f1") == pytest.approx(np.mean(each))
    near = targets.nearest(x, table, x, 5)
    shown = targets.nearest(x[25:], table[25:], x[25:], 1)
    assert (shown[:, 1] == table[25:, 1]).all()
    assert near.shape == table.shape


@pytest.mark.parametrize("form", ["multi", "regression"])
def test_the_study_reads_other_forms_and_a_found_code_is_better(tmp_path, monkeypatch, form):
    monkeypatch.setattr(module, "own_view", lambda run: PLAIN)
    search = readings.Search((PLAIN,), rates=(1e-2,), lengths=(1.0,), epochs=1, fewest=6, most=6)
    monkeypatch.setattr(module, "search_of", lambda run, quick, ways=False: search)
    run = PlantedRun(tmp_path / "r")
    y = run.source().y
    words = {"multi": [["a", "a|b", "b|c"][i] for i in y],
             "regression": [f"{i + 0.1 * RNG.normal():.4f}" for i in y]}[form]  # fmt: skip
    lines = [f"{run.source().name(i)},{word}" for i, word in enumerate(words)]
    file = tmp_path / "labels.csv"
    file.write_text("path,label\n" + "\n".join(lines))
    found = evaluate(run, file, counts=[2, 10], draws=2)
    schema.check(found)
    assert found["task"] == form
    assert found["metric"] == targets.METRICS[form]
    means = {(r["reading"], r["labels_per_class"]): r["mean"] for r in found["summary"]}
    assert means["probe", 10] > means["untrained", 10] + 0.05
    assert {"knn", "finetune", "scratch", "pca"} <= {name for name, _ in means}
    assert any("were read as" in note for note in found["notes"])
    again = evaluate(run, file, counts=[2, 10], draws=2)
    assert again["rows"] == found["rows"]  # kept, floats too
