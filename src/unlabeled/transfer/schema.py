"""The form of ``evaluate/results.json``: typed, versioned, checked when written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from unlabeled.errors import DataError

FORMAT = 1
Score = float


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RowModel(_Strict):
    """One score."""

    reading: str = Field(description="knn, probe, finetune, scratch, untrained, pca, ...")
    labels_per_class: int = Field(ge=1, description="labels of each class that were used")
    draw: int = Field(ge=0, description="number of the draw; equal draws hold equal samples")
    score: float = Field(ge=0, le=1, description="by `metric`, on the test part")
    accuracy: float | None = Field(ge=0, le=1, description="on the test part; null: no classes")
    macro_f1: float | None = Field(ge=0, le=1, description="on the test part; null: no classes")
    validation: float = Field(ge=0, le=1, description="score on the validation part")
    choices: dict[str, Any] = Field(description="hyper-parameters, chosen without the test part")
    seconds: float = Field(ge=0, description="what it took")
    mae: float | None = Field(
        None, ge=0, description="mean absolute error on the test part: grades, or the unit of the "
        "numbers; null: neither"
    )  # fmt: skip
    run: str = Field("", description="folder of the other seed's run; empty: the run itself")


class SummaryModel(_Strict):
    """Mean over draws."""

    reading: str = Field(description="as in `rows`")
    name: str = Field(description="what a person calls the reading")
    labels_per_class: int = Field(ge=1, description="labels of each class that were used")
    mean: float = Field(ge=0, le=1, description="mean score over draws")
    low: float | None = Field(description="lower end of the 95 % interval; null for one draw")
    high: float | None = Field(description="upper end")
    n: int = Field(ge=1, description="draws")
    mae: float | None = Field(
        None, ge=0, description="mean absolute error over draws; null: neither grades nor numbers"
    )


class SavedPointModel(_Strict):
    """Labels saved at one label count."""

    against: str = Field(description="the rival reading")
    reading: str = Field(description="our reading")
    score: float = Field(description="the score that both reach")
    ours: int = Field(ge=1, description="our labels per class")
    theirs: float = Field(gt=0, description="the rival's labels per class, a bound if censored")
    ratio: float = Field(gt=0, description="theirs / ours")
    low: float | None = Field(description="95 % interval; null: below what was measured")
    high: float | None = Field(description="95 % interval; null: beyond what was measured")
    reached: bool = Field(description="whether the rival reaches the score at all")
    censored: Literal["", "at_least", "at_most"] = Field(description="whether ratio is a bound")
    text: str = Field(description="the same in words")


class SavedModel(SavedPointModel):
    """Labels saved against one rival, at the headline count and at all counts."""

    curve: list[SavedPointModel] = Field(description="at every count that both have")


class DifferenceModel(_Strict):
    """Our score minus a rival's, paired by draw and test item, averaged over label counts."""

    mean: float = Field(description="in units of the metric")
    low: float | None = Field(description="95 % interval; null for one draw")
    high: float | None = Field(description="95 % interval")
    n: int = Field(ge=1, description="draws")


class SplitModel(_Strict):
    """How labelled samples were divided."""

    how: str = Field(description="where the test part comes from")
    train: int = Field(ge=1, description="samples that labels are drawn from")
    validation: int = Field(ge=0, description="samples on which choices are made")
    test: int = Field(ge=1, description="samples that scores are counted on")
    seen_in_pretraining: int = Field(ge=0, description="test samples that were pre-trained on")
    transductive: bool = Field(False, description="whether such samples were let in")
    dropped_from_test: int = Field(
        0, ge=0, description="samples left out of the test part since their like was pre-trained on"
    )
    near_test: int = Field(
        0, ge=0, description="labelled samples left out since they look like a test sample"
    )
    near_duplicates: int = Field(
        0, ge=0, description="near-duplicates among labelled samples, kept on one side"
    )


