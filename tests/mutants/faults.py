"""The faults: each breaks one promise of README.md or DESIGN, and names the tests that must fail.

A fault is text inside a function, long enough to stand once in its file. Whoever changes that
text changes it here too: `tests/test_mutants.py` says where it no longer stands. Tests are single
and quick, most without TensorFlow. A promise that no fault breaks here is one that nobody has seen
a test fail for: add it.
"""

from typing import NamedTuple


class Fault(NamedTuple):
    """A fault to plant.

    Attributes
    ----------
    name : str
    promise : str
        What it breaks, in a sentence.
    file : str
        Relative to the root.
    text : str
        Stands exactly once in that file.
    put : str
        What to put in its place.
    tests : tuple of str
        Node ids, as pytest takes them; at least one of them must fail.
    """

    name: str
    promise: str
    file: str
    text: str
    put: str
    tests: tuple[str, ...]


BLOCK = "tests/cache/test_reader.py::test_no_block_is_read_without_its_checksum"
UNTRUSTED = "tests/cache/test_untrusted.py::test_"
HEADS = "tests/classify/test_heads.py::test_"
SMALL = "tests/classify/export/test_small_formats.py::test_"
SPLIT_ALONE = (
    "tests/classify/test_train_heads.py::"
    "test_files_that_differ_in_test_alone_give_the_same_heads_votes_and_temperatures[in-memory]"
)
SEEN_BY_NETWORK = (
    "tests/extract/networks/test_backbones.py::"
    "test_a_network_is_given_bgr_minus_the_mean_not_scaled_and_is_frozen"
)

DOCTOR = "tests/classify/doctor/model/"
DISTANCES = "tests/classify/inspection/test_out_of_distribution.py::test_"
LOOKS = "tests/classify/test_looks_at_test.py::test_"

