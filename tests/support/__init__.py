"""The helpers that tests of several folders share, with one concern in each module."""
