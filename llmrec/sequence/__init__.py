"""What methods that read a user's items in order share, so that a method's own file holds its network and little else.

    layers     dropout, the items' embeddings with their start token, the initialisation of weights
    attention  SASRec's layer
    windows    histories cut into batches of inputs and targets; the question when users are asked
    losses     the declared axis of losses: states x catalogue x wanted items -> the mean loss of a target
    fit        the epochs of training (on llmrec.training) and the scores of all items
    checks     parameters out of range, in one message
    settings   the parameters that methods with attention share, checked by one call

Conventions. Item ids are 0 .. n_items - 1; id ``n_items`` is the start of a history. Sequences are aligned on the left
and padded on the right, so that a causal model needs no mask for the padding. A model maps ids int64 [b, t] to states
[b, t, d]: what each position expects next. ``model.catalogue`` [n_items, d] is the output layer; a score is a dot
product of the two.

Import the modules themselves: a record depends on those that its method imports, and on no others.
"""
