"""An interrupt that arrives while a deaf package is imported is late, never lost."""

from __future__ import annotations

import os
import signal

import pytest

from neuroemo.imports import import_quietly, interrupts_held_back


@pytest.fixture(autouse=True)
def listening():
    """SIGINT as in a terminal, however the tests were started; a background job starts with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


DEAF = """
import os, signal
print("greetings")
try:
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(1000):
        pass
except BaseException:
    pass
finished = True
"""


def test_a_swallowed_interrupt_is_raised_after_the_import(tmp_path, monkeypatch, capsys):
    (tmp_path / "deaf_package.py").write_text(DEAF)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        import_quietly("deaf_package")
    assert import_quietly("deaf_package").finished
    assert capsys.readouterr().out == ""


def test_the_handler_is_given_back():
    before = signal.getsignal(signal.SIGINT)
    with interrupts_held_back():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_an_ignored_interrupt_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interrupts_held_back():
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_an_error_inside_is_the_error_outside():
    with pytest.raises(ModuleNotFoundError):
        import_quietly("no_such_package_anywhere")