class ConfusionModel(_Strict):
    """Who is taken for whom, by our reading with the most labels, first draw."""

    reading: str = Field(description="as in `rows`")
    labels_per_class: int = Field(ge=1, description="labels of each class that were used")
    classes: list[str] = Field(description="in order of the matrix")
    matrix: list[list[int]] = Field(description="rows: real class; columns: predicted")


class MistakeModel(_Strict):
    """A test sample that our reading gets wrong with the most labels."""

    name: str = Field(description="of the sample")
    truth: str = Field(description="its class")
    guess: str = Field(description="what most draws say")
    share: float = Field(gt=0, le=1, description="of the draws that say so")
    sure: float | None = Field(
        None, ge=0, le=1, description="mean probability in these; null: not kept, or none"
    )


class MomentModel(_Strict):
    """Features of test samples at a checkpoint, where several moments of a run were kept."""

    step: int = Field(ge=0, description="of pre-training")
    knn: float | None = Field(description="k-NN accuracy, first draw; null: no classes")
    labels_per_class: int | None = Field(description="labels of each class that k-NN had")
    rankme: float = Field(description="as in `quality`")
    uniformity: float = Field(description="as in `quality`")


class ReliabilityModel(_Strict):
    """Test samples of which our reading is about equally sure, of all draws together."""

    sureness: float = Field(ge=0, le=1, description="mean probability of the class that it says")
    accuracy: float = Field(ge=0, le=1, description="share that is of that class")
    count: int = Field(ge=1, description="samples, once for each draw")


class CalibrationModel(_Strict):
    """Whether our reading, with the most labels, is right as often as its probabilities say."""

    reading: str = Field(description="as in `rows`")
    labels_per_class: int = Field(ge=1, description="labels of each class that were used")
    draws: int = Field(ge=1, description="draws that errors are the mean of")
    samples: int = Field(ge=1, description="test samples of each")
    error: float = Field(ge=0, le=1, description="expected calibration error, 15 equal bins")
    floor: float = Field(ge=0, le=1, description="what it is where probabilities hold exactly")
    sureness: float = Field(ge=0, le=1, description="mean probability of the class that it says")
    accuracy: float = Field(ge=0, le=1, description="share that is right")
    bins: list[ReliabilityModel] = Field(min_length=1, description="by sureness, ascending")


class ResultsModel(_Strict):
    """The whole file."""

    format: Literal[1] = Field(description="version of this form")
    metric: Literal["accuracy", "macro_f1", "label_f1", "r2", "quadratic_kappa"] = Field(
        description="what `score` is; below 0 counts as 0"
    )
    task: Literal["single", "multi", "ordinal", "regression", "tagging", "frames", "steps"] = Field(
        "single",
        description="the form of the labels; tagging is of words, frames of recordings, steps of "
        "logs",
    )
    classes: list[str] = Field(min_length=2, description="names of the classes")
    counts: list[int] = Field(
        min_length=1,
        description="labels per class, or sentences, recordings or episodes in all (tagging, "
        "frames, steps), ascending",
    )
    draws: int = Field(ge=1, description="draws that were asked for")
    seed: int = Field(ge=0, description="of split and draws")
    quick: bool = Field(description="whether it is the two-minute form")
    rows: list[RowModel] = Field(min_length=1, description="every score")
    runs: list[str] = Field(
        [],
        description="folders of the runs judged as one, which differ in their seed; the first "
        "is the run itself",
    )
    summary: list[SummaryModel] = Field(min_length=1, description="means with intervals")
    ours: str | None = Field(description="our reading that is judged, chosen by validation")
    labels_saved: dict[str, SavedModel] = Field(description="by rival")
    differences: dict[str, DifferenceModel] = Field(description="by rival")
    grade: Literal["helped", "no_clear_difference", "did_not_help"] = Field(
        description="the verdict in one word"
    )
    verdict: str = Field(min_length=1, description="the verdict in one sentence")
    split: SplitModel = Field(description="how labelled samples were divided")
    confusion: ConfusionModel | None = Field(description="who is taken for whom")
    mistakes: list[MistakeModel] = Field([], description="the surest ones, at most 16")
    calibration: CalibrationModel | None = Field(
        None, description="of our reading; null: it gives no probabilities, or did not keep them"
    )
    notes: list[str] = Field(description="what a sceptic should know")
    seconds: float = Field(ge=0, description="what the last call took")
    complete: bool = Field(description="whether all rows that were asked for are there")
    quality: dict[str, dict[str, float]] = Field(
        {},
        description="by reading: rankme, alpha, lidar, learnability, alignment, uniformity; no "
        "label is used",
    )
    moments: list[MomentModel] = Field(
        [], description="over the checkpoints, where three or more were kept"
    )
    clusters: dict[str, dict[str, dict[str, float]]] = Field(
        {}, description="by reading: nmi, ari and accuracy of kmeans and agglomerative clusters"
    )
    codes: dict[str, dict[str, float]] = Field(
        {},
        description="codes of sound, `own` and `first`: perplexity (codes in use), pnmi of "
        "classes, chance, pnmi of groups (`group`), label_purity, code_purity; docs/sound.md",
    )


