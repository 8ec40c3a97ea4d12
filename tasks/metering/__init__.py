"""Metering: what agents ask of models goes through a proxy that counts, and that can stop them."""
