"""The sources of raw problems and words, before they mean anything to a task.

`game24.py` is the public benchmark of Game of 24 as a TFDS dataset, held against its checksum each
time it is read; `words.py` is a tokenizer of one token a word. The two do not know each other: the
tasks put them together.
"""
