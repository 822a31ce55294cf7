//! Questions to the kernel's socket diagnosis (sock_diag(7)), where a socket option does not answer.
//!
//! Owns the netlink conversation. Never needs privilege, never changes anything. The portable half has nobody to ask.

#[cfg(all(target_os = "linux", not(anteroom_portable)))]
mod conversation;
#[cfg(all(target_os = "linux", not(anteroom_portable)))]
mod message;
#[cfg(not(all(target_os = "linux", not(anteroom_portable))))]
mod nobody;
#[cfg(all(target_os = "linux", not(anteroom_portable)))]
mod tcp;
#[cfg(all(target_os = "linux", not(anteroom_portable)))]
mod unix;

#[cfg(not(all(target_os = "linux", not(anteroom_portable))))]
pub(crate) use nobody::{UnixQueue, handshakes, listening_with, queued_by_state};
#[cfg(all(target_os = "linux", not(anteroom_portable)))]
pub(crate) use {
    tcp::{handshakes, listening_with, queued_by_state},
    unix::UnixQueue,
};
