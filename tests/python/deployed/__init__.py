"""The templates, scripts and function binaries, deployed on ministack."""
