"""What a message may not repeat: secrets, and what is made of them; before it is cut."""

import json
from datetime import UTC, datetime

import pytest

from certagent.authority import redaction
from certagent.authority.backends import cfssl, vault
from certagent.authority.backends.acme import net
from certagent.authority.backends.http import LONGEST, Reply, refusal
from certagent.authority.errors import AuthorityError
from certagent.authority.messages import Failure, Request
from certagent.authority.redaction import hide, scrubbed, shown
from certagent.authority.worker import hidden, redacted
from certagent.core.words import withheld

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TOKEN = "hvs.QmFzZTY0LXRva2VuLW9mLWEtc3RhdGljLWtpbmQ"  # noqa: S105 - nobody's


def test_secret_at_the_end_of_a_cut_answer_is_hidden() -> None:
    """A token that begins before the end of what is shown and goes on behind it: none of it is left."""
    hide(TOKEN)
    for before in range(LONGEST - len(TOKEN) - 2, LONGEST + 1):
        reply = Reply("https://ca", 403, {}, b"x" * before + TOKEN.encode() + b"y" * 400)
        assert TOKEN[:5] not in str(refusal(reply, "sign", NOW))


def test_secret_in_a_long_list_of_errors_is_hidden() -> None:
    """The same of the errors that Vault and CFSSL list."""
    hide(TOKEN)
    text = "x" * (LONGEST - 20) + TOKEN
    reply = Reply("https://ca", 403, {}, json.dumps({"errors": [text]}).encode())
    assert vault.reasons(reply) == ["x" * (LONGEST - 20) + redaction.MARK]
    listed = Reply("https://ca", 400, {}, json.dumps({"errors": [{"code": 1, "message": text}]}).encode())
    with pytest.raises(AuthorityError) as caught:
        cfssl.result(listed, "sign", NOW)
    assert "hvs" not in str(caught.value)


def test_token_of_a_login_is_hidden() -> None:
    """The token that Vault gave for an AppRole is a secret from its first moment."""
    reply = Reply("https://ca", 200, {}, json.dumps({"auth": {"client_token": "hvs.derived-by-approle"}}).encode())
    vault.token_of(reply, {"auth": "approle"}, NOW)
    assert scrubbed("echo hvs.derived-by-approle!") == "echo [secret]!"


def test_signature_of_an_acme_request_is_hidden() -> None:
    """What was signed by the account's key, whole or its signature."""
    body = b'{"protected": "cHJvdGVjdGVk", "payload": "", "signature": "c2lnbmF0dXJlLW9mLXRoZS1hY2NvdW50"}'
    net._hide(body)
    assert scrubbed(f"you sent {body.decode()}") == "you sent [secret]"
    assert "c2lnbmF0" not in scrubbed("signature c2lnbmF0dXJlLW9mLXRoZS1hY2NvdW50 is bad")


def test_hmac_of_a_cfssl_request_is_hidden() -> None:
    """The token that is made with the shared key."""
    request = Request("issue", "cfssl", {"profile": "", "label": ""}, csr="CSR")
    token = cfssl.sealed(request, "00112233445566778899aabbccddeeff")["token"]
    assert scrubbed(f"bad {token}") == "bad [secret]"


def test_token_by_the_live_key_is_hidden() -> None:
    """What the agent signed with the current key for step-ca."""
    request = Request("issue", "step", {}, proof="eyJhbGciOi.proof.of-possession")
    found = redacted(Failure("failed", "bearer eyJhbGciOi.proof.of-possession"), hidden(request, {}))
    assert found == Failure("failed", "bearer [secret]")


def test_short_words_are_not_hidden() -> None:
    """A derived text of a few letters would make a riddle of every message."""
    hide("ab", "  \n", "word")
    assert scrubbed("a word about ab") == "a word about ab"


def test_answer_of_a_ca_is_printable_before_it_is_cut() -> None:
    """Control characters, also those that turn the direction of a text, become spaces."""
    assert shown("\x1b[31m\u202eevil\n" + "x" * 10, 12) == "[31m evil xx"


def test_text_of_a_ca_is_withheld_and_its_status_is_not() -> None:
    """Other users see who answered and the status; what was answered is for root and the agent's user."""
    said = str(refusal(Reply("https://ca/sign", 403, {}, b"dear someone"), "sign", NOW))
    assert said == "cannot sign: https://ca/sign answered 403: «dear someone»"
    assert withheld(said).startswith("cannot sign: https://ca/sign answered 403: (withheld")
