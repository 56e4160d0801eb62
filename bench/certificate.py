"""A certificate for the servers to be measured over TLS."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import trustme  # type: ignore[import-not-found, unused-ignore]

from bench.server import ServerSpec


@dataclass(frozen=True)
class Certificate:
    """The files of a certificate, its key, and the authority that the clients trust."""

    cert: str
    key: str
    authority: str

    @classmethod
    def make(cls, directory: str, host: str) -> Certificate:
        """Write the files. The key is one of ECDSA, as certbot makes them."""
        made = cls(*(str(Path(directory, f"{name}.pem")) for name in ("cert", "key", "authority")))
        authority = trustme.CA()
        leaf = authority.issue_cert(host)
        Path(made.cert).write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        leaf.private_key_pem.write_to_path(made.key)
        authority.cert_pem.write_to_path(made.authority)
        return made

    def fill(self, spec: ServerSpec) -> ServerSpec:
        """Replace `{cert}` and `{key}` in the command of a server."""

        def filled(word: str) -> str:
            return word.replace("{cert}", self.cert).replace("{key}", self.key)

        env = {name: filled(value) for name, value in spec.env.items()}
        return replace(spec, argv=tuple(map(filled, spec.argv)), env=env)
