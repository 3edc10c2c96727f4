"""OCSP and revocation lists: what counts as an answer, and what a hostile responder gets out of us."""

import os
import re
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography import x509 as cx
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.x509 import ocsp as co

from certagent import revocation as ocsp
from certagent import x509
from certagent.revocation.fetching import Fetch, fetch
from certagent.sandbox.worker_process import PREFIX
from certagent.x509.der import BITS, OCTETS, SEQUENCE, element
from certagent.x509.fractions import elements, whole_seconds
from tests.making import Ca, make_ca
from tests.revocation.responders import TYPE, answer, dripping, endless, links, reply, responder, sending, silent
from tests.sandbox.test_worker import FEW
from tests.servers.openssl_ocsp import delegate
from tests.servers.process import closed_port
from tests.waiting import in_time, wait_until

HOUR = timedelta(hours=1)
CA, OTHER = make_ca("house"), make_ca("other")
NOW = CA.at  # answers are dated and judged by it
LEAF, SECOND = CA.pair()[0], CA.pair()[0]
HOLD = cx.ReasonFlags.certificate_hold
UNKNOWN, REVOKED = co.OCSPCertStatus.UNKNOWN, co.OCSPCertStatus.REVOKED
NOBODY = (
    "Uid:\t65534\t65534\t65534\t65534",
    "NoNewPrivs:\t1",
    "CapEff:\t0000000000000000",
    "Groups:\t \n",
    "Seccomp:\t2",
)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/ocsp-response\r\n\r\n"
GOOD = answer(CA, LEAF)

ANSWERS = {  # what was answered -> status, or a part of why it is none
    "good": (GOOD, "good"),
    "unknown": (answer(CA, LEAF, status=UNKNOWN), "unknown"),
    "revoked": (answer(CA, LEAF, status=REVOKED), "revoked"),
    "revoked, and out of date": (
        answer(CA, LEAF, status=REVOKED, following=NOW - 30 * HOUR, this=NOW - 40 * HOUR),
        "revoked",
    ),
    "by a delegate": (answer(CA, LEAF, delegate(CA.cert, CA.key)), "good"),
    "no nextUpdate": (answer(CA, LEAF, following=None), "good"),
    "no nextUpdate, of today": (answer(CA, LEAF, following=None, this=NOW - 24 * HOUR), "good"),
    "no nextUpdate, of the day before": (answer(CA, LEAF, following=None, this=NOW - 25 * HOUR), "has expired"),
    "no nextUpdate, of years ago": (answer(CA, LEAF, following=None, this=NOW - 24_000 * HOUR), "has expired"),
    "on hold": (answer(CA, LEAF, status=REVOKED, reason=HOLD), "revoked"),
    "on hold, and out of date": (
        answer(CA, LEAF, status=REVOKED, reason=HOLD, this=NOW - 3 * HOUR, following=NOW - HOUR),
        "has expired",
    ),
    "on hold, no nextUpdate": (
        answer(CA, LEAF, status=REVOKED, reason=HOLD, this=NOW - 25 * HOUR, following=None),
        "has expired",
    ),
    "revoked, no nextUpdate": (answer(CA, LEAF, status=REVOKED, this=NOW - 25 * HOUR, following=None), "revoked"),
    "out of date": (answer(CA, LEAF, following=NOW - HOUR, this=NOW - 2 * HOUR), "has expired"),
    "out of date by a minute": (answer(CA, LEAF, following=NOW - timedelta(minutes=1)), "good"),
    "from the future": (answer(CA, LEAF, this=NOW + HOUR, following=NOW + 2 * HOUR), "is not valid yet"),
    "of another serial": (answer(CA, SECOND), "about another certificate"),
    "of another issuer": (answer(CA, LEAF, issuer=OTHER.cert), "about another certificate"),
    "by another CA": (answer(OTHER, LEAF, issuer=CA.cert), "not made by the issuer"),
    "by another CA's delegate": (answer(CA, LEAF, delegate(OTHER.cert, OTHER.key)), "not signed by the issuer"),
    "by a leaf of ours": (answer(CA, LEAF, CA.pair()), "OCSPSigning"),
    "by a delegate without the usage": (answer(CA, LEAF, delegate(CA.cert, CA.key, usage=False)), "OCSPSigning"),
    "try later": (co.OCSPResponseBuilder.build_unsuccessful(co.OCSPResponseStatus.TRY_LATER), "try later"),
    "garbage": (b"<html>sign in to the hotel</html>", "not an OCSP response"),
    "nothing": (b"", "not an OCSP response"),
    "cut off": (GOOD[:-40], "not an OCSP response"),
}