class AgainstModel(_Strict):
    """Our features minus the best of the others, in equal copies of the test part."""

    rival: str = Field(description="features that are best on the test part, which favours them")
    gain: float = Field(description="of mAP, or of AUROC")
    low: float = Field(description="95 % interval")
    high: float = Field(description="95 % interval")


class RetrievalRowModel(_Strict):
    """What one kind of features finds; `_low` and `_high` are 95 % intervals over queries."""

    features: str = Field(description="features, untrained, pca, histogram, tfidf, ...")
    way: Literal["cosine", "standardised", "whitened"] = Field(description="the space")
    chosen: bool = Field(description="whether that space was chosen for these features")
    checked: float | None = Field(description="mAP of the samples that chose; null: none did")
    map: float = Field(ge=0, le=1, description="mean over queries of average precision")
    map_low: float
    map_high: float
    recall_at_1: float = Field(ge=0, le=1, description="queries whose nearest is of their class")
    recall_at_1_low: float
    recall_at_1_high: float
    recall_at_5: float = Field(ge=0, le=1, description="queries with one of their class among 5")
    recall_at_5_low: float
    recall_at_5_high: float
    recall_at_10: float = Field(ge=0, le=1, description="the same among 10")
    recall_at_10_low: float
    recall_at_10_high: float


class RetrievalModel(_Strict):
    """evaluate/retrieval.json, of `evaluate --task retrieval`."""

    format: Literal[1] = Field(description="version of this form")
    queries: int = Field(ge=1, description="test samples with a partner, which ask")
    gallery: int = Field(ge=2, description="test samples, which answer")
    alone: int = Field(ge=0, description="test samples without a partner, which only answer")
    classes: int = Field(ge=1, description="classes of the test samples")
    units: int = Field(ge=1, description="what is drawn again for intervals: samples, or groups")
    chosen: str = Field(description="on what the space was chosen, in words")
    chance: dict[str, float] = Field(description="figures of features that are all alike")
    rows: list[RetrievalRowModel] = Field(description="every kind of features in every space")
    difference: AgainstModel = Field(description="of mAP")
    notes: list[str] = Field(description="what a sceptic should know")


