"""Tests of the benchmark: its arithmetic, its frames, and that a run gives what it promises."""

import pytest

pytest.importorskip("psutil", reason="pip install -r bench/requirements.txt")
