import socket
import subprocess
import sys

import pytest

from project import demo


@pytest.fixture
def taken_port():
    with socket.socket() as taken:
        taken.bind((demo.HOST, 0))
        taken.listen()
        yield taken.getsockname()[1]


def test_busy_port_is_an_error_before_anything_is_loaded(
    taken_port, capsys, monkeypatch
):
    monkeypatch.setattr(demo, "set_up", lambda: pytest.fail("It was set up."))

    assert demo.main(["--port", str(taken_port)]) == 1
    assert capsys.readouterr().err == (
        f"Cannot serve on port {taken_port}: something else is served there; choose "
        "another with --port.\n"
    )


def test_port_that_was_just_left_can_be_used():
    # The side that closes first keeps the port in TIME_WAIT.
    with socket.create_server((demo.HOST, 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection((demo.HOST, port)) as client:
            accepted, _ = server.accept()
            accepted.close()
            assert client.recv(1) == b""

    assert demo.why_unusable(port) is None


@pytest.mark.parametrize("port", ["-1", "65536", "http", ""])
def test_what_is_no_port_is_refused(port, capsys):
    with pytest.raises(SystemExit):
        demo.main(["--port", port])

    assert "argument --port" in capsys.readouterr().err


def test_banner_says_where_and_who_and_how():
    text = demo.banner(8123)

    assert "ws://127.0.0.1:8123/ws" in text
    assert "http://127.0.0.1:8123/admin/" in text
    for word in ("ada", "grace", "admin", sys.executable, "Ctrl-C"):
        assert word in text
    assert demo.snippet("ws://127.0.0.1:8123/ws") in text


def test_empty_database_is_filled_once(atlas, settings, monkeypatch):
    settings.DEBUG = True
    calls = []
    monkeypatch.setattr(
        "django.core.management.call_command",
        lambda name, **options: calls.append((name, options)),
    )
    demo.set_up()

    assert [name for name, _ in calls] == ["migrate", "load_atlas"]
    assert calls[1][1] == {"demo_users": True}


def test_filled_database_is_only_migrated(
    atlas, settings, monkeypatch, make_user, capsys
):
    settings.DEBUG = True
    for name in demo.USERS:
        make_user(name)
    calls = []
    monkeypatch.setattr(
        "django.core.management.call_command", lambda name, **_: calls.append(name)
    )
    demo.set_up()

    assert calls == ["migrate"]
    assert capsys.readouterr().out == ""


def test_users_are_not_missed_without_debug(atlas, settings, monkeypatch):
    settings.DEBUG = False
    calls = []
    monkeypatch.setattr(
        "django.core.management.call_command", lambda name, **_: calls.append(name)
    )
    demo.set_up()

    assert calls == ["migrate"]


def test_help_imports_neither_django_nor_a_client():
    program = (
        "import sys; from project.demo import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'django', 'websockets', 'twisted'} & set(sys.modules)\n"
    )
    child = subprocess.run([sys.executable, "-c", program], check=False)

    assert child.returncode == 0
