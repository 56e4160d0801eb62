"""Tests of the benchmark: its arithmetic, its frames, and whole runs."""

import pytest

pytest.importorskip("psutil", reason="pip install -r bench/requirements.txt")
