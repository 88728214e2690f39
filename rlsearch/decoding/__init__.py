"""Writing solutions with a language policy, a step or a token at a time, inside `jit`.

`policy.py` says what a policy is: a network and the format of its solutions. `draft.py` is
half-written text: a prompt, which many solutions share, and what is written behind it.
`writer.py` is a policy with its weights, and all of the writing: it starts drafts, appends one
step (optionally without replacement among its siblings) or one token, writes on to the end, and
follows what another writer wrote. `sampling.py` is the distribution that is drawn from. The
strategies, the control's samples and the nodes of a search tree use this one writer, so that all of
them write with the same policy and grammar. `split.py` cuts finished solutions into steps, and
`contexts.py` puts earlier attempts behind a prompt.
"""
