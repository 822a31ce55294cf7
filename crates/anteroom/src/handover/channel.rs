//! The two processes' line: frames with descriptors over a Unix stream socket.
//!
//! Owns one end of it, the deadline of the exchange, and the atomic way of giving up. Never waits beyond the deadline,
//! never reads further than the frame that is asked for, never keeps a descriptor that does not belong to a message.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    io::Errno,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, Shutdown,
    },
};

use super::{
    error::{HandoverError, HandoverErrorKind},
    message::{HEADER, Header, MAX_DESCRIPTORS, Message},
    steps::{self, Side, Step},
};

/// As good as without end, where a deadline cannot be reckoned.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

#[derive(Debug)]
pub(super) struct Channel {
    socket: OwnedFd,
    side: Side,
    deadline: Instant,
    step: Option<Step>,
    ear: Ear,
    #[cfg(test)]
    pub(super) hook: super::tests::Hook,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ear {
    Open,
    Closed,
}

/// A message and the descriptors that came with it, as many as it lists.
pub(super) type Received = (Message, Vec<OwnedFd>);

impl Channel {
    pub(super) fn new(socket: OwnedFd, side: Side, within: Duration) -> Self {
        Self {
            socket,
            side,
            deadline: deadline(within),
            step: None,
            ear: Ear::Open,
            #[cfg(test)]
            hook: super::tests::Hook::default(),
        }
    }

    /// From now on this is the time for all that is left.
    pub(super) fn within(&mut self, within: Duration) {
        self.deadline = deadline(within);
    }

    /// The place in the exchange, for errors and for tests.
    pub(super) fn reached(&mut self, step: Step) {
        self.step = Some(step);
        steps::reached(self.side, step);
        #[cfg(test)]
        self.hook.clone().reached(step, &mut self.socket);
    }

    /// Sends a message with its descriptors, which stay the caller's.
    pub(super) fn send(
        &mut self,
        message: &Message,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), HandoverError> {
        let frame = message.encode().map_err(|error| self.malformed(error.to_string()))?;
        let mut rest = frame.as_slice();
        let mut attached = descriptors;
        while !rest.is_empty() {
            match self.send_now(rest, attached) {
                Ok(sent) => {
                    rest = rest.get(sent..).unwrap_or_default();
                    attached = &[];
                }
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT)?,
                Err(Errno::INTR) => {}
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(self.vanished()),
                Err(error) => return Err(self.system("send to the other process", error)),
            }
        }
        Ok(())
    }

    /// Says a last word if there is room for it, without waiting. Nobody is left to be told if there is not.
    pub(super) fn say(&self, message: &Message) {
        if let Ok(frame) = message.encode() {
            let _ = self.send_now(&frame, &[]);
        }
    }

    /// Waits for the next message.
    pub(super) fn receive(&mut self) -> Result<Received, HandoverError> {
        let mut descriptors = Vec::new();
        let mut header = [0; HEADER];
        self.fill(&mut header, Part::Header, &mut descriptors)?;
        let header = Header::decode(&header).map_err(|error| self.malformed(error.to_string()))?;
        let mut body = vec![0; header.length];
        self.fill(&mut body, Part::Body, &mut descriptors)?;
        let message = Message::decode(header, &body).map_err(|error| self.malformed(error.to_string()))?;
        if descriptors.len() != header.descriptors {
            let (came, said) = (descriptors.len(), header.descriptors);
            return Err(self.malformed(format!("{came} descriptors came with a message that says {said}")));
        }
        Ok((message, descriptors))
    }

    /// As [`receive`](Self::receive), and if nothing has come by the deadline, gives up so that both sides agree on
    /// whether it came: closes the ear, after which the other side's sends fail, and takes what was said before.
    pub(super) fn receive_or_give_up(&mut self) -> Result<Received, HandoverError> {
        match self.receive() {
            Err(error) if matches!(error.kind(), HandoverErrorKind::TimedOut) => {
                let (giving_up, closed) = match self.side {
                    Side::Old => (Step::GivingUp, Step::EarClosed),
                    Side::New => (Step::LosingPatience, Step::DeafEar),
                };
                self.reached(giving_up);
                self.close_ear();
                self.reached(closed);
                // A deaf ear hears an end in any case, which says nothing of the other side.
                self.receive().map_err(|_| error)
            }
            answer => answer,
        }
    }

