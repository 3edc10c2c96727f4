"""`type = "cfssl"`: CFSSL's `serve` or multirootca, with profiles that an auth key protects."""

from certagent.config.reader import text
from certagent.config.remote import CaType, Setting, url

CA_TYPE = CaType(
    asked="https",
    account=False,
    settings={
        "url": Setting(url, required=True),
        "auth_key": Setting(text, required=True, secret=True),  # hex, as in the server's auth_keys
        "profile": Setting(text, ""),  # "": the server's default
        "label": Setting(text, ""),  # of multirootca; "": its default
    },
)
