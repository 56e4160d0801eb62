"""The flags are read as Go's package flag reads them, and refused in its words."""

from typing import Any

import pytest

from config.flags import FlagError, HelpRequested, parse_flags

USAGE = """Usage of main.py:
  -addr string
    \tserver address (default "0.0.0.0")
  -demo
    \tserve the demo page too
  -mint room
    \tprint a token for the room and a link to the demo with it, and exit
  -port int
    \tserver port (default 5000)
  -tls-cert string
    \tfile of a certificate, to speak TLS
  -tls-key string
    \tfile of the certificate's key
  -ttl duration
    \thow long that token is valid (default 1h0m0s)
  -version
    \tprint the version and exit
  -workers int
    \tprocesses that serve the port, 0 for one per core (default 1)"""


@pytest.mark.parametrize(
    ("args", "values"),
    [
        ([], {}),
        (["-port", "5"], {"port": 5}),
        (["--port", "5"], {"port": 5}),
        (["-port=5"], {"port": 5}),
        (["--port=5"], {"port": 5}),
        (["-port", "1", "--port=2"], {"port": 2}),
        (["-port=0x1F"], {"port": 31}),
        (["-port=0o17"], {"port": 15}),
        (["-port=017"], {"port": 15}),
        (["-port=0b11"], {"port": 3}),
        (["-port=5_000"], {"port": 5000}),
        (["-port=+5"], {"port": 5}),
        (["-port", "-0"], {"port": 0}),
        (["-addr", "a", "-port", "0"], {"addr": "a", "port": 0}),
        (["-addr="], {"addr": ""}),
        (["-addr", ""], {"addr": ""}),
        (["-addr=a=b"], {"addr": "a=b"}),
        (["-addr", "-port"], {"addr": "-port"}),
        (["-addr", "--"], {"addr": "--"}),
        (["-tls-cert=a", "-tls-key", "b"], {"tls_cert": "a", "tls_key": "b"}),
        (["-version"], {"version": True}),
        (["-demo"], {"demo": True}),
        (["-demo", "-port=1"], {"demo": True, "port": 1}),
        (["--demo=f"], {"demo": False}),
        (["-demo=T"], {"demo": True}),
        (["-port=1", "--"], {"port": 1}),
        (["-mint", "a b", "-ttl", "1h30m"], {"mint": "a b", "ttl": 5400.0}),
        (["-mint=*", "--ttl=1s"], {"mint": "*", "ttl": 1.0}),
    ],
)
def test_flags(args: list[str], values: dict[str, Any]) -> None:
    assert parse_flags(args) == values


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (["-port"], "flag needs an argument: -port"),
        (["-port=1", "--addr"], "flag needs an argument: -addr"),
        (["-port="], 'invalid value "" for flag -port: parse error'),
        (["-port", ""], 'invalid value "" for flag -port: parse error'),
        (["--port", "abc"], 'invalid value "abc" for flag -port: parse error'),
        (["-port=5e1"], 'invalid value "5e1" for flag -port: parse error'),
        (["-port=5.0"], 'invalid value "5.0" for flag -port: parse error'),
        (["-port", " 5"], 'invalid value " 5" for flag -port: parse error'),
        (["-port=08"], 'invalid value "08" for flag -port: parse error'),
        (["-port=٣"], 'invalid value "٣" for flag -port: parse error'),
        (["-port=a\nb"], r'invalid value "a\\nb" for flag -port: parse error'),
        (["-port", "-addr"], 'invalid value "-addr" for flag -port: parse error'),
        (["-port=9223372036854775808"], "invalid value .* for flag -port: value out of range"),
        (["-port=65536"], 'invalid value "65536" for flag -port: not from 0 to 65535'),
        (["-port", "-1"], 'invalid value "-1" for flag -port: not from 0 to 65535'),
        (["-mint"], "flag needs an argument: -mint"),
        (["-ttl=60"], 'invalid value "60" for flag -ttl: parse error'),
        (["-ttl=-1h"], 'invalid value "-1h" for flag -ttl: not 1s or more'),
        (["-ttl", "0"], 'invalid value "0" for flag -ttl: not 1s or more'),
        (["-demo="], 'invalid boolean value "" for -demo: parse error'),
        (["-demo=yes"], 'invalid boolean value "yes" for -demo: parse error'),
        (["-demo", "true"], 'unexpected argument: "true"'),
        (["-prot=5"], "flag provided but not defined: -prot"),
        (["--po"], "flag provided but not defined: -po"),
        (["-Port=5"], "flag provided but not defined: -Port"),
        (["-a\nb"], "flag provided but not defined: -a b"),
        (["---port"], "bad flag syntax: ---port"),
        (["-=5"], "bad flag syntax: -=5"),
        (["--=5"], "bad flag syntax: --=5"),
        # These are no flags; what follows them is not read.
        (["x"], 'unexpected argument: "x"'),
        ([""], 'unexpected argument: ""'),
        (["-"], 'unexpected argument: "-"'),
        (["-port=1", "x", "-bogus"], 'unexpected argument: "x"'),
        (["--", "-port=1"], 'unexpected argument: "-port=1"'),
    ],
)
def test_a_bad_flag_is_named_on_one_line_above_the_usage(args: list[str], reason: str) -> None:
    with pytest.raises(FlagError, match=f"^{reason}\nUsage of main.py:\n") as error:
        parse_flags(args)
    assert str(error.value).endswith(f"\n{USAGE}")
    assert error.value.exit_code == 2


@pytest.mark.parametrize("args", [["-h"], ["--help"], ["-help=x"], ["-port=1", "-h", "-bogus"]])
def test_help_is_the_usage(args: list[str]) -> None:
    with pytest.raises(HelpRequested) as error:
        parse_flags(args)
    assert str(error.value) == USAGE
    assert error.value.exit_code == 0
