"""Names that others chose have one spelling, in every document and on every terminal."""

import json
from dataclasses import replace

import pytest

from certagent.core.decide import decide
from certagent.core.facts import LoaderFlags
from certagent.core.judging import Target, document
from certagent.core.spelling import printable
from certagent.core.status import document as status
from certagent.core.status import plan_document
from certagent.core.view import Planned
from tests.core.building import NOW, file, leaf, pair, policy, snapshot, want

SPELLED = [
    ("client.root", "client.root"),
    ("client.a\nb", "client.a\\nb"),
    ("client.\x1b[31mred", "client.\\x1b[31mred"),
    ("client.\udcff\udcfe", "client.\\xff\\xfe"),
    ("client.\u202eevil", "client.\\u202eevil"),
    ("client.\U000e0001", "client.\\U000e0001"),
    ("client.müller", "client.müller"),
    ("back\\slash", "back\\slash"),
]


@pytest.mark.parametrize(("name", "shown"), SPELLED, ids=[row[1] for row in SPELLED])
def test_unprintable_characters_are_escaped_once(name: str, shown: str) -> None:
    """Control characters, non-UTF-8 bytes and invisible characters are escaped; a second pass changes nothing."""
    assert printable(name) == shown == printable(shown)


@pytest.mark.parametrize("name", [row[0] for row in SPELLED[1:6]])
def test_unprintable_name_is_escaped_alike_in_all_documents(name: str) -> None:
    """`check`, `status` and `plan` spell it as the log does: in files, findings, reasons and remedies alike."""
    odd = pair(name, leaf("client.root"))
    assert odd.cert
    odd = replace(odd, cert=replace(odd.cert, file=file(f"{printable(name)}.crt")))
    seen, rules = snapshot(pair("ca"), pair("node"), odd), policy(want("ca"), want("node"))
    checked = document(Target(policy=rules, terms=LoaderFlags(), gid=999), seen, NOW)
    whole = status([Planned(policy=rules, snapshot=seen, plan=decide(rules, seen, NOW))], NOW, None)
    documents = (checked, whole, plan_document(rules, seen, NOW))
    assert f"{printable(name)}.crt" in {f["name"] for f in checked["files"]} & {f["file"] for f in checked["findings"]}
    for said in documents:
        assert all(text.isprintable() for text in texts(said))
        json.dumps(said).encode()


def texts(value: object) -> list[str]:
    if isinstance(value, dict):
        return [*value, *(t for v in value.values() for t in texts(v))]
    if isinstance(value, list):
        return [t for v in value for t in texts(v)]
    return [value] if isinstance(value, str) else []
