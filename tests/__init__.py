"""Tests: the same tree as the code, and what tests the whole from outside."""
