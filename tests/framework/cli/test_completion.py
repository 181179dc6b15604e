"""What shells offer for a word that is being typed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
IN_BASH = """
source <(_GENCORE_COMPLETE=bash_source gencore)
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_gencore_completion gencore
printf '%s\\n' "${COMPREPLY[@]}"
"""
IN_FISH = """
_GENCORE_COMPLETE=fish_source gencore | source
complete -C $argv[1]
"""
IN_ZSH = """
compdef() {}
compadd() { print -l -- $completions }
_describe() { print -l -- ${completions_with_descriptions%%:*} }
eval "$(_GENCORE_COMPLETE=zsh_source gencore)"
words=("$@") CURRENT=$#
_gencore_completion
"""
"""Its own functions for completion work on a terminal only."""
OFFERED = [
    (["gencore", "ver"], {"verify"}),
    (["gencore", "list", "--sin"], {"--since"}),
    (["gencore", "demo", "--backend", "linux-s"], {"linux-sigsegv"}),
    (["gencore", "dump", "--collector", "ma"], {"manifest"}),
    (["gencore", "plugins", "show", "descr"], {"descriptor"}),
    (
        ["gencore", "info", "dumps/"],
        {"dumps/a.tar.gz", "dumps/b.tar.gz", "dumps/c.tar.zst", "dumps/core.1"},
    ),
    (["gencore", "verify", "dumps/b"], {"dumps/b.tar.gz"}),
]


@pytest.fixture
def shell(tmp_path):
    """Return a function that runs a shell beside two bundles and a core; it returns the lines."""
    (tmp_path / "dumps").mkdir()
    for name in ("a.tar.gz", "b.tar.gz", "c.tar.zst", "core.1", "notes"):
        (tmp_path / "dumps" / name).touch()

    home = {"HOME": str(tmp_path)}  # fish makes directories in it

    def run(*command, **environ):
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", **home, **environ},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""
        return set(done.stdout.splitlines())

    return run


@pytest.mark.parametrize(("words", "offered"), OFFERED)
def test_bash_offers_what_fits(shell, tool, words, offered):
    """Commands, options, plug-ins and bundles."""
    assert shell(tool("bash"), "-c", IN_BASH, "bash", *words) == offered


@pytest.mark.parametrize(("words", "offered"), OFFERED[::3])
def test_fish_offers_what_fits(shell, tool, words, offered):
    """The same, with what each is."""
    lines = shell(tool("fish"), "-c", IN_FISH, " ".join(words))

    assert {line.partition("\t")[0] for line in lines} == offered


@pytest.mark.parametrize(("words", "offered"), OFFERED[::3])
def test_zsh_offers_what_fits(shell, tool, words, offered):
    """The same, with what each is."""
    assert shell(tool("zsh"), "-f", "-c", IN_ZSH, "zsh", *words) == offered


def test_where_no_bundle_is_any_file_is_offered(shell):
    """The shell does that itself: folders and raw cores are among them."""
    asked = {"COMP_WORDS": "gencore info ", "COMP_CWORD": "2"}

    assert shell(BIN / "gencore", _GENCORE_COMPLETE="bash_complete", **asked) == {"file,"}


def test_armed_processes_are_offered(shell):
    """To `dump`, by their IDs."""
    code = "print('ready', flush=True); input()"
    with subprocess.Popen(
        [BIN / "gencore", "exec", "--", sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as armed:
        armed.stdout.readline()
        asked = {"COMP_WORDS": f"gencore dump {armed.pid}", "COMP_CWORD": "2"}
        lines = shell(BIN / "gencore", _GENCORE_COMPLETE="bash_complete", **asked)
        armed.stdin.close()

    assert f"plain,{armed.pid}" in lines
