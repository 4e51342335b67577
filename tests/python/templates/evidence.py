"""Checks of what keeps the records as they were delivered: bucket, key, Object Lock, views. Part of check_templates.py."""

from __future__ import annotations

from common.sentences import Sentences, none
from templates.template_model import Template, strings


def evidence(say: Sentences, central: Template, member: Template) -> None:
    """What keeps the records as they were delivered."""
    def rendered(name: str, **values: str) -> dict:
        return central.render(central.resources[name]["Properties"], values)

    with say.check("the bucket refuses plain HTTP, and deletion of records by anybody but S3 Lifecycle"):
        denied = {statement["Sid"]: statement for statement in rendered("BucketPolicy")["PolicyDocument"]["Statement"]}
        assert denied["TlsOnly"]["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        delete = denied["LifecycleOnly"]
        assert (delete["Effect"], delete["Principal"], "Condition" in delete) == ("Deny", "*", False), delete
        assert delete["Action"] == ["s3:DeleteObject", "s3:DeleteObjectVersion"] and delete["Resource"].endswith("/flow-logs/*")
        assert rendered("Stream")["ExtendedS3DestinationConfiguration"]["Prefix"].startswith("flow-logs/")
    with say.check("Object Lock, and a bucket of its own for results of queries, are there if they are asked for"):
        assert not {"ObjectLockEnabled", "ObjectLockConfiguration"} & rendered("Bucket").keys()
        locked = rendered("Bucket", ObjectLockMode="COMPLIANCE", ObjectLockDays="30")
        assert locked["ObjectLockConfiguration"]["Rule"]["DefaultRetention"] == {"Mode": "COMPLIANCE", "Days": "30"}
        assert locked["ObjectLockEnabled"] is True and locked["VersioningConfiguration"] == {"Status": "Enabled"}
        results = {mode: rendered("WorkGroup", ObjectLockMode=mode)["WorkGroupConfiguration"]["ResultConfiguration"]["OutputLocation"]
                   for mode in ("none", "GOVERNANCE")}
        assert results == {"none": "s3://<Bucket>/query-results/", "GOVERNANCE": "s3://<ResultsBucket>/query-results/"}, results
    with say.check("a bucket that exists takes the logs, and nothing of it is made or changed"):
        existing = {"ExistingBucketName": "log-archive", "ExistingBucketKeyArn": "arn:aws:kms:eu-west-1:444455556666:key/1"}
        made = [name for name, resource in central.resources.items() if resource["Type"].startswith("AWS::S3::")
                and central.render({"Condition": resource["Condition"]}, existing)]
        assert made == ["ResultsBucket", "ResultsBucketPolicy"], made
        used = [resource for name in ("StreamRole", "Stream", "Table", "Deliveries") for resource in strings(rendered(name, **existing))]
        none([text for text in used if "<Bucket" in text])
        assert "arn:aws:s3:::log-archive/flow-logs/*" in used and existing["ExistingBucketKeyArn"] in used
    with say.check("with KeyScope everything, one key encrypts bucket, stream, queues, topic, function logs and environment"):
        everything = {"Encryption": "SSE-KMS", "KeyScope": "everything"}
        kinds = {"AWS::SQS::Queue": "KmsMasterKeyId", "AWS::SNS::Topic": "KmsMasterKeyId", "AWS::Lambda::Function": "KmsKeyArn"}
        plain = [name for name, resource in central.resources.items() if resource["Type"] in kinds
                 if "<Key" not in rendered(name, **everything).get(kinds[resource["Type"]], "")]
        plain += [f"{name}Role" for name in ("VpcEnroller", "AccountOnboarder", "Backfill")
                  if "<Key.Arn>" not in set(strings(rendered(f"{name}Role", **everything)["Policies"]))]
        plain += [f"{name}LogGroup" for name in ("VpcEnroller", "AccountOnboarder", "Backfill")
                  if rendered(f"{name}LogGroup", **everything).get("KmsKeyId") != "<Key.Arn>"]
        none(plain)
        assert rendered("Stream", **everything)["DeliveryStreamEncryptionConfigurationInput"]["KeyARN"] == "<Key.Arn>"
        only = [name for name, resource in central.resources.items() if resource["Type"] == "AWS::SQS::Queue"
                if rendered(name, Encryption="SSE-KMS").get("SqsManagedSseEnabled") is not True]
        none(only)
    with say.check("the key policy lets only the named roles and Firehose read the records, if it names any"):
        sids = [statement.get("Sid") for statement in rendered("Key", Encryption="SSE-KMS")["KeyPolicy"]["Statement"]]
        assert sids == ["Account", "AlarmsToTopic"], sids
        auditors = "arn:aws:iam::444455556666:role/Auditors"
        policy = rendered("Key", Encryption="SSE-KMS", KeyReaderArns=auditors)["KeyPolicy"]["Statement"]
        deny = next(statement for statement in policy if statement["Effect"] == "Deny")
        stream = "arn:aws:iam::111122223333:role/a-stack-StreamRole-*"
        assert deny["Condition"]["ArnNotLike"] == {"aws:PrincipalArn": [auditors, stream]} and deny["Action"] == "kms:Decrypt"
    with say.check("every role of the member stack has the permissions boundary, if one is named"):
        roles = {name: [member.render(role["Properties"], {"PermissionsBoundaryName": boundary}).get("PermissionsBoundary") for boundary in ("", "b")]
                 for name, role in member.of_type("AWS::IAM::Role")}
        none([f"{name}: {found}" for name, found in roles.items() if found != [None, "arn:aws:iam::111122223333:policy/b"]])
    with say.check("by default the owner and log group that CloudWatch Logs names travel with every record"):
        processors = central.render(central.resources["Stream"]["Properties"], {})["ExtendedS3DestinationConfiguration"]["ProcessingConfiguration"]
        assert [processor["Type"] for processor in processors["Processors"]] == ["Decompression", "AppendDelimiterToRecord"]
        for name in ("AllRecordsView", "OwnRecordsView"):
            columns = [column["Name"] for column in central.resources[name]["Properties"]["TableInput"]["StorageDescriptor"]["Columns"]]
            assert columns[:2] == ["owner", "log_group"], name
