#!/usr/bin/python3
"""Writes the seeds of corpus/policy and corpus/key.

Run from anywhere; files that a fuzzer found and that were put beside the seeds are left alone.
"""
from make_session_seeds import write

KEY = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"
HASH = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"

POLICIES = {
    "empty": "",
    "full": f"""[users.sensor7]
curve = "{KEY}"
roles = ["sensors"]
[users.dashboard]
token = ["{HASH}"]
certificate = ["wall", "hall"]
roles = ["readers", "operators"]
[users.anonymous]
roles = ["readers"]
[roles.sensors]
publish = ["sensor.>"]
[roles.readers]
subscribe = ["sensor.>", "stock.*"]
[roles.operators]
subscribe = ["$SYS.>", "*.*"]
admin = true
""",
    "inline": "users = { a = { certificate = 'x', roles = ['r'] } }\nroles.r = { publish = ['a', '>'], admin = false }\n",
    "bad_names": "[users.\"a b\"]\n[users.'']\n[users.\"a.b[0]\"]\n[roles.\"\\u0000\"]\n[roles.\"\u00fc\"]\n",
    "wrong_types": "users = 1\nroles = [1, 2]\n",
    "wrong_inner_types": "[users]\na = 5\n[users.b]\ncurve = 1\ntoken = [1]\nroles = 'r'\n[roles.r]\npublish = {}\nadmin = 2\n",
    "shared_credentials": "[users.a]\ncertificate = 'x'\n[users.b]\ncertificate = ['x', 'x']\n",
    "unknown": "[user.a]\n[users.a]\ncurv = 'x'\n",
    "no_credentials": "[users.a]\nroles = []\n",
    "anonymous_with_credentials": f"[users.anonymous]\ncurve = '{KEY}'\n",
    "unknown_role": "[users.anonymous]\nroles = ['r', 'x\\u001b[31m']\n",
    "bad_patterns": "[roles.r]\npublish = ['$SYS.>', 'a..b', '>.a']\nsubscribe = ['', ' ', '$SYS.>']\n",
    "not_toml": "[users\n",
    "twice": "[users.a]\n[users.a]\n",
    "deep": "a = " + "[" * 300,
    "control_characters": "[users.a]\ncurve = \"\\u0007\\u009b\"\n",
    "long_name": f"[users.{'a' * 65}]\ncertificate = '{'b' * 256}'\n",
}

KEYS = {
    "empty": "",
    "specified": f"{KEY}\n{HASH}",
    "largest": "%nSc0" * 8 + "\n$argon2id$v=19$m=262144,t=16,p=1$c2FsdHNhbHRzYWx0$MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI",
    "too_large": "%nSc1" * 8 + "\n$argon2id$v=19$m=262145,t=16,p=1$c2FsdHNhbHRzYWx0$MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI",
    "zero": "0" * 40 + "\n$argon2id$v=19$m=",
    "short": KEY[1:] + "\n" + HASH[:-40],
    "other_character": KEY.replace("@", " ") + "\n" + HASH.replace("id", "i"),
    "bytes": "".join(chr(c) for c in range(64, 104)),
}

write("policy", {name: content.encode() for name, content in POLICIES.items()})
write("key", {name: content.encode() for name, content in KEYS.items()})
