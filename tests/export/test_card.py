"""The card says how to load, how it was judged, and what to beware of."""

from __future__ import annotations

import json

from unlabeled.export.card import card

INFO = {
    "status": "finished",
    "method": "simclr",
    "kind": "image",
    "steps": 1200,
    "parameters": 11_168_832,
    "seconds": 61.25,
    "verdict": "Healthy: no collapse.",
}
RESULTS = {
    "metric": "accuracy",
    "verdict": "It helped: 2.1 times fewer labels.",
    "summary": [
        {"name": "linear probe", "labels_per_class": 1, "mean": 0.4, "low": 0.3, "high": 0.5},
        {"name": "linear probe", "labels_per_class": 10, "mean": 0.7, "low": 0.6, "high": 0.8},
        {"name": "from scratch", "labels_per_class": 10, "mean": 0.6, "low": None, "high": None},
    ],
}


def test_card_of_an_evaluated_run(tmp_path):
    (tmp_path / "evaluate").mkdir()
    (tmp_path / "evaluate" / "results.json").write_text(json.dumps(RESULTS))
    text = card(tmp_path, "timm", "import timm", INFO)
    assert text.startswith("---\nlibrary_name: timm\npipeline_tag: image-feature-extraction\n")
    assert "tags:\n- self-supervised\n- simclr\n- image\n" in text
    assert "**It helped: 2.1 times fewer labels.**" in text
    assert "```python\nimport timm\n```" in text
    assert "| linear probe | 0.400 (0.300 to 0.500) | 0.700 (0.600 to 0.800) |" in text
    assert "| from scratch |  | 0.600 |" in text
    assert "- Parameters: 11,168,832" in text
    assert "not evaluated" not in text


def test_card_says_what_is_not_known(tmp_path):
    text = card(tmp_path, "hf", "", {**INFO, "status": "interrupted"})
    assert "library_name: transformers" in text
    assert "It was not evaluated with labels when this card was written." in text
    assert "Its run was interrupted, not finished." in text
    assert "## Label curve" not in text


def test_card_of_a_classifier(tmp_path):
    (tmp_path / "finetune").mkdir()
    record = {
        "classes": ["cat", "dog"],
        "accuracy": 0.9,
        "macro_f1": 0.8,
        "validation": 40,
        "train": 160,
    }
    (tmp_path / "finetune" / "classes.json").write_text(json.dumps(record))
    text = card(tmp_path, "hf", "", INFO, "finetune")
    assert "pipeline_tag: image-classification" in text
    assert "fine-tuned on 160 labelled samples" in text
    assert "`cat`, `dog`\n\nAccuracy 0.900, macro F1 0.800 on 40 labelled samples" in text
    assert "It has no classes" not in text
