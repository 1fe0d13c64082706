"""Measurements of fastconv and its peers on this machine: the command `fastconv bench`.

What is measured stands in `layers`, `networks` and `nets`, by whom in `peers` and `twin`, how in `timing` and
`machine`. `conv`, `ops`, `nets`, `scaling` and `roofline` make rows; `report` and `plot` show them; `summary` is the
README's table.
"""
