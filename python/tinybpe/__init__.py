"""Byte-level BPE: train, encode, decode, token files."""
