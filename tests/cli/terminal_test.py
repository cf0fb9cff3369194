#!/usr/bin/env python3
"""What a person at a terminal does: edits a line, presses Ctrl-C, goes back in
the history, leaves.

Usage: terminal_test.py MKVM MAKE_TINY_SNAPSHOT

mkvm runs on a pseudo-terminal of its own. Nothing here depends on how fast it
is: every step waits for what the one before must show, for two minutes at most.
"""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import tempfile
import termios
import time

PATIENCE_S = 120
# So many positions that an answer of the tiny model, which never ends by
# itself, is not over before Ctrl-C.
POSITIONS = 131072


class Terminal:
    """A process on a pseudo-terminal."""

    def __init__(self, args, env):
        self.shown = b""
        self.seen = 0  # of `shown`, by `wait_for`
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(args[0], args, env)

    def read(self, deadline):
        ready, _, _ = select.select([self.fd], [], [],
                                    max(0, deadline - time.monotonic()))
        if not ready:
            raise AssertionError("nothing came after: %r" % self.shown[-300:])
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # the other end is closed
            data = b""
        self.shown += data
        return data

    def wait_for(self, pattern):
        """Until `pattern` is in what was shown since the last match."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            match = re.search(pattern, self.shown[self.seen:], re.DOTALL)
            if match:
                self.seen += match.end()
                return
            if not self.read(deadline):
                raise AssertionError("%r never came; shown: %r" %
                                     (pattern, self.shown[-300:]))

    def wait_for_prompt(self):
        """Until lines are edited: libedit shows its prompt a moment before."""
        deadline = time.monotonic() + PATIENCE_S
        while termios.tcgetattr(self.fd)[3] & termios.ICANON:
            assert time.monotonic() < deadline, self.shown[-300:]
            if select.select([self.fd], [], [], 0.01)[0]:
                self.read(deadline)

    def wait_for_more(self, size):
        """Until `size` more bytes were shown, whatever they are."""
        deadline = time.monotonic() + PATIENCE_S
        wanted = len(self.shown) + size
        while len(self.shown) < wanted:
            assert self.read(deadline), "it ended: %r" % self.shown[-300:]

    def type(self, keys):
        os.write(self.fd, keys)

    def end(self):
        """The exit status, once it has left by itself."""
        deadline = time.monotonic() + PATIENCE_S
        while self.read(deadline):
            pass
        _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return status


def environment(folder):
    env = {k: v for k, v in os.environ.items()
           if not k.startswith(("HF_", "XDG_", "MKVM_MODEL", "LC_"))}
    env.update(HOME=folder, TERM="xterm", LC_ALL="C.UTF-8")
    return env


def answer_and_interrupt(chat):
    """Sends the line as it is, and Ctrl-C once the answer is on its way."""
    chat.type(b"\r")
    chat.wait_for(rb"\r\n")
    chat.wait_for_more(200)
    chat.type(b"\x03")
    chat.wait_for(rb"\(stopped\).* in the cache\]")
    chat.wait_for_prompt()


def test_chat(mkvm, model, folder):
    saved = os.path.join(folder, "saved.json")
    chat = Terminal([mkvm, "chat", "--model", model, "--device", "cpu", "-c",
                     "0"], environment(folder))
    chat.wait_for(rb"Ctrl-D leaves")
    chat.wait_for_prompt()
    # Editing: characters of more than one byte, deleted and typed again.
    chat.type("Hé€".encode() + b"\x7f\x7fello")
    chat.wait_for(rb"ello")
    answer_and_interrupt(chat)
    # Ctrl-C at the prompt clears the line and says how to leave.
    chat.type(b"never sent")
    chat.wait_for(rb"never sent")
    chat.type(b"\x03")
    chat.wait_for(rb"Ctrl-D leaves\)")
    chat.wait_for_prompt()
    # The line before, from the history.
    chat.type(b"\x1b[A")
    chat.wait_for(rb"Hello")
    answer_and_interrupt(chat)
    chat.type(b"/save %s\r" % saved.encode())
    chat.wait_for(rb"\(4 messages in ")
    chat.wait_for_prompt()
    chat.type(b"\x04")
    assert chat.end() == 0
    with open(saved, encoding="utf-8") as file:
        messages = json.load(file)
    assert [m["content"] for m in messages if m["role"] == "user"] == [
        "Hello", "Hello"], messages
    assert all(m["content"] for m in messages), messages
    # A second chat remembers; its lines are nobody else's business.
    history = os.path.join(folder, ".local/state/mkvm/chat_history")
    assert os.stat(history).st_mode & 0o077 == 0
    again = Terminal([mkvm, "chat", "--model", model, "--device", "cpu"],
                     environment(folder))
    again.wait_for(rb"Ctrl-D leaves")
    again.wait_for_prompt()
    again.type(b"\x1b[A\x1b[A")
    again.wait_for(rb"Hello")
    again.type(b"\x03")
    again.wait_for(rb"Ctrl-D leaves\)")
    again.wait_for_prompt()
    again.type(b"/quit\r")
    assert again.end() == 0


def test_generate(mkvm, model, folder):
    """SIGINT ends the text, gives the figures, and ends the process as SIGINT
    does."""
    process = subprocess.Popen(
        [mkvm, "generate", "--model", model, "--device", "cpu", "-p", "Hello",
         "-n", "-1", "-c", "64", "--on_full", "shift"],
        env=environment(folder), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert len(process.stdout.read(200)) == 200
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == -signal.SIGINT, (process.returncode, err)
    assert b"ended: interrupted" in err, err


def main():
    mkvm, make_snapshot = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        model = os.path.join(folder, "model")
        subprocess.run([make_snapshot, model], check=True)
        path = os.path.join(model, "config.json")
        with open(path, encoding="utf-8") as file:
            config = json.load(file)
        config["max_position_embeddings"] = POSITIONS
        with open(path, "w", encoding="utf-8") as file:
            json.dump(config, file)
        test_generate(mkvm, model, folder)
        test_chat(mkvm, model, folder)


if __name__ == "__main__":
    main()
