"""`enroller sim` driven by boto3 and the AWS CLI, and commands run against it."""
