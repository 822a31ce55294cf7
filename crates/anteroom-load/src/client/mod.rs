//! Clients: the ones that want an answer, at two kinds of pace, and the ones that leave without.
//!
//! Owns: the client's end of every connection. All of them are non-blocking and share one thread, so that the
//! load costs little beside the server, on machines with few cores too.
//! Never: knows which server it talks to.

mod aborts;
mod closed_loop;
mod crowd;
mod flights;
mod flood;
mod impatient;
mod latency;
mod open_loop;
mod patient;
mod schedule;
mod visit;
mod visitors;

pub use aborts::Aborts;
pub use closed_loop::{ClosedLoop, ClosedRun, Until};
pub use crowd::{Crowd, CrowdTally, Leaver, Leaving};
pub use flights::Exchange;
pub use flood::Flood;
pub use impatient::{ImpatientLoop, loopback_sources};
pub use latency::Latencies;
pub use open_loop::{OpenLoop, OpenRun};
pub use patient::{ask, connect_from};
pub use schedule::Schedule;
pub use visit::{Ending, Hearing, Visit, Visitor, answered_within, tally};
pub use visitors::Visitors;

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::{io, net::SocketAddr, os::fd::OwnedFd, time::Duration};

/// A stream socket that never blocks, for the family of `target`.
fn stream_socket(target: SocketAddr) -> io::Result<OwnedFd> {
    let family = if target.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    Ok(rustix::net::socket_with(family, SocketType::STREAM, flags, None)?)
}

/// From here on closing the socket sends a reset, and leaves no `TIME_WAIT` that would hold the port.
fn reset_on_close(socket: &OwnedFd) -> io::Result<()> {
    Ok(rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO))?)
}

/// Starts the handshake; on loopback it has usually ended when this returns.
fn begin_connect(socket: &OwnedFd, target: SocketAddr) -> io::Result<()> {
    match rustix::net::connect(socket, &target) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