FAULTS = (
    # One preprocessing.
    Fault(
        "scaled-pixels",
        "Pixels reach ResNet50 not scaled.",
        "extract/networks/keras_network.py",
        "module.preprocess_input(pixels, data_format",
        "module.preprocess_input(pixels / 255, data_format",
        (SEEN_BY_NETWORK,),
    ),
    Fault(
        "channels-stay-rgb",
        "Pixels reach ResNet50 as BGR.",
        "extract/networks/keras_network.py",
        "module.preprocess_input(pixels, data_format",
        "module.preprocess_input(pixels[..., ::-1], data_format",
        (SEEN_BY_NETWORK,),
    ),
    Fault(
        "resize-without-margin",
        "The shorter side is resized to 256 for a crop of 224.",
        "extract/images/resizing.py",
        "return round(size_px * 256 / 224)",
        "return size_px",
        (
            "tests/extract/images/test_decode.py::test_the_shorter_side_keeps_the_proportion_of_256_to_224",
        ),
    ),
    Fault(
        "squash-reduced-by-the-longer-side",
        "The side that shrinks least decides how much a JPEG is reduced.",
        "extract/images/resizing.py",
        "return least, least",
        "return least, 1",
        (
            "tests/extract/images/test_resizing.py::"
            "test_the_side_that_shrinks_least_decides_how_a_jpeg_is_reduced",
        ),
    ),
    Fault(
        "another-size-resized",
        "Without resizing, another size is refused.",
        "extract/images/decode.py",
        "if resizing.rule == NONE and {width, height} != {resizing.size_px}:",
        "if resizing.rule == NONE and 0 in {width, height}:",
        (
            "tests/extract/images/test_resizing.py::"
            "test_without_resizing_another_size_is_refused_and_named[size0]",
        ),
    ),
    Fault(
        "one-corner-twice",
        "Five crops are the four corners and the centre.",
        "extract/networks/views.py",
        "(0, 0), (0, rest), (rest, 0), (rest, rest)",
        "(0, 0), (0, rest), (0, rest), (rest, rest)",
        (
            "tests/extract/networks/test_views.py::"
            "test_an_embedding_is_the_mean_of_those_of_the_views[tensorflow-5crop]",
        ),
    ),
    Fault(
        "exif-ignored",
        "EXIF orientation is applied.",
        "extract/images/decode.py",
        "return UPRIGHT.get(orientation(image), AS_STORED)",
        "return AS_STORED",
        ("tests/extract/images/test_decode.py::test_every_exif_orientation_ends_upright",),
    ),
    Fault(
        "alpha-on-black",
        "Transparency is put on white.",
        "extract/images/decode.py",
        "white = 255 - pixels[..., 3:]",
        "white = 0 * pixels[..., 3:]",
        ("tests/extract/images/test_decode.py::test_alpha_is_put_on_white",),
    ),
    Fault(
        "export-other-sharpness",
        "An exported head gives the probabilities of the head.",
        "classify/heads/ridge.py",
        "return SHARPNESS * self.kernel_, SHARPNESS * self.bias_",
        "return self.kernel_, self.bias_",
        (
            "tests/classify/test_keras_layers.py::"
            "test_the_layers_give_the_probabilities_of_the_head[None-ridge]",
        ),
    ),
    Fault(
        "export-casts-divided-pixels-to-zeros",
        "Exported models tell pixels / 255 apart.",
        "classify/export/pixel_range.py",
        "levels = ops.where(is_divided, 255 * pixels, pixels)",
        "levels = pixels",
        (
            "tests/classify/export/test_pixel_range.py::"
            "test_each_of_both_ranges_gives_the_same_grey_levels[float32-255]",
        ),
    ),
    # Identity, not names.
    Fault(
        "cut-layer-not-in-fingerprint",
        "Embeddings of one layer are not taken for those of another.",
        "extract/networks/keras_network.py",
        "layer=self.layer,",
        'layer="",',
        (
            "tests/extract/networks/test_cut.py::test_layers_are_in_the_fingerprint_and_no_layer_is_not",
        ),
    ),
    Fault(
        "layers-named-by-what-was-built-before",
        "A layer has the same name in every process.",
        "extract/networks/keras_network.py",
        "else nullcontext(), numbered_from_zero():",
        "else nullcontext(), nullcontext():",
        (
            "tests/extract/networks/test_backbones.py::"
            "test_layers_have_the_same_names_whatever_was_built_before",
        ),
    ),
    # Random weights are never silent.
    Fault(
        "random-weights-after-the-file-stops",
        "A weights file that stops inside the network serves no layer after that.",
        "extract/networks/cut.py",
        "if not {*map(id, used.weights)} <= {*map(id, part.weights)}:",
        "if False:",
        (
            "tests/extract/networks/test_cut.py::"
            "test_weights_that_stop_before_the_cut_are_refused_and_the_last_layer_is_named",
        ),
    ),
    Fault(
        "declared-scaling-believed",
        "A declared preprocessing that the first BatchNormalization contradicts is named.",
        "classify/doctor/model/own_backbone.py",
        "if fit is None or not fit.is_far(declared):",
        "if fit is not None or declared:",
        (
            "tests/classify/doctor/model/test_own_backbone.py::"
            "test_every_wrong_declaration_is_named_and_the_right_one_is_not[tf]",
        ),
    ),
    Fault(
        "registers-among-patches",
        "Registers are left out of the mean of a transformer's patches.",
        "extract/networks/keras_hub_network.py",
        "patches = output[:, n_before:] if n_before else output",
        "patches = output[:, 1:] if n_before else output",
        (
            "tests/extract/networks/test_keras_hub_network.py::"
            "test_embeddings_are_those_of_keras_hub_in_both_engines[dinov2]",
        ),
    ),
    # Frozen means frozen.
    Fault(
        "extraction-in-training-mode",
        "An embedding does not depend on the images beside it.",
        "extract/networks/keras_network.py",
        "base.trainable = False\n\n"
        "        def embed(pixels: Any) -> Any:\n"
        "            return keras.ops.cast(base(self.preprocess(pixels), training=False),",
        "def embed(pixels: Any) -> Any:\n"
        "            return keras.ops.cast(base(self.preprocess(pixels), training=True),",
        (SEEN_BY_NETWORK,),
    ),
    Fault(
        "folded-without-epsilon",
        "Folding BatchNormalization changes an embedding by no more than rounding.",
        "extract/networks/folding.py",
        "scale = 1 / np.sqrt(variance + norm.epsilon)",
        "scale = 1 / np.sqrt(variance)",
        ("tests/extract/networks/test_folding.py::test_a_norm_after_a_convolution_is_folded",),
    ),
    Fault(
        "top-uses-batch-statistics",
        "No BatchNormalization of the network uses batch statistics in fine-tuning.",
        "classify/finetuning/split_network.py",
        "            layer.trainable = False\n        return top",
        "            layer.trainable = True\n        return top",
        (
            "tests/classify/finetuning/test_split_network.py::"
            "test_the_top_gives_in_training_what_it_gives_in_inference_except_for_dropout"
            "[resnet50v2]",
        ),
    ),
    # Row i is image i.
    Fault(
        "rows-sorted-while-gathered",
        "Row i of the embeddings is image i.",
        "cache/writer.py",
        'out[found] = CheckedDataset(file, "embeddings").read(rows)',
        'out[found] = CheckedDataset(file, "embeddings").read(np.sort(rows))',
        ("tests/cache/test_writer.py::test_many_blocks_and_any_order_of_sources",),
    ),
    Fault(
        "rows-in-the-order-of-the-file",
        "Embeddings come in the order asked for.",
        "cache/blocks.py",
        "self._check_all(self._scatter(out, rows[order], order))",
        "self._check_all(self._scatter(out, rows[order], np.arange(n_rows)))",
        ("tests/cache/test_reader.py::test_rows_come_in_the_order_asked_for_as_float32",),
    ),
    Fault(
        "labels-shift-when-an-image-leaves",
        "Without a rejected image, its neighbours keep their labels.",
        "cache/format.py",
        "labels=self.labels[is_kept],",
        "labels=self.labels[: int(is_kept.sum())],",
        (
            "tests/cache/test_format.py::"
            "test_rejected_contents_leave_with_every_copy_and_the_rows_stay_aligned",
        ),
    ),
    Fault(
        "unusable-file-shifts-rows",
        "The neighbours of an unusable file keep their rows.",
        "extract/images/stream.py",
        "for row, (content, image) in enumerate(decoded):",
        "for row, (content, image) in enumerate(\n"
        "        each for each in decoded if not isinstance(each[1], UnusableImageError)\n"
        "    ):",
        (
            "tests/extract/images/test_stream.py::"
            "test_an_unusable_file_has_a_reason_and_its_neighbours_keep_their_rows",
        ),
    ),
    # The order of classes.
    Fault(
        "unseen-class-shifts-columns",
        "The columns of every head follow the classes of the file.",
        "classify/train_heads.py",
        "proba[:, head.classes_] = head.predict_proba(X)",
        "proba[:, : len(head.classes_)] = head.predict_proba(X)",
        (
            "tests/classify/test_train_heads.py::"
            "test_a_class_that_a_head_has_not_seen_has_a_column_of_zeros",
        ),
    ),
    Fault(
        "text-labels-by-appearance",
        "Text labels give the probabilities that integers give.",
        "classify/heads/head.py",
        "return Labelled(X, np.searchsorted(self.classes_, y), weight)",
        'places = np.unique(y, return_index=True)[1].argsort().argsort() if y.dtype.kind == "U" '
        "else np.arange(len(self.classes_))\n"
        "        return Labelled(X, places[np.searchsorted(self.classes_, y)], weight)",
        (HEADS + "text_labels_give_what_integers_give_column_by_column[centroid]",),
    ),
    # Identity, not names, decides reuse.
    Fault(
        "fingerprint-without-precision",
        "Precision is part of the fingerprint.",
        "cache/format.py",
        "canonical = json.dumps(self.items, sort_keys=True",
        'canonical = json.dumps({**self.items, "precision": ""}, sort_keys=True',
        ("tests/cache/test_format.py::test_every_item_changes_the_fingerprint",),
    ),
    Fault(
        "fingerprint-without-weights",
        "The hash of the weights is part of the fingerprint.",
        "cache/format.py",
        "canonical = json.dumps(self.items, sort_keys=True",
        'canonical = json.dumps({**self.items, "weights_hash": ""}, sort_keys=True',
        ("tests/cache/test_format.py::test_every_item_changes_the_fingerprint",),
    ),
    Fault(
        "own-model-known-by-its-optimizer",
        "A model of the user's own keeps its hash when it is saved again.",
        "extract/networks/own_model.py",
        'if not name.startswith("optimizer"):',
        "if name:",
        (
            "tests/extract/networks/test_own_model.py::"
            "test_a_model_keeps_its_hash_when_it_is_trained_on_or_saved_again_and_with_no_other_weights[keras]",
        ),
    ),
    Fault(
        "weights-hashed-in-part",
        "The hash of the weights is that of the whole file.",
        "extract/networks/weights.py",
        "hashlib.file_digest(file, 'sha256').hexdigest()",
        "hashlib.sha256(file.read(1 << 25)).hexdigest()",
        (
            "tests/extract/networks/test_weights.py::"
            "test_any_byte_of_a_large_weights_file_changes_its_hash_the_last_one_too",
        ),
    ),
    Fault(
        "content-is-the-name",
        "An image is known by the bytes of its file.",
        "extract/images/stream.py",
        "return hashlib.sha256(data).digest()",
        "return hashlib.sha256(str(file.path).encode()).digest()",
        ("tests/extract/images/test_stream.py::test_hashes_are_those_of_the_bytes",),
    ),
    Fault(
        "body-without-end",
        "No file is read further than its limit.",
        "extract/sources/bodies.py",
        "self.set_size(self._n_bytes + len(data))",
        "self.set_size(None)",
        (
            "tests/extract/sources/test_bodies.py::test_a_body_without_end_is_read_to_the_limit_and_once",
        ),
    ),
    Fault(
        "file-of-any-size",
        "A file that is larger than the limit is not read.",
        "extract/images/stream.py",
        "if max(n_bytes, len(data)) > max_bytes:",
        "if n_bytes < 0:",
        ("tests/extract/images/test_read.py::test_a_file_that_is_too_large_is_not_read",),
    ),
    Fault(
        "large-uploads-together",
        "The server decodes large pictures one at a time.",
        "classify/deployment/server/app.py",
        "CapacityLimiter(N_THREADS), CapacityLimiter(1)",
        "CapacityLimiter(N_THREADS), CapacityLimiter(9)",
        (
            "tests/classify/deployment/server/test_large_pictures.py::"
            "test_large_pictures_are_answered_one_at_a_time_and_small_ones_meanwhile",
        ),
    ),
    Fault(
        "other-settings-mix",
        "Files of different fingerprints are never mixed.",
        "extract/plan.py",
        "differences = table.config.identity.differences(identity)",
        "differences: list[str] = []",
        ("tests/extract/test_stage.py::test_another_fingerprint_never_mixes_in",),
    ),
    Fault(
        "known-images-again",
        "An image that is known is not extracted again.",
        "extract/workers/parallel.py",
        "work = Work(job, cached, recorder)",
        "work = Work(job, {}, recorder)",
        (
            "tests/extract/test_stage.py::"
            "test_touched_renamed_moved_and_relabelled_images_are_not_extracted_again",
        ),
    ),
    Fault(
        "copies-embedded",
        "Copies of an image cost one pass.",
        "extract/workers/embed.py",
        "if content in self._under_way or content in self.known:",
        "if content in self.known:",
        ("tests/extract/test_stage.py::test_copies_cost_one_pass_and_stand_in_one_split",),
    ),
    Fault(
        "files-read-twice",
        "A file is read once on its way to the embedding.",
        "extract/contents.py",
        "self._require_room(embedding, rows)",
        "self._require_room(embedding, rows), self._hashes.read()",
        ("tests/extract/test_stage.py::test_each_file_is_read_once",),
    ),
    # Nothing disappears.
    Fault(
        "rejected-forgotten",
        "An image that cannot be used is listed with the reason.",
        "cache/format.py",
        "return replace(self.select(is_kept), rejected=tuple(sorted((*self.rejected, *moved))))",
        "return self.select(is_kept)",
        (
            "tests/cache/test_format.py::"
            "test_rejected_contents_leave_with_every_copy_and_the_rows_stay_aligned",
        ),
    ),
    Fault(
        "damaged-becomes-grey",
        "A damaged image is never replaced by a grey one.",
        "extract/images/decode.py",
        "raise UnusableImageError(_describe(error)) from error",
        "return np.full((size_px, size_px, 3), 128, np.uint8)",
        (
            "tests/extract/images/test_decode.py::"
            "test_whatever_a_decoder_stumbles_over_is_a_reason_and_never_a_picture",
        ),
    ),
    Fault(
        "threads-meet-in-openvino",
        "No run waits for ever because two threads use OpenVINO first at the same time.",
        "extract/networks/engines.py",
        "openvino.Tensor(np.zeros(1, dtype=np.float32))",
        "pass",
        (
            "tests/extract/networks/test_engines.py::"
            "test_threads_that_use_openvino_first_at_the_same_time_do_not_wait_for_ever",
        ),
    ),
    Fault(
        "truncated-becomes-grey",
        "A file that is cut off is never replaced by a grey picture.",
        "extract/images/decode.py",
        "    except UnusableImageError:\n        raise\n",
        "    except UnusableImageError:\n"
        "        return np.full((size_px, size_px, 3), 128, np.uint8)\n",
        (
            "tests/extract/images/test_decode.py::test_a_truncated_file_is_refused_and_never_filled_in",
        ),
    ),
    Fault(
        "page-shows-one-rejected",
        "Every file that was left out stands on the page.",
        "classify/report/page/index.html",
        "{% for file in results.features.rejected %}",
        "{% for file in results.features.rejected[:1] %}",
        (
            "tests/classify/report/test_write.py::"
            "test_all_files_that_were_left_out_stand_on_the_page_with_their_reasons",
        ),
    ),
    Fault(
        "most-unusable-accepted",
        "A run stops where more than half of the images cannot be used.",
        "extract/plan.py",
        "if 2 * n_unusable <= n_images:",
        "if n_unusable <= n_images:",
        (
            "tests/extract/test_stage.py::"
            "test_more_than_half_of_the_images_bad_stops_the_run_with_the_first_reasons",
        ),
    ),
    Fault(
        "parts-never-by-time",
        "A killed run loses at most the part in flight: 30 seconds.",
        "extract/workers/embed.py",
        "if is_full or time.monotonic() - started > self.job.part_seconds:",
        "if is_full:",
        ("tests/extract/workers/test_work.py::test_time_alone_ends_a_part",),
    ),
    Fault(
        "parts-never-full",
        "A killed run loses at most the part in flight: 8 192 images.",
        "extract/workers/embed.py",
        "if is_full or time.monotonic() - started > self.job.part_seconds:",
        "if time.monotonic() - started > self.job.part_seconds:",
        (
            "tests/extract/workers/test_work.py::test_a_part_is_finished_when_it_is_full_and_at_the_end",
        ),
    ),
    # The test split is for the last number.
    Fault(
        "vote-fitted-on-test",
        "The weights of a vote are chosen on val.",
        "classify/train_heads.py",
        "probas = {name: self.trained[name].val[:, classes] for name in heads}\n"
        "        y_val = np.searchsorted(classes, self.y_val)\n"
        '        return Vote.of_fitted(heads, probas, y_val, self._weights("val"))',
        "probas = {name: self.trained[name].test[:, classes] for name in heads}\n"
        '        y_val = np.searchsorted(classes, self.features.labels("test"))\n'
        '        return Vote.of_fitted(heads, probas, y_val, self._weights("test"))',
        (SPLIT_ALONE,),
    ),
    Fault(
        "heads-choose-on-test",
        "Settings and temperatures of heads are chosen on val.",
        "classify/train_heads.py",
        'train, val = self._load("train"), self._load("val")\n'
        "        return self.heads[name].fit("
        '*train, *val, self._weights("train"), self._weights("val"))',
        'train, val = self._load("train"), self._load("test")\n'
        "        return self.heads[name].fit("
        '*train, *val, self._weights("train"), self._weights("test"))',
        (SPLIT_ALONE,),
    ),
    Fault(
        "heads-ranked-by-accuracy",
        "Heads are ranked by balanced accuracy.",
        "classify/run.py",
        "balanced = round(balanced_accuracy(y_val, candidate.val), 9)",
        "balanced = float((candidate.val.argmax(axis=1) == y_val).mean())",
        (
            "tests/classify/test_run.py::"
            "test_a_head_that_never_predicts_the_rare_class_is_not_first",
        ),
    ),
    Fault(
        "prior-is-recommended",
        "A head that is no better than prior is not recommended.",
        "classify/report/table.py",
        "if on_val.low <= prior:",
        "if on_val.low <= 0:",
        (
            "tests/classify/report/test_write.py::"
            "test_a_head_that_is_no_better_than_prior_is_not_recommended",
        ),
    ),
    Fault(
        "classes-that-a-draw-lacks-are-dropped",
        "The interval of macro F1 knows the classes that are never predicted.",
        "classify/metrics.py",
        "ratio.mean(axis=-1)",
        "(ratio * (below > 0)).sum(axis=-1) / (below > 0).sum(axis=-1)",
        (
            "tests/classify/test_metrics.py::"
            "test_the_interval_of_a_head_that_never_predicts_a_class_knows_that_class",
        ),
    ),
    Fault(
        "splits-become-classes",
        "Folders that look like splits and would be read as classes are refused.",
        "extract/sources/split_folders.py",
        "suspects = _named_splits(tops) or _alike(tops)",
        "suspects = _alike(tops)",
        (
            "tests/extract/sources/test_split_folders.py::"
            "test_what_looks_like_splits_and_would_be_classes_is_refused_with_the_way_out[flat]",
        ),
    ),
    Fault(
        "predict-takes-the-best-on-test",
        "predict and serve take the head that is best on val.",
        "classify/deployment/classifier.py",
        "rank(run.trained(features), y_val)[0]",
        "max(\n"
        "            run.trained(features),\n"
        "            key=lambda each: "
        '(each.test.argmax(axis=1) == features.labels("test")).sum(),\n'
        "        )",
        (
            "tests/classify/deployment/test_prediction.py::"
            "test_where_val_and_test_prefer_different_heads_predict_takes_vals",
        ),
    ),
    Fault(
        "export-takes-the-best-on-test",
        "export takes the head that is best on val.",
        "classify/export/export_model.py",
        "for trained in rank(run.trained(features), y_val):",
        "y_test = features.labels('test')\n"
        "    for trained in sorted(\n"
        "        run.trained(features),\n"
        "        key=lambda each: -(each.test.argmax(axis=1) == y_test).sum(),\n"
        "    ):",
        (
            "tests/classify/export/test_export_model.py::"
            "test_where_val_and_test_prefer_different_heads_export_takes_vals",
        ),
    ),
    Fault(
        "int8-head",
        "The head of an int8 export stays in float32.",
        "classify/export/quantization.py",
        "return [node.name for node in rest]",
        "return []",
        (f"{SMALL}int8_keeps_the_head_in_float32_and_shrinks_the_network",),
    ),
    Fault(
        "loss-by-its-interval",
        "A format that loses more than --max-loss is refused.",
        "classify/export/agreement.py",
        "lost = 100 * each.loss.value",
        "lost = 100 * each.loss.low",
        (f"{SMALL}a_format_that_loses_more_than_is_allowed_is_refused",),
    ),
    Fault(
        "agreement-with-other-images",
        "An export is compared with predict on the same images.",
        "classify/export/agreement.py",
        "opened.shown.test[used].argmax(axis=1)",
        "opened.shown.test[used[::-1]].argmax(axis=1)",
        (f"{SMALL}what_was_measured_stands_in_json_and_in_the_readme",),
    ),
    Fault(
        "sample-by-chance",
        "Samples of an export have each class by its share.",
        "classify/export/quantization.py",
        'shuffled[np.argsort(labels[shuffled], kind="stable")]',
        "shuffled",
        (f"{SMALL}a_sample_has_each_class_by_its_share_and_is_the_same_every_time",),
    ),
    Fault(
        "readme-names-paths",
        "The texts beside an export name no path of the machine that exported.",
        "classify/export/export_readme.py",
        "line.replace(path, Path(path).name)",
        "line",
        (f"{SMALL}the_card_says_what_is_known_and_names_no_path",),
    ),
    Fault(
        "readme-without-banner",
        "Random weights are said at the top of the README of an export.",
        "classify/export/export_readme.py",
        "banner(results)",
        '""',
        (f"{SMALL}random_weights_are_said_at_the_top_of_both_texts",),
    ),
    Fault(
        "tflite-without-names",
        "Names of the classes are in every TFLite file.",
        "classify/export/tflite_file.py",
        'if path.suffix == ".tflite":',
        "if False:",
        (f"{SMALL}names_of_the_classes_are_in_the_file",),
    ),
    Fault(
        "parquet-in-the-order-of-probability",
        "Probabilities in Parquet stand in the order of the classes.",
        "classify/deployment/prediction_table.py",
        "for name, value in each.top:\n                proba[row, column_of[name]] = value",
        "proba[row, : len(each.top)] = [value for _, value in each.top]",
        (
            "tests/classify/deployment/test_prediction_table.py::"
            "test_probabilities_stand_in_the_order_of_the_classes",
        ),
    ),
    Fault(
        "parquet-mixes-rows",
        "Row i of Parquet is image i of the feature file.",
        "cache/parquet.py",
        '"embedding": features.read(rows),',
        '"embedding": features.read(rows)[::-1],',
        ("tests/cache/test_parquet.py::test_embeddings_come_back_row_by_row_from_several_groups",),
    ),
    Fault(
        "finetuning-keeps-the-last-epoch",
        "Fine-tuning keeps the epoch with the smallest log loss on val.",
        "classify/finetuning/training_loop.py",
        "if calibrated < state.best_loss:",
        "if calibrated < np.inf:",
        (
            "tests/classify/finetuning/test_training_loop.py::"
            "test_the_log_loss_at_its_best_temperature_chooses_the_epoch",
        ),
    ),
    Fault(
        "mlp-keeps-the-last-epoch",
        "A network keeps the epoch with the smallest log loss on val.",
        "classify/heads/mlp.py",
        "if loss <= min(losses):",
        "if loss <= max(losses):",
        (HEADS + "the_network_that_an_mlp_keeps_has_the_smallest_log_loss_on_val_of_its_curve",),
    ),
    Fault(
        "c-with-the-largest-loss",
        "C is the one with the smallest log loss on val.",
        "classify/heads/grid.py",
        "min(losses, key=lambda value: losses[value])",
        "max(losses, key=lambda value: losses[value])",
        ("tests/classify/test_logreg.py::test_c_is_the_one_with_the_smallest_log_loss_on_val",),
    ),
    Fault(
        "always-refitted",
        "Without REFIT=1 a head learns from train alone.",
        "classify/train_heads.py",
        "if self.settings.refit and name != VOTE:",
        "if name != VOTE:",
        (
            "tests/classify/test_train_heads.py::"
            "test_without_a_refit_a_head_learns_from_train_alone[ridge-never]",
        ),
    ),
    Fault(
        "mistyped-variable-ignored",
        "A variable of make that nobody knows is an error.",
        "Makefile",
        "ifneq ($(WRONG),)",
        "ifneq (,)",
        ("tests/test_makefile.py::test_a_variable_that_nobody_knows_is_an_error",),
    ),
    Fault(
        "copies-in-different-splits",
        "Two copies of one photograph land in the same split.",
        "extract/splits.py",
        "position = int.from_bytes(digest[:8]) / 2**64",
        "import random\n\n    position = random.random()",
        ("tests/extract/test_splits.py::test_copies_land_in_the_same_split",),
    ),
    # Every number has an interval; differences are tested.
    Fault(
        "narrow-wilson",
        "An accuracy carries its 95 % Wilson interval.",
        "classify/intervals.py",
        "margin = z / (1 + z**2 / n) *",
        "margin = 0.8 * z / (1 + z**2 / n) *",
        ("tests/classify/test_intervals.py::test_wilson_is_the_published_interval",),
    ),
    Fault(
        "narrow-bootstrap",
        "Other numbers carry a 95 % bootstrap interval.",
        "classify/intervals.py",
        "ends = bias + np.array([-Z_95, Z_95])",
        "ends = bias + np.array([-Z_95, Z_95]) * 0.84",
        (
            "tests/classify/test_intervals.py::"
            "test_an_interval_of_draws_around_the_number_is_their_percentiles",
        ),
    ),
    Fault(
        "one-sided-mcnemar",
        "The p of a difference is McNemar's exact two-sided one.",
        "classify/intervals.py",
        "return min(1.0, 2 * float(bdtr(",
        "return min(1.0, float(bdtr(",
        ("tests/classify/test_intervals.py::test_mcnemar_is_the_exact_binomial",),
    ),
    Fault(
        "bonferroni",
        "The p of many differences is Holm's.",
        "classify/intervals.py",
        "factors = len(ps) - np.arange(len(ps))",
        "factors = np.full(len(ps), len(ps))",
        (
            "tests/classify/test_intervals.py::"
            "test_holm_is_what_its_definition_gives_with_ties_too_and_keeps_the_order",
        ),
    ),
    Fault(
        "uncorrected-p-printed",
        "The p that is printed is the corrected one.",
        "classify/report/versus.py",
        "p_value(found.p_holm)",
        "p_value(found.p)",
        (
            "tests/classify/report/test_versus.py::"
            "test_the_p_that_is_printed_is_holms_for_all_heads_that_both_have",
        ),
    ),
    Fault(
        "another-head-compared",
        "Of several runs, each is compared with its best head on val.",
        "classify/report/versus.py",
        "side.is_right(side.best)[at]",
        "side.is_right(min(side.heads))[at]",
        (
            "tests/classify/report/test_versus.py::test_of_three_runs_every_pair_is_compared_with_"
            "the_best_heads_on_the_images_that_all_have",
        ),
    ),
    Fault(
        "network-chosen-on-test",
        "A network is chosen on images of train and val alone.",
        "extract/sample.py",
        "strict=True) if split != TEST]",
        "strict=True)]",
        (
            "tests/extract/test_sample.py::"
            "test_no_image_of_test_is_in_the_sample_and_each_has_its_split_of_the_whole",
        ),
    ),
    Fault(
        "no-penalty-in-log-me",
        "LogME is the largest evidence by its definition.",
        "classify/studies/transferability.py",
        "volume = np.log1p(eigenvalues / ratio).sum() / n_images",
        "volume = 0 * eigenvalues.sum()",
        (
            "tests/classify/studies/test_transferability.py::"
            "test_log_me_is_the_largest_evidence_by_its_definition",
        ),
    ),
    Fault(
        "temperature-upside-down",
        "One temperature is fitted on val, so that probabilities mean what they say.",
        "classify/heads/temperature.py",
        "log_proba = log_softmax(logits / np.float32(np.exp(log_temperature)), axis=1)",
        "log_proba = log_softmax(logits * np.float32(np.exp(log_temperature)), axis=1)",
        (
            "tests/classify/test_temperature.py::"
            "test_the_temperature_that_spoiled_probabilities_is_found",
        ),
    ),
    Fault(
        "no-temperature",
        "After each fit a temperature is fitted.",
        "classify/heads/head.py",
        "self.temperature_ = fit_temperature(raw, y, weight)",
        "self.temperature_ = 1.0",
        (HEADS + "a_temperature_is_fitted_on_val_and_lowers_its_log_loss[centroid]",),
    ),
    Fault(
        "copies-not-named",
        "A photograph that is in two splits is named.",
        "classify/inspection/near_duplicates.py",
        "if len(group) > 1]",
        "if len(group) > 2]",
        (
            "tests/classify/inspection/test_near_duplicates.py::"
            "test_one_file_in_two_splits_is_an_exact_pair",
        ),
    ),
    # Heads obey scikit-learn's rules.
    Fault(
        "class-weight-ignored",
        "CLASS_WEIGHT=balanced helps rare classes.",
        "classify/heads/head.py",
        "compute_sample_weight(class_weight, y)",
        "compute_sample_weight(None, y)",
        (HEADS + "balanced_weights_help_a_rare_class[logreg]",),
    ),
    Fault(
        "input-modified",
        "A head does not modify its input.",
        "classify/heads/logreg.py",
        "return softmax(X @ self.kernel_ + self.bias_, axis=1)",
        "X += 1e-3\n        return softmax(X @ self.kernel_ + self.bias_, axis=1)",
        (HEADS + "input_is_not_modified[logreg]",),
    ),
    Fault(
        "seed-lost",
        "The seed reaches every head that draws numbers.",
        "classify/heads/registry.py",
        'return head.set_params(seed=seed) if "seed" in head.get_params() else head',
        "return head",
        ("tests/classify/test_train_heads.py::test_the_seed_reaches_the_heads_and_the_record",),
    ),
    # Light, honest, safe.
    Fault(
        "heavy-training",
        "Heads that need no TensorFlow never import it.",
        "classify/metrics.py",
        '"""Share of images whose class is the most probable, with Wilson\'s interval."""\n',
        "import tensorflow\n\n",
        ("tests/headbench/test_light.py::test_training_without_a_network_is_light",),
    ),
    Fault(
        "random-weights-unnamed",
        "Every place that shows a result names random weights.",
        "classify/wording.py",
        "if identity.has_random_weights:",
        "if not identity.weights_hash:",
        (
            "tests/classify/test_wording.py::"
            "test_weights_are_named_without_their_folder_and_random_ones_loudly",
        ),
    ),
    Fault(
        "pickle-read",
        "No pickle from disk is opened.",
        "classify/arrays.py",
        "np.lib.format.read_array(file, allow_pickle=False)",
        "np.lib.format.read_array(file, allow_pickle=True)",
        ("tests/classify/test_arrays.py::test_a_pickle_is_neither_written_nor_read",),
    ),
    Fault(
        "traceback-for-bad-input",
        "What a user can mend ends with exit code 2.",
        "headbench/terminal.py",
        'say(f"error: {error}", is_stderr=True)\n        return BAD_INPUT',
        'say(f"error: {error}", is_stderr=True)\n        return 1',
        (
            "tests/headbench/test_terminal.py::test_what_the_user_can_mend_is_one_line_and_exit_code_2",
        ),
    ),
    Fault(
        "links-followed",
        "Nothing in an HDF5 file is read from another one.",
        "cache/untrusted.py",
        "if link.type != h5py.h5l.TYPE_HARD:",
        "if link.type == h5py.h5l.TYPE_SOFT:",
        (f"{UNTRUSTED}what_lies_in_another_file_is_refused[other.h5-labels]",),
    ),
    Fault(
        "sizes-believed",
        "No dataset takes more memory than its file has bytes.",
        "cache/untrusted.py",
        "if n_bytes > n_there else",
        "if n_bytes > 10**15 else",
        (f"{UNTRUSTED}no_size_is_believed",),
    ),
    Fault(
        "pipes-opened",
        "Pipes, devices and sockets are not opened.",
        "cache/untrusted.py",
        "if kind != stat.S_IFREG:",
        "if kind not in (stat.S_IFREG, stat.S_IFSOCK):",  # a pipe would hang the test
        ("tests/extract/images/test_read.py::test_what_is_no_file_neither_hangs_nor_is_opened",),
    ),
    # The file.
    Fault(
        "mark-of-a-living-program-removed",
        "A file that a program has open for writing is not repaired.",
        "cache/verify.py",
        "if is_marked(path):\n            require_closed(path)",
        "if is_marked(path):\n            pass",
        ("tests/headbench/test_verify.py::test_repair_leaves_a_file_alone_that_is_open",),
    ),
    Fault(
        "not-flushed",
        "Data are on the disk before a file takes its name.",
        "cache/disk.py",
        "_flush(temporary)\n",
        "\n",
        (
            "tests/cache/test_disk.py::"
            "test_data_are_flushed_to_disk_before_the_rename_and_the_folder_after_it",
        ),
    ),
    Fault(
        "written-in-place",
        "A new file takes the old one's place in one rename.",
        "cache/disk.py",
        "yield temporary\n        _flush(temporary)\n        temporary.replace(target)",
        "yield target",
        ("tests/cache/test_disk.py::test_a_failure_leaves_the_old_content_and_no_litter",),
    ),
    Fault(
        "all-rows-unchecked",
        "Every block that is read is checked: all rows.",
        "cache/blocks.py",
        "yield partial(self._check, out[span], span.start)",
        "yield lambda: None",
        (f"{BLOCK}[float32-all rows]",),
    ),
    Fault(
        "some-rows-unchecked",
        "Every block that is read is checked: some rows.",
        "cache/blocks.py",
        "self._check(buffer, first)\n",
        "\n",
        (f"{BLOCK}[float32-some rows]",),
    ),
    Fault(
        "blocks-unchecked",
        "Every block that is read is checked: one by one.",
        "cache/blocks.py",
        "self._check(out, blocks.start)\n",
        "\n",
        (f"{BLOCK}[float32-a block]",),
    ),
    Fault(
        "float16-in-silence",
        "float32 is never replaced by float16 unless it is asked for.",
        "extract/plan.py",
        "if STORES.index(store) < STORES.index(before):",
        "if STORES.index(store) < 0:",
        (
            "tests/extract/test_stage.py::"
            "test_float16_keeps_half_and_never_silently_replaces_float32",
        ),
    ),
    # What is loaded, and what is replaced.
    Fault(
        "probabilities-believed",
        "Probabilities that are loaded are checked.",
        "classify/run.py",
        "                check_proba(proba)\n        return trained",
        "        return trained",
        (
            "tests/classify/test_untrusted.py::"
            "test_probabilities_that_are_none_are_one_clear_error[-0.5]",
        ),
    ),
    Fault(
        "fields-believed",
        "A record without its fields is refused.",
        "classify/checked.py",
        "if missing := hints.keys() - raw.keys():",
        "if missing := hints.keys() - hints.keys():",
        ("tests/classify/test_checked.py::test_a_record_without_a_field_is_refused",),
    ),
    Fault(
        "old-folder-deleted-first",
        "After a kill the old or the new head is there.",
        "cache/disk.py",
        "        target.rename(aside)\n    try:",
        "        shutil.rmtree(target)\n    try:",
        (
            "tests/classify/test_replaced.py::"
            "test_at_every_call_the_old_or_the_new_is_there_and_whole[0-1]",
        ),
    ),
    Fault(
        "end-of-the-grid-is-the-end",
        "A choice at the end of its grid is gone on with.",
        "classify/heads/grid.py",
        "is_end = best in ends and len(tried) > 1 and losses[best] > NOTHING_TO_GAIN",
        "is_end = False",
        (
            "tests/classify/test_grid.py::"
            "test_beyond_the_end_of_a_grid_it_is_gone_on_until_val_no_longer_gains[True-0.0001]",
        ),
    ),
    Fault(
        "plan-is-the-end",
        "Networks train on while val gains.",
        "classify/heads/mlp.py",
        "most = self.max_epochs or n_plans(len(train.X) * plan, self._n_weights()) * plan",
        "most = self.max_epochs or plan",
        ("tests/classify/test_grid.py::test_an_mlp_goes_on_while_val_gains",),
    ),
    # Strangers.
    Fault(
        "strangers-url-opened",
        "A feature file that names a URL does not have it opened by that.",
        "extract/sources/open.py",
        "return python.PythonImages(name=name) if is_from_python else Folder(Path(name), name)",
        "return open_source(name, features.path)",
        (
            "tests/headbench/test_foreign_runs.py::"
            "test_what_a_feature_file_names_is_a_folder_of_this_machine",
        ),
    ),
    Fault(
        "any-chain-opened",
        "No protocol but those of the list is opened.",
        "extract/sources/urls.py",
        "    if wrong:\n",
        "    if not wrong:\n",
        (
            "tests/extract/sources/test_urls.py::"
            "test_a_chain_of_anything_but_archives_is_not_opened[reference::http://host/a.json]",
        ),
    ),
    Fault(
        "lists-name-anything",
        "A list names files below its own folder alone, unless more is allowed.",
        "extract/sources/manifest.py",
        "missing = set(protocols_of(path)) - allowed - set(ARCHIVES)",
        "missing = set()",
        (
            "tests/extract/sources/test_manifest_rows.py::"
            "test_a_list_names_only_what_lies_below_it_unless_the_user_allows_more[../x.png]",
        ),
    ),
    Fault(
        "terminal-obeys-names",
        "Control characters in names are printed escaped.",
        "headbench/terminal.py",
        "tqdm.write(shown, file=stream, end=end)",
        "tqdm.write(text, file=stream, end=end)",
        ("tests/headbench/test_terminal.py::test_nothing_that_a_terminal_obeys_reaches_it",),
    ),
    # Bounded memory.
    Fault(
        "always-in-memory",
        "Where train and val do not fit in memory, they stay in their file.",
        "classify/train_heads.py",
        "is_large = needed > MEMORY_SHARE * free",
        "is_large = needed < 0",
        ("tests/classify/test_train_heads.py::test_a_share_of_the_free_memory_decides",),
    ),
    Fault(
        "all-files-read-ahead",
        "Memory of extraction does not grow with the number of images.",
        "extract/images/stream.py",
        "decoded = map_ahead(decode_next, _read_ahead(files), N_THREADS, N_AHEAD)",
        "decoded = map_ahead(decode_next, _read_ahead(files), N_THREADS, 100 * N_AHEAD)",
        ("tests/extract/images/test_stream.py::test_no_more_files_are_opened_than_may_wait",),
    ),
    # The doctor.
    Fault(
        "best-scaling-on-its-own-images",
        "A scaling is called better on images that did not choose it alone.",
        "classify/doctor/model/measured.py",
        "best = self._best_of(self.conditions(by_batch), chosen_on)",
        "best = self._best_of(self.conditions(by_batch), measured)",
        (f"{DOCTOR}test_measured.py::test_the_best_of_many_guesses_is_a_guess_on_other_images",),
    ),
    Fault(
        "guesses-beat-guesses",
        "A scaling is called better if it is better than chance too.",
        "classify/doctor/model/measured.py",
        "return is_sure and self.is_useful(reached)",
        "return is_sure",
        (f"{DOCTOR}test_measured.py::test_what_is_no_better_than_chance_beats_nothing",),
    ),
    Fault(
        "statistics-of-the-wrong-pixels",
        "Moving statistics tell the scaling of pixels in training.",
        "classify/doctor/model/moving_statistics.py",
        "seen = inputs_of_layer(model, norm, scaling(images[start : start + BATCH]))",
        "seen = inputs_of_layer(model, norm, images[start : start + BATCH].astype(np.float32))",
        (
            f"{DOCTOR}test_moving_statistics.py::"
            "test_the_scaling_of_training_fits_and_others_of_another_range_do_not",
        ),
    ),
    Fault(
        "copy-of-the-first",
        "Each augmented copy of an image is another one.",
        "classify/finetuning/frozen_part.py",
        "augmented_files(files, numbers, resizing, (COPIES_SEED, copy))",
        "augmented_files(files, numbers, resizing, (COPIES_SEED, 1))",
        (
            "tests/classify/finetuning/test_frozen_part.py::"
            "test_augmented_copies_differ_are_kept_and_stay_the_same_in_another_company",
        ),
    ),
    Fault(
        "one-copy-in-every-epoch",
        "Each epoch of fine-tuning takes the next augmented copy.",
        "classify/finetuning/training_inputs.py",
        "self.copies[(seed[1] - 1) % len(self.copies)]",
        "self.copies[0]",
        (
            "tests/classify/finetuning/test_training_inputs.py::"
            "test_each_epoch_reads_the_next_copy_and_begins_again_after_the_last",
        ),
    ),
    # Doubts, and looks at test.
    Fault(
        "typicality-without-the-image",
        "No more false alarms than were asked for, however few images val has.",
        "classify/inspection/out_of_distribution.py",
        "(1 + len(self.val) - n_nearer) / (1 + len(self.val))",
        "(len(self.val) - n_nearer) / len(self.val)",
        (f"{DISTANCES}no_more_images_like_those_of_val_are_reported_than_were_asked_for",),
    ),
    Fault(
        "uncentred-distance",
        "The distance from the classes counts the centred embeddings too.",
        "classify/inspection/out_of_distribution.py",
        "unit(directions - center) @",
        "unit(directions) @",
        (f"{DISTANCES}the_distance_is_the_sum_of_two_cosine_distances_to_the_nearest_class",),
    ),
    Fault(
        "distances-of-other-features",
        "Distances that were kept are used for the same features only.",
        "classify/inspection/out_of_distribution.py",
        'if str(kept.pop("digest")) == digest and',
        'if kept.pop("digest") and',
        (f"{DISTANCES}what_is_damaged_or_of_other_features_is_measured_again",),
    ),
    Fault(
        "plain-quantile",
        "Prediction sets hold the true class as often as asked for, with few images too.",
        "classify/deployment/prediction_sets.py",
        "round((n + 1) * coverage, 9)",
        "round(n * coverage, 9)",
        (
            "tests/classify/deployment/test_prediction_sets.py::"
            "test_sets_hold_the_true_class_as_often_as_was_asked_for",
        ),
    ),
    Fault(
        "calibrated-on-other-settings",
        "Folds of other settings do not calibrate a head.",
        "classify/deployment/prediction_sets.py",
        "**each.settings} == settings",
        "**each.settings} is not None",
        (
            "tests/classify/deployment/test_prediction_sets.py::"
            "test_folds_calibrate_where_they_are_of_the_same_settings",
        ),
    ),
    Fault(
        "uncorrected-interval",
        "The interval for the best of several sets of heads is corrected.",
        "classify/looks_at_test.py",
        "ndtri(SIGNIFICANT / self.n_sets / 2)",
        "ndtri(SIGNIFICANT / 2)",
        (f"{LOOKS}it_holds_for_the_best_of_equal_heads_where_the_plain_one_does_not",),
    ),
    Fault(
        "looks-without-a-lock",
        "Two processes that look at test at once are both counted.",
        "classify/looks_at_test.py",
        "with one_writer(path, WAIT_SECONDS):",
        "if path:",
        (f"{LOOKS}processes_that_look_at_once_are_all_counted",),
    ),
    Fault(
        "every-look-a-choice",
        "The same heads looked at again are no new choice.",
        "classify/looks_at_test.py",
        'if not any(heads.items() <= earlier.items() for earlier in found["sets"])',
        "if heads",
        (f"{LOOKS}the_same_heads_again_or_some_of_them_are_no_new_choice",),
    ),
)
