"""`.env` files give the values that godotenv 1.5.1 gives; the error for a bad line names it."""

import pytest

from config.env_file import EnvFileError, parse_env_file

GIVES = [
    # Names.
    ("A=1", {"A": "1"}),
    ("", {}),
    (" \t\n\r\n\u2003\n", {}),
    ("A=1\nB=2\n", {"A": "1", "B": "2"}),
    ("A=1\nA=2", {"A": "2"}),
    ("A: 1", {"A": "1"}),
    ("A = 1", {"A": "1"}),
    ("\t A\t:\t1\t", {"A": "1"}),
    ("A:1=2", {"A": "1=2"}),
    ("A=1:2=3", {"A": "1:2=3"}),
    ("export A=1", {"A": "1"}),
    ("export\tA: 1", {"A": "1"}),
    ("export=1", {"export": "1"}),
    ("exported=1", {"exported": "1"}),
    ("a.b_C9=1", {"a.b_C9": "1"}),
    ("A B=1", {"A B": "1"}),
    # Without quotes.
    ("A=", {"A": ""}),
    ("A=\nB=1", {"A": "", "B": "1"}),
    ("A=a b  c ", {"A": "a b  c"}),
    ("A=\u00a01\u00a0", {"A": "1"}),
    ("A=\u30001\u3000", {"A": "\u30001\u3000"}),
    (r"A=a\nb\"c\\", {"A": r"a\nb\"c\\"}),
    ("A=it's", {"A": "it's"}),
    ('A=["a","b"]', {"A": '["a","b"]'}),
    ("A=é漢", {"A": "é漢"}),
    ("A=1\rB=2", {"A": "1", "B": "2"}),
    ("A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
    # Comments.
    ("# A=1\n  # B=2\nC=3 # c", {"C": "3"}),
    ("A=1#2", {"A": "1#2"}),
    ("A=1\t#2", {"A": "1"}),
    ("A=1 # 2 # 3", {"A": "1 # 2"}),
    ("A= # 1", {"A": "# 1"}),
    ("A=#1", {"A": "#1"}),
    ("#\rA=1", {}),
    # In single quotes.
    ("A='1 # 2'", {"A": "1 # 2"}),
    (r"A='$B ${B} \n \$'", {"A": r"$B ${B} \n \$"}),
    ("A='1\n2'\nB=3", {"A": "1\n2", "B": "3"}),
    (r"A='it\'s'", {"A": r"it\'s"}),
    (r"A='1\''", {"A": "1\\"}),
    ("A=''", {"A": ""}),
    ("A=' 1 '", {"A": " 1 "}),
    ("A='\"'", {"A": '"'}),
    # In double quotes.
    ('A="1 # 2" # 3', {"A": "1 # 2"}),
    ('A="1\n2"', {"A": "1\n2"}),
    ('A="1\r\n2"', {"A": "1\n2"}),
    (r'A="1\n2\r3"', {"A": "1\n2\r3"}),
    (r'A="a\"b\\c\td"', {"A": 'a"b\\ctd'}),
    (r'A="a\\nb"', {"A": r"a\nb"}),
    ('A="it\'s"', {"A": "it's"}),
    (r'A="say \"hi\""', {"A": 'say "hi\\'}),
    ('A="1"B=2', {"A": "1", "B": "2"}),
    ('A="1" export B="2"', {"A": "1", "B": "2"}),
    # Values that the file has set before.
    ("A=1\nB=$A", {"A": "1", "B": "1"}),
    ("A=1\nB=${A}2$A", {"A": "1", "B": "121"}),
    ('A=1\nB="<$A>"', {"A": "1", "B": "<1>"}),
    ("B=<$A>\nA=1", {"B": "<>", "A": "1"}),
    ("A=1\nA=$A$A", {"A": "11"}),
    ("PATH_=$PATH", {"PATH_": ""}),
    (r"A=1" "\n" r"B=\$A \${A}", {"A": "1", "B": "$A ${A}"}),
    (r"A=1" "\n" r'B="\$A \${A}"', {"A": "1", "B": "$A ${A}"}),
    ("a=1\nB=$a ${a}", {"a": "1", "B": "$a ${a}"}),
    ("A=$ $5$", {"A": "$ $"}),
    ("A=1\nB=$(A) ${A $A}", {"A": "1", "B": "1) 1 1"}),
    ("A='$B'\nB=1\nC=$A", {"A": "$B", "B": "1", "C": "$B"}),
]

REFUSES = [
    (b"NOTHING\n", 1, "no = or : after the name"),
    (b"A=1\n\n# b\nNOTHING\nB=2", 4, "no = or : after the name"),
    (b"NOTHING", 1, "no = or : after the name"),
    (b"export A", 1, "no = or : after the name"),
    (b"A=1\r\nB\r\n", 2, "no = or : after the name"),
    (b"A-B=1", 1, "unexpected character '-' in a name"),
    (b"A=1\n$B=1", 2, "unexpected character '$' in a name"),
    (b'"A"=1', 1, "unexpected character '\"' in a name"),
    (b"A='1' x y!\n", 1, "unexpected character '!' in a name"),
    ("É=1".encode(), 1, "unexpected character 'É' in a name"),
    (b"A=1\nB='s3cret", 2, "the quote at the start of the value is never closed"),
    (b"A= 's3cret\n", 1, "the quote at the start of the value is never closed"),
    (b'A=1\nB="s3\ncret\nC=1', 2, "the quote at the start of the value is never closed"),
    (rb'A="s3cret\\"', 1, "the quote at the start of the value is never closed"),
    (b"A=1\n=s3cret", 2, "no name before the value"),
    (b"export =s3cret", 1, "no name before the value"),
    (b"A=1\nB=s3\0cret", 2, "a value with a NUL character"),
    (b"A=1\nB=s3\xffcret\n", 2, "a value that is not UTF-8"),
    ("A=1\n".encode("utf-16"), 1, "a name that is not UTF-8"),
    (b"\xef\xbb\xbfA=1\n", 1, "starts with a byte order mark; save it as UTF-8 without one"),
]


@pytest.mark.parametrize(("text", "values"), GIVES)
def test_values(text: str, values: dict[str, str]) -> None:
    assert parse_env_file(text.encode()) == values


def test_a_comment_may_be_in_any_encoding() -> None:
    assert parse_env_file("# à\nA=1 # é".encode("latin-1")) == {"A": "1"}


@pytest.mark.parametrize(("content", "line", "reason"), REFUSES)
def test_what_cannot_be_read_names_its_line(content: bytes, line: int, reason: str) -> None:
    """The error quotes nothing of a value, which may be a secret."""
    with pytest.raises(EnvFileError) as error:
        parse_env_file(content)
    assert str(error.value) == f"line {line}: {reason}"
