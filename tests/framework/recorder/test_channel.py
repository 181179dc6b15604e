"""Messages between a target and its recorder: in order, with descriptors, whoever ends first."""

import os
import socket
import sys

import pytest

from gencore._recorder.channel import Channel
from gencore._recorder.control import RecorderProcess

pytestmark = [pytest.mark.recorder, pytest.mark.skipif(sys.platform != "linux", reason="Linux")]


@pytest.fixture
def ends():
    """Return a target's view of this process as its recorder, and the recorder's channel."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = RecorderProcess(Channel(ours.detach()), os.pidfd_open(os.getpid()))
    channel = Channel(theirs.detach())
    yield process, channel
    channel.close()
    process.let_go()


def test_messages_that_arrived_together_are_received_one_by_one(ends):
    """Short ones, and one that is too long for a packet, in the order in which they were sent."""
    process, channel = ends
    sent = ["first", "long " * 20_000, "last"]
    for text in sent:
        channel.send("event", text)

    assert [process.receive(20).value for _ in sent] == sent
    with pytest.raises(TimeoutError):
        process.receive(0)


def test_each_message_keeps_its_descriptors(ends):
    """Those of a long one too, which is itself in a file; none is inherited by programs."""
    process, channel = ends
    pipe = os.pipe()
    channel.send("two", None, pipe)
    channel.send("one", "long " * 20_000, pipe[:1])
    for fd in pipe:
        os.close(fd)

    first, second = process.receive(20), process.receive(20)
    found = [*first.descriptors, *second.descriptors]
    assert [os.fstat(fd).st_ino for fd in found] == [os.fstat(found[0]).st_ino] * 3
    assert not any(os.get_inheritable(fd) for fd in found)
    for fd in found:
        os.close(fd)


def test_what_was_sent_before_the_end_is_received(ends):
    """Also if the other end has left something unread, for which the kernel reports a reset."""
    process, channel = ends
    process.channel.send("cancel")
    channel.send("report", "the last")
    channel.close()

    assert process.receive(20).value == "the last"
    assert process.receive(20) is None
    assert process.receive(20) is None


def test_what_is_no_message_ends_it(ends):
    """A program may write anywhere with its standard output closed."""
    process, channel = ends
    os.write(channel.fileno(), b"Hello, world")

    assert process.receive(20) is None