def verdict(data: bytes) -> str:
    """The status, or why there is none."""
    try:
        return x509.ocsp_answer(data, *links(LEAF, CA), NOW).status
    except x509.X509Error as error:
        return error.message


@pytest.mark.parametrize("what", ANSWERS)
def test_ocsp_answer_signature_subject_and_time(what: str) -> None:
    """Signed by the issuer or its delegate, about this certificate, current; a revocation is never too old."""
    made, expected = ANSWERS[what]
    data = made if isinstance(made, bytes) else made.public_bytes(serialization.Encoding.DER)
    assert expected in verdict(data)


def test_ocsp_request_is_cockroachs() -> None:
    """A SHA-256 CertID of this certificate, and no nonce."""
    made = co.load_der_ocsp_request(x509.ocsp_request(*links(LEAF, CA)))
    assert isinstance(made.hash_algorithm, hashes.SHA256)
    assert (made.serial_number, len(made.extensions)) == (x509.parse_certificates(LEAF)[0].serial, 0)


def test_ocsp_answer_with_changed_byte_is_refused_or_equal() -> None:
    """An answer with one byte changed is refused, or says the same; nothing else is raised."""
    for at in range(0, len(GOOD), 3):
        broken = GOOD[:at] + bytes([GOOD[at] ^ 0x41]) + GOOD[at + 1 :]
        assert verdict(broken) != "revoked"


def test_ocsp_time_with_fraction_is_read() -> None:
    """certomancer writes such times, and Go reads them; the signature is still that of the original bytes."""
    plain = f"{NOW - HOUR:%Y%m%d%H%M%S}Z".encode()
    assert verdict(GOOD.replace(plain, plain[:-1] + b".5Z")) != "good"  # the lengths around it are not right
    signed, rest = whole_seconds(GOOD)
    assert (signed, rest in GOOD) == (GOOD, True)
    for nested in (b"\x30\x80", b"\x30\x84\xff\xff\xff\xff", b"\x30\x03\x0a\x01\x00", b"\x18\x1120260101000000.5Z"):
        assert "not an OCSP response" in verdict(nested + b"\x18\x1120260101000000.5Z")


