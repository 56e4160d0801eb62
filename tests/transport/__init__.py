"""Tests of the transport, which knows nothing of signaling."""
