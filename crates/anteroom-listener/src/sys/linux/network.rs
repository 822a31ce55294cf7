//! What `/proc` tells of the network namespace.
//!
//! Owns the two files. Never changes a setting.

use std::fs;

/// A number below `/proc/sys/net`, of the namespace of the calling thread.
pub(crate) fn network_setting(path: &str) -> Option<u32> {
    fs::read_to_string(format!("/proc/sys/net/{path}")).ok()?.trim().parse().ok()
}

/// How many SYN cookies the namespace has sent since it was made (`TcpExt: SyncookiesSent`).
pub(crate) fn cookies_sent() -> Option<u64> {
    counter(&fs::read_to_string("/proc/thread-self/net/netstat").ok()?, "TcpExt:", "SyncookiesSent")
}

/// The file has two lines for each group: the names, the numbers.
fn counter(text: &str, group: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(group));
    let place = lines.next()?.split_whitespace().position(|column| column == name)?;
    lines.next()?.split_whitespace().nth(place)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_stands_below_its_name_in_its_own_group() {
        let text = "TcpExt: Sent Recv\nTcpExt: 3 4\nIpExt: Recv Sent\nIpExt: 5 6\n";
        assert_eq!(counter(text, "TcpExt:", "Recv"), Some(4));
        assert_eq!(counter(text, "IpExt:", "Recv"), Some(5));
        assert_eq!(counter(text, "TcpExt:", "Lost"), None);
        assert_eq!(counter(text, "MPTcpExt:", "Recv"), None);
        assert_eq!(counter("TcpExt: Sent\n", "TcpExt:", "Sent"), None);
        assert_eq!(counter("TcpExt: Sent\nTcpExt: -\n", "TcpExt:", "Sent"), None);
    }

    #[test]
    fn the_kernel_counts_cookies() {
        assert!(cookies_sent().is_some());
    }
}
