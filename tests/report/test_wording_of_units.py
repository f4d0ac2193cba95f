"""Tables and curves say what their counts count."""

from unlabeled.report import sections


def test_counts_of_tagged_words_are_sentences() -> None:
    row = {"reading": "probe", "labels_per_class": 100, "mean": 0.5, "low": 0.4, "high": 0.6}
    assert (
        sections.label_table({"summary": [row], "task": "tagging"})["axis"] == "labelled sentences"
    )
    assert sections.label_table({"summary": [row]})["axis"] == "labels per class"


def test_counts_of_labelled_moments_are_recordings_or_episodes() -> None:
    row = {"reading": "probe", "labels_per_class": 3, "mean": 0.5, "low": 0.4, "high": 0.6}
    for task, axis in (("frames", "labelled recordings"), ("steps", "labelled episodes")):
        assert sections.label_table({"summary": [row], "task": task})["axis"] == axis