def rewritten(data: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """DER whose SEQUENCEs of an extension were changed, with every length around them."""
    parts = []
    for part in elements(data):
        content = rewritten(part.content, change) if part.tag in {SEQUENCE, 0xA0, 0xA3} else part.content
        parts.append(element(part.tag, change(content) if part.tag == SEQUENCE else content))
    return b"".join(parts)


EXTENSION = re.compile(rb"(\x06\x03\x55\x1d[\x0e\x25])(\x04.*)", re.DOTALL)  # key identifier, extended key usage


def spelled_out(content: bytes) -> bytes:
    """`critical` written out as FALSE, which is its default: Go reads it, cryptography does not."""
    found = EXTENSION.fullmatch(content)
    return found[1] + b"\x01\x01\x00" + found[2] if found else content


def odd(ca: Ca, cert: bytes) -> bytes:
    """A certificate of a CA, in DER that is not canonical, signed again."""
    tbs, algorithm, _ = elements(elements(ssl.PEM_cert_to_DER_cert(cert.decode()))[0].content)
    changed = rewritten(tbs.whole, spelled_out)
    key: Any = serialization.load_pem_private_key(ca.key, None)
    signature = element(BITS, b"\0" + key.sign(changed, ECDSA(hashes.SHA256())))
    return ssl.DER_cert_to_PEM_cert(element(SEQUENCE, changed + algorithm.whole + signature)).encode()


def containing(response: bytes, cert: bytes) -> bytes:
    """An OCSP response with a certificate in it."""
    status, explicit = elements(elements(response)[0].content)
    kind, octets = elements(elements(explicit.content)[0].content)
    within = element(0xA0, element(SEQUENCE, ssl.PEM_cert_to_DER_cert(cert.decode())))
    basic = element(SEQUENCE, elements(octets.content)[0].content + within)
    body = element(SEQUENCE, kind.whole + element(OCTETS, basic))
    return element(SEQUENCE, status.whole + element(0xA0, body))


ODD = Ca(odd(CA, CA.cert), CA.key, CA.at)


def test_ocsp_issuer_in_odd_encoding_is_read() -> None:
    """A CA certificate that only Go reads: request and answer go by the bytes of its file."""
    with pytest.raises(ValueError, match=r"."):
        cx.load_pem_x509_certificate(ODD.cert)
    cert, issuer = links(LEAF, ODD)
    assert issuer == ssl.PEM_cert_to_DER_cert(ODD.cert.decode())
    assert x509.ocsp_request(cert, issuer) == x509.ocsp_request(*links(LEAF, CA))
    assert x509.ocsp_answer(GOOD, cert, issuer, NOW).status == "good"
    with pytest.raises(x509.X509Error, match="not made by the issuer"):
        x509.ocsp_answer(answer(OTHER, LEAF, issuer=CA.cert), cert, issuer, NOW)
    listed = cx.CertificateRevocationListBuilder(cx.load_pem_x509_certificate(CA.cert).subject, NOW, NOW + HOUR)
    signed = listed.sign(cast("Any", serialization.load_pem_private_key(CA.key, None)), hashes.SHA256())
    assert x509.crl_answer(signed.public_bytes(serialization.Encoding.DER), cert, issuer, NOW).status == "good"


def test_ocsp_answer_with_certificate_in_odd_encoding_is_read() -> None:
    """The issuer itself, or its delegate, sent along in such an encoding; a delegate of another CA stays refused."""
    assert x509.ocsp_answer(containing(GOOD, ODD.cert), *links(LEAF, ODD), NOW).status == "good"
    for ca, expected in ((CA, "good"), (OTHER, "not signed by the issuer")):
        cert, key = delegate(ca.cert, ca.key)
        bare, sent = answer(Ca(cert, key, CA.at), LEAF, issuer=CA.cert), odd(ca, cert)
        with pytest.raises(ValueError, match=r"."):
            cx.load_pem_x509_certificate(sent)
        assert expected in verdict(containing(bare, sent))


def test_ocsp_and_lists_pass_over_interim_responses() -> None:
    """A proxy that sends 103 Early Hints ahead of the answer: the answer counts."""
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n"
    listed = cx.CertificateRevocationListBuilder(cx.load_pem_x509_certificate(CA.cert).subject, NOW, NOW + HOUR)
    signed = listed.sign(cast("Any", serialization.load_pem_private_key(CA.key, None)), hashes.SHA256())
    data = signed.public_bytes(serialization.Encoding.DER)
    with responder(sending(early + reply(GOOD))) as url, responder(sending(early + reply(data))) as lists:
        end = time.monotonic() + 20
        assert fetch(Fetch("POST", url, b"", {}, TYPE.decode(), 1 << 20, allow_private=True), end) == GOOD
        assert fetch(Fetch("GET", lists, None, {}, "", 1 << 20, allow_private=True), end) == data


HERE = ocsp.Reach(allow_private=True)
HOSTILE = {  # what it does -> a part of the reason
    "never answers": (silent, "no answer in time"),
    "drips its header": (dripping(HEAD + GOOD), "no answer in time"),
    "drips its body": (lambda peer: (peer.sendall(HEAD), dripping(GOOD * 9)(peer))[0], "no answer in time"),
    "never ends": (endless(HEAD), "larger than"),
    "never ends its header": (endless(b"HTTP/1.1 200 OK\r\nX-A: "), ""),
    "says 500": (sending(reply(GOOD, b"500 Oops")), "HTTP status 500"),
    "says 206": (sending(reply(GOOD, b"206 Partial Content")), "HTTP status 206"),
    "sends HTML": (sending(reply(GOOD, kind=b"text/html")), "content type text/html"),
    "redirects to a file": (
        sending(reply(b"", b"307 Go", extra=b"Location: file:///etc/passwd\r\n")),
        "another scheme",
    ),
    "redirects at length": (
        sending(reply(b"", b"302 Go", extra=b"Location: http://a/%b\r\n" % (b"x" * 60_000))),
        "HTTP status 302, a redirect",
    ),
    "redirects to itself": (sending(reply(b"", b"308 Go", extra=b"Location: /ocsp\r\n")), "redirects"),
    "redirects a POST to a GET": (sending(reply(b"", b"302 Go", extra=b"Location: /x\r\n")), "HTTP status 302"),
    "is no HTTP server": (sending(b"SSH-2.0-OpenSSH_9.2\r\n"), ""),
    "hangs up": (sending(b""), ""),
    "sends garbage": (sending(reply(b"\x30\x82garbage")), "not an OCSP response"),
    "is signed by somebody else": (sending(reply(answer(OTHER, LEAF, issuer=CA.cert))), "not made by the issuer"),
}


@pytest.mark.slow
def test_ocsp_hostile_responders_are_bounded() -> None:
    """Whatever responders do, each question has one answer, soon, with the reason; one takes no time from another."""
    cert, issuer = links(LEAF, CA)
    with ExitStack() as running:
        urls = [running.enter_context(responder(script)) for script, _ in HOSTILE.values()]
        urls.append(running.enter_context(responder(sending(reply(GOOD)))))
        questions = [ocsp.Question(cert, issuer, (url,)) for url in urls]
        in_time(lambda timeout: answered(questions, timeout), 1.0, 5.0, 25.0)


def answered(questions: list[ocsp.Question], timeout: float) -> None:
    begun = time.monotonic()
    told = ocsp.ask(ocsp.asker(), questions, timeout, reach=HERE)
    took = time.monotonic() - begun
    found = {what: answers[0] for what, answers in zip([*HOSTILE, "an honest one"], told, strict=True)}
    assert found.pop("an honest one").status == "good"
    assert {a.status for a in found.values()} == {"unreachable"}
    assert {what: a.reason for what, a in found.items() if HOSTILE[what][1] not in a.reason or not a.reason} == {}
    assert max(len(a.reason) for a in found.values()) <= 300
    assert all(a.latency_ms < 1500 * timeout for a in found.values())
    assert took < 15.0 * timeout


@pytest.mark.slow
def test_ocsp_invalid_url_does_not_stop_next_responder() -> None:
    """A certificate may name anything, a responder may redirect anywhere: the next responder is asked anyway."""
    cert, issuer = links(LEAF, CA)
    with ExitStack() as stack:
        lost = stack.enter_context(responder(sending(reply(b"", b"307 Moved", extra=b"Location: http://[::1\r\n"))))
        good = stack.enter_context(responder(sending(reply(GOOD))))
        urls = ("http://[::1", "http://127.0.0.1:99999/", "http://127.0.0.1:x/", "ldap://ca", "http://", lost, good)
        [told] = ocsp.ask(ocsp.asker(), [ocsp.Question(cert, issuer, urls)], 60.0, reach=HERE)
    assert [a.reason for a in told] == ["not an http or https URL"] * 5 + [
        "it redirects to an invalid URL",
        "",
    ]
    assert told[-1].status == "good"


def test_ocsp_unreachable_reason() -> None:
    """A closed port is refused, an unknown name is not found: neither is called late."""
    cert, issuer = links(LEAF, CA)
    urls = (f"http://127.0.0.1:{closed_port()}", "http://responder.invalid")
    refused, unknown = ocsp.ask(ocsp.asker(), [ocsp.Question(cert, issuer, urls)], 20.0, every=True, reach=HERE)[0]
    assert (refused.status, refused.reason) == ("unreachable", "Connection refused")
    assert unknown.status == "unreachable"
    assert "not known" in unknown.reason or "resol" in unknown.reason


@pytest.mark.slow
def test_ocsp_responders_are_asked_in_order() -> None:
    """The first that decides counts; the next is asked after an unusable answer; with `every`, all are."""
    cert, issuer = links(LEAF, CA)
    with (
        responder(sending(reply(b"", b"503 Busy"))) as busy,
        responder(sending(reply(GOOD))) as good,
        responder(sending(reply(answer(CA, LEAF, status=REVOKED)))) as revoked,
    ):
        question = ocsp.Question(cert, issuer, (busy, good, revoked))
        assert [a.status for a in ocsp.ask(ocsp.asker(), [question], 3.0, reach=HERE)[0]] == ["unreachable", "good"]
        every = ocsp.ask(ocsp.asker(), [question], 3.0, every=True, reach=HERE)[0]
    assert [a.status for a in every] == ["unreachable", "good", "revoked"]
    assert every[2].reason == "keyCompromise"


def revocation_list(ca: Ca, *serials: int, **changes: Any) -> bytes:
    """A signed list that was made an hour ago, and is good for another, unless changed."""
    signer = changes.get("signer", ca)
    name = cx.load_pem_x509_certificate(ca.cert).subject
    begin, end = changes.get("this", NOW - HOUR), changes.get("following", NOW + HOUR)
    builder = cx.CertificateRevocationListBuilder().issuer_name(name).last_update(begin).next_update(end)
    for serial in serials:
        row = cx.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW - HOUR)
        row = row.add_extension(cx.CRLReason(changes["reason"]), critical=False) if "reason" in changes else row
        builder = builder.add_revoked_certificate(row.build())
    for extension in changes.get("extensions", ()):
        builder = builder.add_extension(extension, critical=True)
    key: Any = serialization.load_pem_private_key(signer.key, None)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def part(**flags: bool) -> cx.IssuingDistributionPoint:
    """The extension by which a list covers a part of what was revoked."""
    none = {"only_contains_user_certs": False, "only_contains_ca_certs": False, "indirect_crl": False}
    none |= {"only_contains_attribute_certs": False, **flags}
    return cx.IssuingDistributionPoint([cx.DNSName("x")], None, only_some_reasons=None, **none)


