"""What vendors say, as people read it: no class, page or body in the sentence, and nothing lost."""

from __future__ import annotations

import pytest

from integrations.wording import in_words


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Unauthorised: Refused: 401 <html><body>Unauthorized</body></html>", "It refuses our credentials (401)."),
        ("Not reached: ConnectionRefusedError: Connection refused.", "It cannot be reached: Connection refused."),
        ("No complete answer: no answer within 15 seconds.", "It gave no whole answer: no answer within 15 seconds."),
        ("Told to wait: 503 <!DOCTYPE html>\n<html>", "It told us to wait (503)."),
        ('404 {"error": "no such thing"}', "It refused the call (404)."),
        (
            "May have been booked: unreadable answer 200 {'not': json (JSON is malformed)",
            "It may have been booked: the answer cannot be read (200).",
        ),
    ],
)
def test_what_is_for_machines_is_left_out_of_the_sentence_and_kept_beside_it(text: str, sentence: str) -> None:
    said = in_words(text)
    assert (said.sentence, said.raw) == (sentence, text)


@pytest.mark.parametrize("text", ["Clockify answered 401: the token was revoked.", "The ERP is closed."])
def test_a_sentence_stays_as_it_is(text: str) -> None:
    assert in_words(text).sentence == text
    assert in_words(text).raw == ""
