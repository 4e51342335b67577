"""The templates and scripts in `infra/`, checked without AWS."""
