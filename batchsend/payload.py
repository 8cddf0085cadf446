"""From a campaign and a row of the ledger to a request: what sending and the preview share. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batchsend.campaigns.campaign import Campaign
from batchsend.mykaarma.protocol import Request, SendingAttributes, message_identity


def attributes_of(campaign: Campaign) -> SendingAttributes:
    """What the campaign file says about every message."""
    message = campaign.message
    return SendingAttributes(
        is_manual=message.is_manual,
        add_tcpa_footer=message.add_tcpa_footer,
        add_signature=message.add_signature,
        add_footer=message.add_footer,
        send_vcard=message.send_vcard,
        send_synchronously=message.send_synchronously,
        callback_url=str(message.callback_url) if message.callback_url else None,
        callback_metadata=message.callback_metadata,
    )


def request_of(row: Mapping[str, Any], run: Mapping[str, str]) -> Request:
    """The request for one row of the ledger's `messages` that is a message; `run` as `api.run_identity` gives it."""
    return Request(
        department_uuid=row["department_uuid"],
        user_uuid=row["user_uuid"],
        customer_uuid=row["customer_uuid"],
        phone=row["phone"],
        body=row["body"],
        identity=message_identity(run, row["row"], row["generation"]),
    )
