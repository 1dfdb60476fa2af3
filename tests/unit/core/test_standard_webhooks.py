"""Signatures: the specification's own example, every secret's signature beside the others."""

from __future__ import annotations

import pytest

from apps.core import standard_webhooks

# Of the specification and its libraries' tests.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE, AT, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_specifications_example_is_signed_as_it_says() -> None:
    made = standard_webhooks.signed(BODY, message_id=MESSAGE, secrets=[SECRET], at=AT)
    assert made == {"webhook-id": MESSAGE, "webhook-timestamp": str(AT), "webhook-signature": SIGNATURE}


def test_each_secret_signs() -> None:
    other = standard_webhooks.encoded(b"another key")
    both = standard_webhooks.signed(BODY, message_id=MESSAGE, secrets=[other, SECRET], at=AT)["webhook-signature"]
    assert both.split(" ")[1] == SIGNATURE
    assert both.split(" ")[0] != SIGNATURE
    assert both.startswith("v1,")


def test_a_secret_that_is_none_is_named() -> None:
    with pytest.raises(standard_webhooks.BadSecretError):
        standard_webhooks.signed(BODY, message_id=MESSAGE, secrets=["whsec_no base64!"], at=AT)
