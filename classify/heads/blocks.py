"""Rows some at a time, so that nothing as large as the embeddings is ever made."""

BLOCK_ROWS = 4096


def row_blocks(n_rows: int, block_rows: int = BLOCK_ROWS) -> list[slice]:
    """Slices that cover `n_rows` in order, 4 096 each by default; the last may be shorter."""
    return [slice(start, start + block_rows) for start in range(0, n_rows, block_rows)]
