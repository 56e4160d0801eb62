"""What tests of several folders share, one concern a module."""
