"""Lists of ICE servers, with what `new RTCPeerConnection({iceServers})` does with them.

The unit tests compare the setting with them, and the browser tests Chromium.
"""

import json

CREDENTIALS = {"username": "alice", "credential": "s3cret"}


def one(urls: object, **members: object) -> str:
    return json.dumps([{"urls": urls, **members}])


def turn(urls: object) -> str:
    return one(urls, **CREDENTIALS)


ACCEPTED = [
    "[]",
    " [ ] ",
    '[{"urls":"stun:a.example"}]',
    '[{"urls":["stun:a"]}]',
    '[{"urls":["stun:a","stuns:b:443"]}]',
    '[{"urls":"stun:a"},{"urls":"stun:b"}]',
    # The old name.
    '[{"url":"stun:a"}]',
    '[{"url":"turn:a","username":"u","credential":"c"}]',
    # Members may come in any order; some are unknown, some come twice.
    '[{"credential":"c","urls":"turn:a","username":"u"}]',
    '[{"urls":"stun:a","hostname":5,"extra":{"a":[1.0,null]},"url":"http://x"}]',
    '[{"urls":"http://a","urls":"stun:a"}]',
    '[{"urls":"stun:a","credentialType":"password"}]',
    # Hosts and ports.
    one("stun:192.0.2.1"),
    one("stun:localhost:3478"),
    one("stun:[2001:db8::1]"),
    one("stun:[::ffff:192.0.2.1]:3478"),
    one("stun:A.Example."),
    one("stun:stun_1.a-b.example"),
    one("stun:münchen.example"),
    one("stun:xn--mnchen-3ya.example"),
    one("stun:m%C3%BCnchen.example"),
    one("stun:a:1"),
    one("stun:a:65535"),
    one("stun:a:0003478"),
    # Schemes, and what a URL parser strips.
    one("STUN:a"),
    one("sTuNs:a"),
    turn("TURN:a"),
    turn("Turns:a"),
    one(" stun:a\n"),
    one("st\tun:a"),
    # TURN.
    turn("turn:a"),
    turn("turns:a:443?transport=tcp"),
    turn("turn:[::1]:3478?transport=udp"),
    turn("turn:a?transport=TCP"),
    turn(["stun:a", "turn:b", "turns:c"]),
    # JavaScript makes a string of a value in its own way.
    one("turn:a", username=1234, credential=0),
    one("turn:a", username=None, credential=None),
    one("turn:a", username=True, credential={"macKey": "a", "accessToken": "b"}),
    one([["stun:a"]]),
    one("stun:a", username=None),
    one("stun:a", username="", credential=""),
    one("stun:a", username="u" * 510),
    one("turn:a", username="u" * 509, credential="c"),
    '[{"urls":"turn:a","username":"\\ud800","credential":"c"}]',
]

# Each has a word of the reason.
REFUSED = [
    ("{}", "list"),
    ("null", "list"),
    ("5", "list"),
    ('"stun:a"', "list"),
    ('{"urls":"stun:a"}', "list"),
    ('["stun:a"]', "server 1: it is not an object"),
    ('[{"urls":"stun:a"},null]', "server 2: it is not an object"),
    ('[[{"urls":"stun:a"}]]', "object"),
    ("[{}]", "`urls` is missing"),
    ('[{"URLS":"stun:a"}]', "`urls` is missing"),
    ('[{"urls":[]}]', "`urls` is empty"),
    ('[{"urls":null}]', "URL"),
    ('[{"urls":5}]', "URL"),
    ('[{"urls":{}}]', "URL"),
    ('[{"urls":[1]}]', "URL"),
    ('[{"urls":[["stun:a","stun:b"]]}]', "URL"),
    (one(""), "URL"),
    (one(["stun:a", ""]), "URL"),
    (one(["stun:a", "stun://b"]), "URL"),
    # Schemes.
    (one("a.example"), "URL"),
    (one("http://a"), "URL"),
    (one("stunx:a"), "URL"),
    (one("stun a"), "URL"),
    (one("ſtun:a"), "URL"),
    (one("\u00a0stun:a"), "URL"),
    # Hosts.
    (one("stun:"), "URL"),
    (one("stun::3478"), "URL"),
    (one("stun:a b"), "URL"),
    (one("stun:a/b"), "URL"),
    (one("stun:a#b"), "URL"),
    (one("stun:a\\b"), "URL"),
    (turn("turn:s3cret@a"), "URL"),
    (one("stun:::1"), "URL"),
    (one("stun:[::1"), "URL"),
    (one("stun:[]"), "URL"),
    # Ports.
    (one("stun:a:"), "URL"),
    (one("stun:a:0"), "URL"),
    (one("stun:a:65536"), "URL"),
    (one("stun:a:999999999999"), "URL"),
    (one("stun:a:-1"), "URL"),
    (one("stun:a:http"), "URL"),
    (one("stun:a:1:2"), "URL"),
    (one("stun:a:٣"), "URL"),
    # Queries.
    (one("stun:a?transport=udp"), "URL"),
    (one("stuns:a?"), "URL"),
    (turn("turn:a?"), "URL"),
    (turn("turn:a?transport"), "URL"),
    (turn("turn:a?transport=s3cret"), "URL"),
    (turn("turn:a?Transport=udp"), "URL"),
    (turn("turn:a?transport=udp&transport=tcp"), "URL"),
    # Credentials.
    (one("turn:a"), "`username` and `credential`"),
    (one("turns:a", username="alice"), "`username` and `credential`"),
    (one(["stun:a", "turn:b"], credential="s3cret"), "`username` and `credential`"),
    (one("turn:a", username="", credential="s3cret"), "`username` and `credential`"),
    (one("turn:a", username="s3cret", credential=""), "`username` and `credential`"),
    (one("turn:a", username="alice", credential=[]), "`username` and `credential`"),
    (one("turn:a", username="alice", credential=[None]), "`username` and `credential`"),
    (one("turn:a", username="ü" * 255, credential="s3cret"), "509 bytes"),
]

# Chromium takes these all the same, as it looks less closely.
REFUSED_HERE = [
    (one("stun:[a.example]"), "URL"),
    (one("stun:[192.0.2.1]"), "URL"),
    (one("stun:[::1]x"), "URL"),
    (one("stun:[1:2:3:4:5:6:7:8:9]"), "URL"),
    (one("stun:%zz"), "URL"),
    (one("stun:a\u00a0"), "URL"),
    (one("stun:a\u0000b"), "URL"),
    (turn("turn:a?transport=udp?"), "URL"),
]

NOT_JSON = [
    ("", "Expecting value"),
    ("stun:a", "Expecting value"),
    ('[{"urls":"stun:a"}', "delimiter"),
    ('[{"urls":"stun:a",}]', "line 1 column 1"),  # Python 3.13 gives another reason.
    ("[{'urls':'stun:a'}]", "property name"),
    ('[{"urls":"stun:a","x":NaN}]', "NaN"),
    ("[" * 100_000, "deep"),
    ('["s3cret\udcff"]', "UTF-8"),
]
