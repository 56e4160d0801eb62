"""Tests, in the same tree as the code, and tests of the whole from outside."""
