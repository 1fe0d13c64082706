"""What training shows while it runs."""

from training_support import blobs, compiled

# ---- the progress display ----


def test_log_file_gets_one_line_an_epoch(capsys):
    x, y = blobs(20)
    compiled().fit(x, y, epochs=3, verbose=1, validation_split=0.5)
    err = capsys.readouterr().err
    lines = err.splitlines()
    assert "\r" not in err
    assert len(lines) == 3
    assert all(word in lines[0] for word in ("epoch 1/3", "loss:", "accuracy:", "val_loss:", "images/s"))
    compiled().fit(x, y, verbose=0)
    assert capsys.readouterr().err == ""


def test_terminal_gets_a_bar(monkeypatch):
    import io
    import sys

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    x, y = blobs(20)
    compiled().fit(x, y, epochs=2, batch_size=5, verbose="auto")
    text = terminal.getvalue()
    assert "\r" in text
    assert "epoch 1/2: 100%" in text
    assert "4/4" in text
    assert "images/s" in text
    assert "epoch 2/2: 100%" in text
    assert text.endswith("\n")


def test_a_bar_of_unknown_length_and_one_for_predict(monkeypatch):
    import io
    import sys

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    x, y = blobs(20)
    model = compiled()
    for call in (
        lambda: model.fit(((x[i : i + 5], y[i : i + 5]) for i in range(0, 20, 5)), verbose=1),
        lambda: model.evaluate(x, y, batch_size=5),
        lambda: model.predict(x, batch_size=5),
    ):
        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        call()
        assert "4/4" in terminal.getvalue()
        assert "images/s" in terminal.getvalue()


def test_notebook_counts_as_able_to_show_a_bar(monkeypatch):
    import sys
    import types

    import tqdm.auto
    import tqdm.notebook

    from fastconv.training.progress import resolve_verbose

    assert resolve_verbose("auto") == 2  # pytest captures standard error
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    assert resolve_verbose("auto") == 2  # a kernel without widgets
    monkeypatch.setattr(tqdm.auto, "tqdm", type("tqdm", (tqdm.notebook.tqdm_notebook,), {}))
    assert resolve_verbose("auto") == 1
    assert resolve_verbose(0) == 0
    assert resolve_verbose(2) == 2


def test_steps_run_without_growing_the_model():
    """What a step leaves behind does not pile up."""
    import gc

    x, y = blobs(16)
    model = compiled()
    model.train_on_batch(x, y)
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(20):
        model.train_on_batch(x, y)
    gc.collect()
    assert len(gc.get_objects()) - before < 200