SERIAL = x509.parse_certificates(LEAF)[0].serial
LISTS = {
    "good": (revocation_list(CA, 7), "good"),
    "revoked": (revocation_list(CA, 7, SERIAL), "revoked"),
    "out of date": (revocation_list(CA, this=NOW - 3 * HOUR, following=NOW - HOUR), "has expired"),
    "revoked, and out of date": (revocation_list(CA, SERIAL, this=NOW - 3 * HOUR, following=NOW - HOUR), "revoked"),
    "on hold": (revocation_list(CA, SERIAL, reason=HOLD), "revoked"),
    "on hold, and out of date": (
        revocation_list(CA, SERIAL, reason=HOLD, this=NOW - 3 * HOUR, following=NOW - HOUR),
        "has expired",
    ),
    "signed by another": (revocation_list(CA, SERIAL, signer=OTHER), "not signed by the issuer"),
    "of another CA": (revocation_list(OTHER, SERIAL), "the list was issued by"),
    "for CAs only": (revocation_list(CA, extensions=[part(only_contains_ca_certs=True)]), "another type"),
    "for users only": (revocation_list(CA, extensions=[part(only_contains_user_certs=True)]), "good"),
    "indirect": (revocation_list(CA, extensions=[part(indirect_crl=True)]), "only part"),
    "a delta": (revocation_list(CA, extensions=[cx.DeltaCRLIndicator(3)]), "critical extension"),
    "garbage": (b"\x30\x03abc", "not a revocation list"),
    "nothing": (b"", "not a revocation list"),
}


