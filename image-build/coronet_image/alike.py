"""Compiles the numeric kernels so that every run of it gives the same bytes. Run by the built root's own Python (`product.kernels`).

Numba puts addresses in memory into what it compiles: it names parallel loops and array expressions by them, and keeps a listing for people
in which every function stands with its own. Here they are numbered in their order, that of the calls, and the listing is left out.
"""

import itertools

from numba.core.annotations.type_annotations import TypeAnnotation
from numba.np.ufunc import array_exprs
from numba.parfors.parfor import Parfor

from appliance.workflow.warmup import warm_up

numbers = itertools.count(1)
array_exprs.hash = lambda _expression: next(numbers)  # what the module calls for a name, and for nothing else
Parfor.__hash__ = lambda loop: loop.id
TypeAnnotation.__str__ = lambda _listing: ""

warm_up()
