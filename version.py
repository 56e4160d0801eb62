"""The version of the server, as CHANGELOG.md counts."""

VERSION = "0.1.0"