@pytest.mark.parametrize("what", LISTS)
def test_crl_signature_time_and_scope(what: str) -> None:
    """Signed by the issuer, current, and about all that it revoked: else a missing entry means nothing."""
    data, expected = LISTS[what]
    try:
        said = x509.crl_answer(data, *links(LEAF, CA), NOW).status
    except x509.X509Error as error:
        said = error.message
    assert expected in said


@pytest.mark.slow
def test_crl_is_read_when_no_responder_decides() -> None:
    """A list is read after an unusable answer, as PEM too, by a redirect too; not when a responder decided."""
    cert, issuer = links(LEAF, CA)
    listed = cx.load_der_x509_crl(revocation_list(CA, SERIAL)).public_bytes(serialization.Encoding.PEM)
    with (
        responder(sending(reply(b"", b"500 No"))) as broken,
        responder(sending(reply(GOOD))) as good,
        responder(sending(reply(listed, kind=b"text/plain"))) as place,
        responder(sending(reply(b"", b"302 Go", extra=b"Location: %b\r\n" % place.encode()))) as moved,
    ):
        asked = [ocsp.Question(cert, issuer, (url,), (moved,)) for url in (broken, good)]
        first, second = ocsp.ask(ocsp.asker(), asked, 3.0, reach=HERE)
    assert [(a.source, a.status) for a in first] == [("ocsp", "unreachable"), ("crl", "revoked")]
    assert [(a.source, a.status) for a in second] == [("ocsp", "good")]


