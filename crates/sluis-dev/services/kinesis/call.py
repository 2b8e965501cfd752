"""`call.py OPERATION [JSON]`: one call of the API by boto3, its answer as JSON. An operation is a method of boto3's client: put_records."""

import json
import sys

import boto3

client = boto3.client(
    "kinesis",
    endpoint_url="http://127.0.0.1:{{ port('api') }}",
    region_name="us-east-1",
    aws_access_key_id="sluis",
    aws_secret_access_key="sluis-secret",
)
operation = sys.argv[1] if len(sys.argv) > 1 else "list_streams"
answer = getattr(client, operation)(**json.loads(sys.argv[2] if len(sys.argv) > 2 else "{}"))
answer.pop("ResponseMetadata", None)
print(json.dumps(answer, default=lambda v: v.decode(errors="replace") if isinstance(v, bytes) else str(v)))
