"""boto3, the AWS CLI and the command line tool against `enroller sim`."""