@pytest.mark.slow
@pytest.mark.root
def test_ocsp_child_is_confined_and_unprivileged() -> None:
    """For root it is another user, confined, has no new privileges, and knows nothing of our environment."""
    cert, issuer = links(LEAF, CA)
    workers = ocsp.asker()
    with responder(silent) as url, ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ocsp.ask, workers, [ocsp.Question(cert, issuer, (url,))], 60.0, reach=HERE)
        wait_until(lambda: bool(workers.running()), "it has started")
        [pid] = workers.running()
        place = Path(f"/proc/{pid}")
        wait_until(lambda: all(w in (place / "status").read_text() for w in NOBODY), "it has become nobody")
        environ = dict(v.split(b"=", 1) for v in (place / "environ").read_bytes().split(b"\0") if v)
        assert set(environ) <= {b"PATH", b"LANG", b"LC_CTYPE", b"HOME", b"TMPDIR"}
        assert Path(environ[b"HOME"].decode()).name.startswith(PREFIX)
        os.kill(pid, signal.SIGKILL)
        assert asking.result(60)[0][0].status == "unreachable"


AS_FEW = """
import sys, threading
from pathlib import Path
from certagent import revocation as ocsp
workers = ocsp.asker()
def later():
    while not any("\\t65534\\t" in Path(f"/proc/{pid}/status").read_text() for pid in workers.running()):
        pass
    workers.stop()
threading.Thread(target=later).start()
cert, issuer = (bytes.fromhex(v) for v in sys.argv[2:])
here = ocsp.Reach(allow_private=True)
print(ocsp.ask(workers, [ocsp.Question(cert, issuer, (sys.argv[1],))], 600.0, reach=here)[0][0].status)
"""


@pytest.mark.slow
@pytest.mark.root
def test_ocsp_child_is_ended_by_root_without_cap_kill() -> None:
    """With the capabilities of the root unit, which has no CAP_KILL, the asking process is still ended."""
    cert, issuer = links(LEAF, CA)
    few = ["setpriv", f"--bounding-set={FEW}", f"--inh-caps={FEW}", sys.executable, "-c", AS_FEW]
    with responder(silent) as url:
        done = subprocess.run(
            [*few, url, cert.hex(), issuer.hex()], capture_output=True, text=True, check=False, timeout=60
        )
    assert done.stdout.strip() == "unreachable", done.stderr
