"""Policies in and out: a folder with safetensors and a model card.

`share.py` exports and imports, `model_card.py` writes the card.
"""
