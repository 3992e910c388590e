"""Uses `keeper`, which openapi-python-client has made of the OpenAPI document. Argument: the API's address."""

import io
import sys

from keeper import Client
from keeper.api.daemon import live
from keeper.api.links import links
from keeper.api.messages import receipt, send
from keeper.models import Problem, Receipt
from keeper.types import File

try:
    from keeper.models import SendJsonBody as Json
except ImportError:
    from keeper.models import SendBody as Json

client = Client(base_url=sys.argv[1])
assert live.sync(client=client).status == "alive"
items = links.sync(client=client, endpoint="e").items
assert [(item.endpoint, item.index) for item in items] == [("e", 0)], items

for body, size in [(File(payload=io.BytesIO(b"\x00\xff")), 2), (Json.from_dict({"op": "ping"}), 13)]:
    sent = send.sync_detailed("e", client=client, body=body, wait="written", idempotency_key=f"key-{size}")
    assert sent.status_code in (200, 202) and isinstance(sent.parsed, Receipt), sent
    assert sent.parsed.bytes_ == size or sent.parsed.bytes_ == size + 1, sent.parsed
    found = receipt.sync(sent.parsed.id, client=client)
    assert isinstance(found, Receipt) and found.id == sent.parsed.id, found

refused = send.sync("none", client=client, body=Json.from_dict({}))
assert isinstance(refused, Problem) and refused.status == 404, refused
print("all is well")
