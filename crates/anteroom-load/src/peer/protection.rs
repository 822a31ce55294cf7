//! What Anteroom does for each connection beyond accepting it, one thing at a time.
//!
//! Owns: how each is put on and off in the settings.
//! Never: which are on by default; the settings themselves are asked.

use anteroom::{
    Config, DescriptorBudget, EarlyRefusal, FirstByte, HalfClose, Order, Rate, SilentClose, StallWatch,
};
use std::{fmt, str::FromStr, time::Duration};

/// So many that nobody is refused in a measurement.
const MANY: usize = 1_000_000;
const RATE: Rate = Rate::per_second(100_000_000).burst(1_000_000);

/// One of the protections.
#[derive(Clone, Copy)]
pub struct Protection {
    name: &'static str,
    description: &'static str,
    on: fn(&mut Config),
    off: fn(&mut Config),
}

impl Protection {
    /// Those that have a setting by which they are off.
    pub const ALL: &'static [Self] = &[
        Self {
            name: "stall-watch",
            description: "who holds the workers is noticed and named",
            on: |config| config.stall_watch = Some(StallWatch::default()),
            off: |config| config.stall_watch = None,
        },
        Self {
            name: "dead-on-arrival",
            description: "who has hung up while waiting is not served",
            on: |config| {
                config.half_close = HalfClose::Patience(Duration::from_secs(1));
                config.silent_close = SilentClose::Drop;
            },
            off: |config| {
                config.half_close = HalfClose::Serve;
                config.silent_close = SilentClose::Serve;
            },
        },
        Self {
            name: "share",
            description: "no source takes all places",
            on: |config| config.share.alpha = Some(8),
            off: |config| config.share.alpha = None,
        },
        Self {
            name: "order",
            description: "newest first in overload",
            on: |config| config.order = Order::ADAPTIVE,
            off: |config| config.order = Order::Fifo,
        },
        Self {
            name: "descriptors",
            description: "descriptors are kept for the rest of the process",
            on: |config| config.descriptors = DescriptorBudget::Derived,
            off: |config| config.descriptors = DescriptorBudget::Unlimited,
        },
        Self {
            name: "max-connections",
            description: "a limit of open connections",
            on: |config| config.max_connections = Some(MANY),
            off: |config| config.max_connections = None,
        },
        Self {
            name: "first-byte",
            description: "who is silent is held outside the service",
            on: |config| config.first_byte = Some(FirstByte::within(Duration::from_secs(10))),
            off: |config| config.first_byte = None,
        },
        Self {
            name: "accept-rate",
            description: "connections are handed out at a rate",
            on: |config| config.accept_rate = Some(RATE),
            off: |config| config.accept_rate = None,
        },
        Self {
            name: "early-refusal",
            description: "some are refused before the room is full",
            on: |config| config.refuse_early = Some(EarlyRefusal::between(4_000, 4_096)),
            off: |config| config.refuse_early = None,
        },
        Self {
            name: "source-number",
            description: "a limit of connections for each source",
            on: |config| config.share.max_per_source = Some(MANY),
            off: |config| config.share.max_per_source = None,
        },
        Self {
            name: "source-rate",
            description: "a rate of new connections for each source",
            on: |config| config.share.per_second = Some(RATE),
            off: |config| config.share.per_second = None,
        },
    ];

    /// Its name in commands and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.name
    }

    /// What it protects, in a few words.
    #[must_use]
    pub fn description(self) -> &'static str {
        self.description
    }

    /// Whether a server has it when nothing is set.
    #[must_use]
    pub fn is_default(self) -> bool {
        let mut without = Config::default();
        (self.off)(&mut without);
        without != Config::default()
    }

    /// None of them.
    pub(super) fn all_off(config: &mut Config) {
        Self::ALL.iter().for_each(|protection| (protection.off)(config));
    }

    /// The other way than by default.
    pub(super) fn switch(self, config: &mut Config) {
        if self.is_default() { (self.off)(config) } else { (self.on)(config) }
    }
}

impl PartialEq for Protection {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Protection {}

impl fmt::Debug for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name)
    }
}

impl FromStr for Protection {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.iter().copied().find(|protection| protection.name == name).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|protection| protection.name).collect();
            format!("no protection of that name; there are {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_switch_changes_the_settings_and_every_protection_is_found_by_its_name() {
        for protection in Protection::ALL {
            let mut config = Config::default();
            protection.switch(&mut config);
            assert_ne!(config, Config::default(), "{protection}");
            assert_eq!(protection.name().parse(), Ok(*protection));
        }
    }

    #[test]
    fn a_server_is_watched_and_its_rate_is_not_limited_by_default() {
        let is_default = |name: &str| name.parse::<Protection>().map(Protection::is_default);
        assert_eq!(is_default("stall-watch"), Ok(true));
        assert_eq!(is_default("accept-rate"), Ok(false));
    }
}
