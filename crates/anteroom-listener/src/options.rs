//! The socket options that a server sets, once, on the listener: every accepted socket inherits them.
//!
//! Owns the checks and the order. Never sets anything on an accepted socket.

use std::{io, time::Duration};

use socket2::Socket;

use crate::{Address, sys};

/// When the kernel asks a silent TCP peer whether it is still there (`SO_KEEPALIVE`, tcp(7)).
///
/// Times are rounded up to whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// How long nothing must have come before the first probe (`TCP_KEEPIDLE`); 1 s to 32,767 s.
    pub idle: Duration,
    /// Between two probes (`TCP_KEEPINTVL`); 1 s to 32,767 s.
    pub interval: Duration,
    /// How many unanswered probes end the connection (`TCP_KEEPCNT`); 1 to 127.
    pub probes: u32,
}

/// A minute of silence, then four probes of 15 s: a peer that vanished is known after two minutes.
impl Default for KeepAlive {
    fn default() -> Self {
        Self { idle: Duration::from_secs(60), interval: Duration::from_secs(15), probes: 4 }
    }
}

/// What was chosen; `None` and the default variants leave the kernel's own value.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) reuse_address: ReuseAddress,
    pub(crate) reuse_port: Option<()>,
    pub(crate) ip_versions: Option<IpVersions>,
    pub(crate) small_writes: SmallWrites,
    pub(crate) keep_alive: Option<KeepAlive>,
    pub(crate) user_timeout: Option<Duration>,
    pub(crate) receive_buffer: Option<usize>,
    pub(crate) send_buffer: Option<usize>,
    pub(crate) device: Option<String>,
    pub(crate) free_bind: Option<()>,
    pub(crate) type_of_service: Option<u8>,
    pub(crate) defer_accept: Option<Duration>,
    pub(crate) fast_open: Option<u32>,
    pub(crate) mptcp: Option<()>,
    pub(crate) mode: Option<u32>,
    pub(crate) socket_file: AfterClose,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ReuseAddress {
    #[default]
    Yes,
    No,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IpVersions {
    OnlyV6,
    Both,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum SmallWrites {
    #[default]
    AtOnce,
    Gathered,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum AfterClose {
    #[default]
    Removed,
    Kept,
}

/// An option that does not fit, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Misuse {
    pub(crate) option: &'static str,
    pub(crate) advice: &'static str,
}

/// An option that the kernel did not take.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) option: &'static str,
    pub(crate) error: io::Error,
}

impl Options {
    /// Whether all of them fit the address and their ranges. Called before any socket is made.
    pub(crate) fn check(&self, address: &Address) -> Result<(), Misuse> {
        self.check_family(address)?;
        self.check_times()?;
        self.check_sizes()
    }

    /// Sets what concerns the socket before bind(2). `check` came before.
    pub(crate) fn apply(&self, socket: &Socket, address: &Address) -> Result<(), Refused> {
        if let Some(bytes) = self.receive_buffer {
            set("receive_buffer", socket.set_recv_buffer_size(bytes))?;
        }
        if let Some(bytes) = self.send_buffer {
            set("send_buffer", socket.set_send_buffer_size(bytes))?;
        }
        match address {
            Address::Tcp(address) => self.apply_tcp(socket, address.is_ipv6()),
            Address::Unix(_) => Ok(()),
        }
    }

    fn apply_tcp(&self, socket: &Socket, is_v6: bool) -> Result<(), Refused> {
        if self.reuse_address == ReuseAddress::Yes {
            set("reuse_address", socket.set_reuse_address(true))?;
        }
        if self.reuse_port.is_some() {
            set("reuse_port", socket.set_reuse_port(true))?;
        }
        match self.ip_versions {
            Some(IpVersions::OnlyV6) => set("only_v6", socket.set_only_v6(true))?,
            Some(IpVersions::Both) => set("dual_stack", socket.set_only_v6(false))?,
            None => {}
        }
        if self.small_writes == SmallWrites::AtOnce {
            set("no_delay", socket.set_tcp_nodelay(true))?;
        }
        if let Some(KeepAlive { idle, interval, probes }) = self.keep_alive {
            let (idle, interval) = (whole_seconds(idle), whole_seconds(interval));
            set("keep_alive", sys::options::set_keep_alive(socket, idle, interval, probes))?;
        }
        if let Some(timeout) = self.user_timeout {
            set("user_timeout", sys::options::set_user_timeout(socket, timeout))?;
        }
        if let Some(name) = &self.device {
            set("device", sys::options::set_device(socket, name))?;
        }
        if self.free_bind.is_some() {
            set("free_bind", sys::options::set_free_bind(socket, is_v6))?;
        }
        if let Some(value) = self.type_of_service {
            set("type_of_service", sys::options::set_type_of_service(socket, value, is_v6))?;
        }
        if let Some(time) = self.defer_accept {
            let seconds = i32::try_from(whole_seconds(time).as_secs()).unwrap_or(i32::MAX);
            set("defer_accept", sys::options::set_defer_accept(socket, seconds))?;
        }
        if let Some(length) = self.fast_open {
            let length = i32::try_from(length).unwrap_or(i32::MAX);
            set("fast_open", sys::options::set_fast_open(socket, length))?;
        }
        Ok(())
    }

    fn check_family(&self, address: &Address) -> Result<(), Misuse> {
        let chosen_for_tcp = [
            ("no_reuse_address", self.reuse_address == ReuseAddress::No),
            ("reuse_port", self.reuse_port.is_some()),
            ("nagle", self.small_writes == SmallWrites::Gathered),
            ("keep_alive", self.keep_alive.is_some()),
            ("user_timeout", self.user_timeout.is_some()),
            ("device", self.device.is_some()),
            ("free_bind", self.free_bind.is_some()),
            ("type_of_service", self.type_of_service.is_some()),
            ("defer_accept", self.defer_accept.is_some()),
            ("fast_open", self.fast_open.is_some()),
            ("mptcp", self.mptcp.is_some()),
        ];
        let chosen_for_unix =
            [("mode", self.mode.is_some()), ("keep_socket_file", self.socket_file == AfterClose::Kept)];
        let ip_versions = self.ip_versions.map(|versions| match versions {
            IpVersions::OnlyV6 => "only_v6",
            IpVersions::Both => "dual_stack",
        });
        let is_v6 = address.tcp().is_some_and(|address| address.is_ipv6());
        if let Some(option) = ip_versions.filter(|_| !is_v6) {
            return Err(Misuse {
                option,
                advice: "it is for an IPv6 address, such as [::]:8000; leave it out",
            });
        }
        match address {
            Address::Tcp(_) => none_of(&chosen_for_unix, "it is for a Unix socket with a file; leave it out"),
            Address::Unix(_) => none_of(&chosen_for_tcp, "it is for TCP; leave it out on a Unix socket"),
        }?;
        if address.path().is_none() {
            none_of(&chosen_for_unix, "only a Unix socket with a path has a file; leave it out")?;
        }
        Ok(())
    }

    fn check_times(&self) -> Result<(), Misuse> {
        const LONGEST: Duration = Duration::from_secs(32_767);
        if let Some(KeepAlive { idle, interval, probes }) = self.keep_alive {
            let times = [idle, interval];
            if times.iter().any(|time| time.is_zero() || *time > LONGEST) || !(1..=127).contains(&probes) {
                let advice = "idle and interval can be 1 s to 32,767 s, probes 1 to 127";
                return Err(Misuse { option: "keep_alive", advice });
            }
        }
        let fits = |timeout: Duration| (1..=i32::MAX.unsigned_abs().into()).contains(&timeout.as_millis());
        if self.user_timeout.is_some_and(|timeout| !fits(timeout)) {
            let advice = "it can be 1 ms to 2,147,483,647 ms; leave it out for the kernel's own";
            return Err(Misuse { option: "user_timeout", advice });
        }
        if self.defer_accept.is_some_and(|time| time.is_zero() || time > LONGEST) {
            let advice = "it can be 1 s to 32,767 s; leave it out for no deferring";
            return Err(Misuse { option: "defer_accept", advice });
        }
        Ok(())
    }

    fn check_sizes(&self) -> Result<(), Misuse> {
        for (option, size) in [("receive_buffer", self.receive_buffer), ("send_buffer", self.send_buffer)] {
            if size.is_some_and(|size| size == 0 || i32::try_from(size).is_err()) {
                let advice = "it can be 1 to 2,147,483,647 bytes; leave it out for the kernel's own";
                return Err(Misuse { option, advice });
            }
        }
        // IFNAMSIZ is 16 with the closing NUL.
        if self.device.as_ref().is_some_and(|name| !(1..16).contains(&name.len()) || name.contains('\0')) {
            return Err(Misuse { option: "device", advice: "an interface's name has 1 to 15 bytes" });
        }
        if self.fast_open.is_some_and(|length| length == 0 || i32::try_from(length).is_err()) {
            let advice = "its queue can be 1 to 2,147,483,647; leave it out for no fast open";
            return Err(Misuse { option: "fast_open", advice });
        }
        if self.mode.is_some_and(|mode| mode > 0o777) {
            return Err(Misuse { option: "mode", advice: "it can be 0o000 to 0o777, such as 0o660" });
        }
        Ok(())
    }
}

fn none_of(chosen: &[(&'static str, bool)], advice: &'static str) -> Result<(), Misuse> {
    match chosen.iter().find(|(_, is_chosen)| *is_chosen) {
        Some((option, _)) => Err(Misuse { option, advice }),
        None => Ok(()),
    }
}

fn set(option: &'static str, result: io::Result<()>) -> Result<(), Refused> {
    result.map_err(|error| Refused { option, error })
}

/// Rounded up: a time that is cut to nothing would switch the option off.
fn whole_seconds(time: Duration) -> Duration {
    let part = u64::from(time.subsec_nanos() > 0);
    Duration::from_secs(time.as_secs().saturating_add(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn misused(options: &Options, address: &str) -> Option<&'static str> {
        options.check(&address.parse().unwrap()).err().map(|misuse| misuse.option)
    }

    #[test]
    fn the_defaults_fit_every_address() {
        for address in ["127.0.0.1:0", "[::1]:0", "unix:/x", "unix:@x"] {
            assert_eq!(misused(&Options::default(), address), None);
        }
    }

    #[test]
    fn options_of_the_other_family_are_refused_by_name() {
        let one = Some(Duration::from_secs(1));
        let tcp = [
            ("no_reuse_address", Options { reuse_address: ReuseAddress::No, ..Options::default() }),
            ("reuse_port", Options { reuse_port: Some(()), ..Options::default() }),
            ("nagle", Options { small_writes: SmallWrites::Gathered, ..Options::default() }),
            ("keep_alive", Options { keep_alive: Some(KeepAlive::default()), ..Options::default() }),
            ("user_timeout", Options { user_timeout: one, ..Options::default() }),
            ("device", Options { device: Some("lo".into()), ..Options::default() }),
            ("free_bind", Options { free_bind: Some(()), ..Options::default() }),
            ("type_of_service", Options { type_of_service: Some(0x10), ..Options::default() }),
            ("defer_accept", Options { defer_accept: one, ..Options::default() }),
            ("fast_open", Options { fast_open: Some(1), ..Options::default() }),
            ("mptcp", Options { mptcp: Some(()), ..Options::default() }),
        ];
        for (option, options) in tcp {
            assert_eq!(misused(&options, "unix:/x"), Some(option));
            assert_eq!(misused(&options, "127.0.0.1:0"), None);
        }
        let unix = [
            ("mode", Options { mode: Some(0o600), ..Options::default() }),
            ("keep_socket_file", Options { socket_file: AfterClose::Kept, ..Options::default() }),
        ];
        for (option, options) in unix {
            assert_eq!(misused(&options, "127.0.0.1:0"), Some(option));
            assert_eq!(misused(&options, "unix:@x"), Some(option));
            assert_eq!(misused(&options, "unix:/x"), None);
        }
        for (option, versions) in [("only_v6", IpVersions::OnlyV6), ("dual_stack", IpVersions::Both)] {
            let options = Options { ip_versions: Some(versions), ..Options::default() };
            assert_eq!(misused(&options, "127.0.0.1:0"), Some(option));
            assert_eq!(misused(&options, "unix:/x"), Some(option));
            assert_eq!(misused(&options, "[::1]:0"), None);
        }
    }

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        let keep_alive = |idle, interval, probes| Options {
            keep_alive: Some(KeepAlive {
                idle: Duration::from_secs(idle),
                interval: Duration::from_secs(interval),
                probes,
            }),
            ..Options::default()
        };
        let zero = Some(Duration::ZERO);
        let long = Some(Duration::from_secs(1 << 40));
        let table = [
            ("keep_alive", keep_alive(0, 1, 1)),
            ("keep_alive", keep_alive(1, 32_768, 1)),
            ("keep_alive", keep_alive(1, 1, 0)),
            ("keep_alive", keep_alive(1, 1, 128)),
            ("user_timeout", Options { user_timeout: zero, ..Options::default() }),
            ("user_timeout", Options { user_timeout: long, ..Options::default() }),
            ("defer_accept", Options { defer_accept: zero, ..Options::default() }),
            ("defer_accept", Options { defer_accept: long, ..Options::default() }),
            ("receive_buffer", Options { receive_buffer: Some(0), ..Options::default() }),
            ("send_buffer", Options { send_buffer: Some(usize::MAX), ..Options::default() }),
            ("device", Options { device: Some(String::new()), ..Options::default() }),
            ("device", Options { device: Some("sixteen-byte-dev".into()), ..Options::default() }),
            ("fast_open", Options { fast_open: Some(0), ..Options::default() }),
            ("fast_open", Options { fast_open: Some(u32::MAX), ..Options::default() }),
        ];
        for (option, options) in table {
            assert_eq!(misused(&options, "127.0.0.1:0"), Some(option), "{options:?}");
        }
        let mode = Options { mode: Some(0o1000), ..Options::default() };
        assert_eq!(misused(&mode, "unix:/x"), Some("mode"));
    }

    #[test]
    fn seconds_round_up() {
        assert_eq!(whole_seconds(Duration::from_millis(1)), Duration::from_secs(1));
        assert_eq!(whole_seconds(Duration::from_secs(2)), Duration::from_secs(2));
        assert_eq!(whole_seconds(Duration::from_millis(2_001)), Duration::from_secs(3));
    }
}
