"""Whether bf16 is fast is measured where a processor's flags do not say it."""

import io

import pytest

from unlabeled import device


@pytest.fixture
def flagged(monkeypatch):
    """Pretend to a processor with some flags, on which products take given times."""

    def pretend(flags, fp32, bf16):
        device.fast_bf16.cache_clear()
        monkeypatch.setattr(device.torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr("builtins.open", lambda *a, **k: io.StringIO(f"flags : {flags}\n"))
        times = {device.torch.float32: fp32, device.torch.bfloat16: bf16}
        monkeypatch.setattr(device, "_product_seconds", times.__getitem__)
        return device.fast_bf16()

    yield pretend
    device.fast_bf16.cache_clear()


@pytest.mark.parametrize(
    ("flags", "fp32", "bf16", "unit"),
    [
        ("avx512f amx_bf16 avx512_bf16", 1.0, 9.0, "AMX"),
        ("avx512f avx512_bf16", 2.0, 1.0, "AVX512-BF16"),
        ("avx512f avx512_bf16", 1.0, 2.0, None),
        ("avx512f", 2.0, 1.0, None),
    ],
)
def test_the_flag_of_slow_units_is_not_believed(flagged, flags, fp32, bf16, unit):
    assert flagged(flags, fp32, bf16) == unit


def test_a_product_takes_time():
    assert 0 < device._product_seconds(device.torch.float32) < 10
