"""Open models: folders in the Hugging Face layout, read into the one transformer.

`families.py` says what each family of models sets in it, `describe.py` reads a folder's
config.json, and `weights.py` its safetensors files, straight to where parameters lie. Nothing in a
folder is executed or unpickled.
"""
