"""Every option says what it is, and every number says which values are allowed."""

from __future__ import annotations

import types
import typing

import pytest

from unlabeled import config, modality_config

SECTIONS = [
    config.DataConfig,
    config.ImageConfig,
    config.TextConfig,
    config.AudioConfig,
    config.SeriesConfig,
    config.VideoConfig,
    config.EncoderConfig,
    config.OptimConfig,
    config.LoopConfig,
]


def is_number(annotation) -> bool:
    if isinstance(annotation, types.UnionType):
        return any(is_number(part) for part in typing.get_args(annotation))
    return annotation in (int, float)


def has_bound(field) -> bool:
    return any(hasattr(m, b) for m in field.metadata for b in ("ge", "gt", "le", "lt"))


@pytest.mark.parametrize("section", SECTIONS, ids=lambda s: s.__name__)
def test_options_are_described_and_bounded(section):
    for name, field in section.model_fields.items():
        assert field.description, f"{section.__name__}.{name} has no description"
        if is_number(field.annotation):
            assert has_bound(field), f"{section.__name__}.{name} has no range"


@pytest.mark.parametrize("section", SECTIONS, ids=lambda s: s.__name__)
def test_sections_are_frozen_and_refuse_unknown_names(section):
    assert section.model_config["frozen"] is True
    assert section.model_config["extra"] == "forbid"


def test_all_sections_are_tested():
    own = {
        value
        for value in vars(config).values()
        if isinstance(value, type)
        and value.__module__ in (config.__name__, modality_config.__name__)
    }
    named = {c for c in own if c.__name__.endswith("Config")} - {config.RunConfig}
    assert named == set(SECTIONS)