class PairsRowModel(_Strict):
    """How well the cosine of one kind of features tells pairs apart; intervals over units."""

    features: str = Field(description="features, untrained, pca, histogram, tfidf, ...")
    way: Literal["cosine", "standardised", "whitened"] = Field(description="the space")
    chosen: bool = Field(description="whether that space was chosen for these features")
    checked: float = Field(ge=0, le=1, description="AUROC of the pairs that chose")
    threshold: float = Field(description="cosine above which a pair is called the same")
    auroc: float = Field(ge=0, le=1, description="chance that a same pair scores above another")
    auroc_low: float
    auroc_high: float
    equal_error: float = Field(ge=0, le=1, description="where both kinds of errors are as frequent")
    equal_error_low: float
    equal_error_high: float
    accuracy: float = Field(ge=0, le=1, description="at `threshold`, both kinds weighing the same")
    accuracy_low: float
    accuracy_high: float


class PairsModel(_Strict):
    """evaluate/pairs.json, of `evaluate --pairs` with the columns a,b,same."""

    format: Literal[1] = Field(description="version of this form")
    file: str = Field(description="name of the table of pairs")
    items: int = Field(ge=2, description="samples that it names")
    units: int = Field(ge=1, description="what is drawn again for intervals: identities, groups")
    chosen_on: dict[str, int] = Field(description="pairs that chose space and threshold, by kind")
    scored_on: dict[str, int] = Field(description="pairs that figures are counted on, by kind")
    rows: list[PairsRowModel] = Field(description="every kind of features in every space")
    difference: AgainstModel = Field(description="of AUROC")
    notes: list[str] = Field(description="what a sceptic should know")


def check(results: Mapping[str, Any]) -> ResultsModel:
    """Check the content of a results.json.

    Raises:
        DataError: a field is missing, unknown or out of range; the sentence names it.
    """
    try:
        return ResultsModel.model_validate(dict(results))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise DataError(
            f"The results do not have format {FORMAT}: {place}: {first['msg']}."
        ) from None


def document() -> str:
    """Return the page that documents the form, in Markdown."""
    models = (
        ResultsModel, RowModel, SummaryModel, SavedModel, SavedPointModel, DifferenceModel,
        SplitModel, ConfusionModel, CalibrationModel, ReliabilityModel, MomentModel,
        RetrievalModel, RetrievalRowModel, PairsModel, PairsRowModel, AgainstModel,
    )  # fmt: skip
    parts = [_PREFACE]
    for model in models:
        parts.append(f"## {_title(model)}\n\n{model.__doc__}\n")
        rows = ["| field | type | meaning |", "|---|---|---|"]
        for name, field in model.model_fields.items():
            if field.description is None:
                continue  # the ends of an interval
            kind = _kind(field.annotation).replace("|", "\\|")
            rows.append(f"| `{name}` | {kind} | {field.description} |")
        parts.append("\n".join(rows) + "\n")
    return "\n".join(parts)


def _title(model: type[BaseModel]) -> str:
    return model.__name__.removesuffix("Model")


def _kind(annotation: Any) -> str:
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    text = text.replace("typing.", "").replace(f"{__name__}.", "").replace("Model", "")
    return text.replace("NoneType", "null").replace("None", "null")


_PREFACE = f"""# RUN/evaluate/results.json

`unlabeled evaluate` writes this file. Its form has a version, `format`, now {FORMAT}; it is raised
when the meaning of a field changes. `unlabeled.transfer.schema.check` refuses anything else.

Two rules keep the numbers honest. Every hyper-parameter, and which of our readings is judged, is
chosen on the validation part or inside the labelled samples; permuting the test labels changes no
choice. Every reading sees the same samples in the same draw, so differences are paired.

Intervals are 95 %. Those of `summary` and `differences` are t-intervals over draws whose variance
adds the bootstrap variance over test samples. Those of `labels_saved` are a percentile bootstrap
over both. Where a rival never reaches our score within the labels at hand, `censored` says so and
`ratio` is a bound. One pre-training run stands behind all of it: the variation between runs is not
in the intervals.

Beside it lie `rows.jsonl` and `guesses/`, from which an interrupted evaluation continues.
`evaluate --task retrieval` and `--pairs` write files of their own, whose forms stand below.
"""

if __name__ == "__main__":
    print(document(), end="")
