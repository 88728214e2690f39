"""Writing solutions with a language policy, a step or a token at a time, inside `jit`.

`steps.py` is all of the writing. `draw_step` appends one step to partly written solutions,
optionally without replacement among its siblings; `append_token` appends one token;
`sample_solutions` writes whole solutions with `draw_step`. The strategies, the control's samples
and the nodes of a search tree are these same functions, so that all of them write with the same
policy and grammar. `contexts.py` puts earlier attempts behind a prompt.
"""
