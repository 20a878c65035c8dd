"""Promises that are broken today: by scenario, the kind of failure, a number in the list of failures found in use.
These tests are run and must fail; a fix removes its entry. Those in SOMETIMES are run, and are skipped with
their offences if they fail."""

SOMETIMES = {
    # On a busy machine, a program may need more than a second to find the first broker.
    "nothing_of_two": 40,
}

KNOWN_FAILURES = {}
