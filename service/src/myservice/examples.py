"""The examples that ``run`` prints: commands to paste into a shell that has ``$TOKEN``."""

from myservice.config import Config
from paceline.commands import Process

# paceline: only full {
_ORDER = r"""JSON="Content-Type: application/json"
A=$(curl -s $API/accounts -H "$AUTH" -H "$JSON" -d '{}' | grep -o '[0-9a-f-]\{36\}')
B=$(curl -s $API/accounts -H "$AUTH" -H "$JSON" -d '{}' | grep -o '[0-9a-f-]\{36\}')
curl -s -o /dev/null $API/accounts/$A/credits -H "$AUTH" -H "$JSON" -d '{"amount": 1000}'
DRAFT='{"from": "'$A'", "to": "'$B'", "amount": 250}'
ORDER=$(curl -s $API/orders -H "$AUTH" -H "$JSON" -d "$DRAFT" |
  grep -o '[0-9a-f-]\{36\}' | head -1)
sleep 1; curl -s $API/orders/$ORDER -H "$AUTH"; echo
"""
# paceline: }


def examples(config: Config, process: Process) -> str:
    """Commands to paste."""
    url = f"http://{config.host}:{process.servers['http'].port}"
    grpc = f"{config.host}:{process.servers['grpc'].port}"  # paceline: only grpc
    body = '{"name": "first", "metadata": {"colour": "blue"}, "data": {"n": 1}}'
    return (
        f'curl -i {url}/api/v1/records -H "Authorization: Bearer $TOKEN" \\\n'
        f"  -H 'Content-Type: application/json' -d '{body}'\n"
        f'curl -s {url}/api/v1/records -H "Authorization: Bearer $TOKEN"\n'
        # paceline: only full {
        "# An order, paid by the worker a moment later:\n"
        f'API={url}/api/v1 AUTH="Authorization: Bearer $TOKEN"\n'
        f"{_ORDER}"
        # paceline: }
        # paceline: only grpc {
        f'grpcurl -plaintext -H "authorization: Bearer $TOKEN" {grpc} '
        "myservice.v1.RecordService/ListRecords\n"
        # paceline: }
    )
