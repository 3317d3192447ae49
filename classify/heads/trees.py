"""Is LightGBM's text whole? LightGBM itself ends the process, or reads past its arrays, if not."""

import math
from collections.abc import Iterable

END = "end of trees\n"
HEADER = {
    *("version", "num_class", "num_tree_per_iteration", "label_index", "max_feature_idx"),
    *("objective", "feature_names", "monotone_constraints", "feature_infos", "tree_sizes"),
}
OF_SPLITS = ("split_gain", "threshold", "internal_value", "internal_weight", "internal_count")
OF_LEAVES, SIZES = ("leaf_value",), ("leaf_weight", "leaf_count")
LINKS = ("left_child", "right_child")
TREE = {
    *("Tree", "num_leaves", "num_cat", "split_feature", "decision_type", "is_linear", "shrinkage"),
    *(*OF_SPLITS, *OF_LEAVES, *SIZES, *LINKS),
}


def checked_trees(text: str, n_classes: int) -> str:
    """What LightGBM may be given of a model's text: all but how it was trained.

    Parameters
    ----------
    text : str
        As ``Booster.model_to_string`` gives it; numerical splits only.

    Raises
    ------
    ValueError
        If anything in it does not fit: a number of trees, a length, a column, a branch.
    """
    _require(text.isascii(), "expected ASCII")
    start = text.index("Tree=0\n")
    header = _facts(text[:start].splitlines()[1:])
    _require(text.startswith("tree\n") and header.keys() <= HEADER, "unknown header")
    n_columns = int(header["max_feature_idx"]) + 1
    _require(
        int(header["num_class"]) == int(header["num_tree_per_iteration"]) == n_classes
        and header["objective"] == f"multiclass num_class:{n_classes}",
        f"expected trees of {n_classes} classes",
    )
    for name in ("feature_names", "feature_infos"):
        _require(len(header[name].split(" ")) == n_columns, f"expected {n_columns} {name}")
    sizes = [int(size) for size in header["tree_sizes"].split(" ")]
    _require(len(sizes) % n_classes == 0 and min(sizes) > 0, "trees are missing")
    position = start
    for number, size in enumerate(sizes):
        tree = _facts(text[position : position + size].splitlines())
        _require(text.startswith(f"Tree={number}\n", position), f"tree {number} is missing")
        _check_tree(tree, n_columns)
        position += size
    _require(text.startswith(END, position), "more trees than its header lists")
    return text[:position] + END


def _facts(lines: Iterable[str]) -> dict[str, str]:
    facts: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition("=")
        _require(name not in facts or not line, f"{name} stands there twice")
        facts[name] = value
    # Blank lines.
    facts.pop("", None)
    return facts


def _check_tree(tree: dict[str, str], n_columns: int) -> None:
    _require(tree.keys() == TREE, "a tree of another kind")
    n_leaves = int(tree["num_leaves"])
    n_splits = n_leaves - 1
    _require(tree["num_cat"] == tree["is_linear"] == "0", "a tree of another kind")
    _require(math.isfinite(float(tree["shrinkage"])), "a number that is not finite")
    # Of a single leaf not all sizes are written.
    size_lengths = {n_leaves, n_leaves if n_splits else 0}
    expected = ((OF_SPLITS, {n_splits}), (OF_LEAVES, {n_leaves}), (SIZES, size_lengths))
    for names, lengths in expected:
        for name in names:
            numbers = [float(number) for number in tree[name].split()]
            _require(len(numbers) in lengths, f"{name}: {len(numbers)} of {n_leaves} leaves")
            _require(all(map(math.isfinite, numbers)), f"{name}: a number that is not finite")
    columns, kinds, *links = (
        [int(number) for number in tree[name].split()]
        for name in ("split_feature", "decision_type", *LINKS)
    )
    _require(
        len(columns) == len(kinds) == n_splits
        and all(0 <= column < n_columns for column in columns)
        # Odd ones are splits by category.
        and all(kind in range(0, 16, 2) for kind in kinds),
        "a split of another kind",
    )
    for children in links:
        # Leaves are counted from -1 down; a split is always above its children.
        are_below = (at < to < n_splits or -n_leaves <= to < 0 for at, to in enumerate(children))
        _require(len(children) == n_splits and all(are_below), "a branch to no node")


def _require(is_right: bool, otherwise: str) -> None:
    if not is_right:
        raise ValueError(f"damaged trees: {otherwise}")
