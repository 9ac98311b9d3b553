"""Full-width marks in Chinese sentences, and nowhere else."""

from __future__ import annotations

import pytest

from appliance.punctuation import chinese_punctuation


@pytest.mark.parametrize(
    ("plain", "printed"),
    [
        ("混合斑块,狭窄;见右冠:近段(约 43%)。", "混合斑块，狭窄；见右冠：近段（约 43%）。"),
        ("约 43%,长 4 mm", "约 43%，长 4 mm"),
        ("07:10 接收 1,024 幅", "07:10 接收 1,024 幅"),
        ("第 3 次,07:10", "第 3 次，07:10"),
        ("PIN 不正确(WF-001)", "PIN 不正确（WF-001）"),
        ("PACS@192.0.2.10:104 (main), idle", "PACS@192.0.2.10:104 (main), idle"),
        ("", ""),
    ],
)
def test_marks(plain: str, printed: str) -> None:
    assert chinese_punctuation(plain) == printed
    assert chinese_punctuation(printed) == printed
