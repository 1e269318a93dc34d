"""Decoder-only Transformer language model: train, evaluate, generate."""
