"""`type = "step"`: step-ca by its own API."""

from collections.abc import Iterator

from certagent.config.reader import flag, one_of, text
from certagent.config.remote import CaType, RemoteConfig, Setting, Traits, fingerprints, url


def problems(made: RemoteConfig) -> Iterator[tuple[str, str]]:
    """What is wrong between the settings: (key, sentence)."""
    secrets = made.secrets
    if ("x5c_cert" in secrets) != ("x5c_key" in secrets):
        yield "x5c_key", "x5c_cert and x5c_key belong together"
    if "provisioner_key" in secrets and "x5c_cert" in secrets:
        yield "provisioner_key", "set either provisioner_key (JWK) or x5c_cert and x5c_key (X5C)"
    if made.options["credential"] == "leaf" and made.options["renewal"] != "live":
        yield "credential", 'needs renewal = "live"'
    if not {"provisioner_key", "x5c_cert"} & set(secrets) and made.options["renewal"] != "live":
        yield "provisioner_key", 'is required; or set x5c_cert and x5c_key, or one_time_token with renewal = "live"'


def traits(made: RemoteConfig) -> Traits:
    """What the daemon must know of one."""
    return Traits(by_leaf=made.options["credential"] == "leaf", own_trust=bool(made.options["root"]))


CA_TYPE = CaType(
    asked="https",
    account=False,
    live_proof="step_token",
    problems=problems,
    traits=traits,
    settings={
        "url": Setting(url, required=True),
        "provisioner": Setting(text, required=True),
        "root": Setting(fingerprints, ()),  # of its roots: trusts its endpoint as `step ca bootstrap` does
        "provisioner_key": Setting(text, secret=True),  # of a JWK provisioner: a private JWK, or a JWE of one
        "provisioner_password": Setting(text, secret=True),  # of the JWE
        "x5c_cert": Setting(text, secret=True),  # for an X5C provisioner: the bootstrap credential and its chain
        "x5c_key": Setting(text, secret=True),
        "one_time_token": Setting(text, secret=True),  # made elsewhere: good for one issuance
        "renewal": Setting(one_of("provisioner", "live"), "provisioner"),
        "credential": Setting(one_of("token", "leaf"), "token"),  # "leaf": a worker gets the managed pair, to rekey
        "federation": Setting(flag, False),  # the trust bundle: federated roots too
    },
)