    /// From now on the other side's sends fail; what was sent before can still be received.
    pub(super) fn close_ear(&mut self) {
        self.ear = Ear::Closed;
        // It fails only where the other side is gone, and then nothing more comes anyway.
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Read);
    }

    /// Whether anything can still be heard.
    pub(super) fn hears(&self) -> bool {
        self.ear == Ear::Open
    }

    /// Waits until the other end is closed by everybody who had it, deadline or not; `false`: it is still open.
    pub(super) fn is_closed_within(&self, patience: Duration) -> bool {
        // Asking for nothing tells of nothing but the end.
        poll(&self.socket, PollFlags::empty(), deadline(patience))
    }

    /// What was awaited and did not come: the other side's refusal, or something else.
    pub(super) fn unexpected(&self, got: Message, awaited: &'static str) -> HandoverError {
        self.error(match got {
            Message::Abort { reason } | Message::Failed { reason } => HandoverErrorKind::Refused { reason },
            got => HandoverErrorKind::OutOfOrder { got: got.name(), awaited },
        })
    }

    pub(super) fn error(&self, kind: HandoverErrorKind) -> HandoverError {
        HandoverError::of(self.side, kind).after_step(self.step)
    }

    pub(super) fn malformed(&self, what: impl Into<String>) -> HandoverError {
        self.error(HandoverErrorKind::Malformed { what: what.into() })
    }

    pub(super) fn timed_out(&self) -> HandoverError {
        self.error(HandoverErrorKind::TimedOut)
    }

    fn vanished(&self) -> HandoverError {
        self.error(HandoverErrorKind::Vanished { status: None })
    }

    fn system(&self, what: &'static str, error: Errno) -> HandoverError {
        self.error(HandoverErrorKind::System { what }).because(io::Error::from(error))
    }

    fn send_now(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<usize, Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(Errno::INVAL);
        }
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        rustix::net::sendmsg(&self.socket, &[IoSlice::new(bytes)], &mut control, flags)
    }

    /// Reads until `bytes` is full.
    fn fill(
        &mut self,
        bytes: &mut [u8],
        part: Part,
        descriptors: &mut Vec<OwnedFd>,
    ) -> Result<(), HandoverError> {
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.receive_now(rest, descriptors) {
                Ok(0) if filled == 0 && part == Part::Header => return Err(self.vanished()),
                Ok(0) => {
                    let (there, whole) = (filled, bytes.len());
                    return Err(self.malformed(format!(
                        "it is cut off after {there} of {whole} bytes of its {}",
                        part.name()
                    )));
                }
                Ok(count) => filled += count,
                Err(Errno::AGAIN) => self.wait(PollFlags::IN)?,
                Err(Errno::INTR) => {}
                Err(Errno::CONNRESET) => return Err(self.vanished()),
                Err(Errno::TOOMANYREFS) => {
                    return Err(self.malformed(
                        "its descriptors were cut off: there are too many, or this process may have no more (ulimit -n)",
                    ));
                }
                Err(error) => return Err(self.system("read from the other process", error)),
            }
        }
        Ok(())
    }

    /// One call. Descriptors that were cut off are `TOOMANYREFS`, which recvmsg(2) itself never gives.
    fn receive_now(&self, bytes: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> Result<usize, Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let received =
            rustix::net::recvmsg(&self.socket, &mut [IoSliceMut::new(bytes)], &mut control, flags)?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(came) = message {
                descriptors.extend(came);
            }
        }
        if received.flags.contains(ReturnFlags::CTRUNC) || descriptors.len() > MAX_DESCRIPTORS {
            return Err(Errno::TOOMANYREFS);
        }
        Ok(received.bytes)
    }

    fn wait(&self, interest: PollFlags) -> Result<(), HandoverError> {
        if poll(&self.socket, interest, self.deadline) { Ok(()) } else { Err(self.timed_out()) }
    }
}

/// What is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Header,
    Body,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Body => "body",
        }
    }
}

/// `within` from now.
pub(super) fn deadline(within: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(within).or_else(|| now.checked_add(FOR_EVER)).unwrap_or(now)
}

/// Waits for the descriptor until `deadline`; `false`: in vain. An error of the call counts as an answer: the next
/// call on the descriptor tells it.
pub(super) fn poll(fd: impl AsFd, interest: PollFlags, deadline: Instant) -> bool {
    let mut one = [PollFd::from_borrowed_fd(fd.as_fd(), interest)];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).ok();
        match rustix::event::poll(&mut one, timeout.as_ref()) {
            Ok(0) if Instant::now() >= deadline => return false,
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) | Err(_) => return true,
        }
    }
}
