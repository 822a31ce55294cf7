//! The list of servers. A new one is a row here.
//!
//! Owns: names, descriptions, and the order in which servers are shown.
//! Never: how one serves.

use super::{Protection, Protocol, Serving, actix, bare, http, raw};
use anteroom::{AcceptOn, Config};
use std::io;

/// One server.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) protocol: Protocol,
    pub(super) description: &'static str,
    pub(super) serve: fn(&Serving) -> io::Result<()>,
}

pub(super) static BARE: Row = Row {
    name: "bare",
    protocol: Protocol::Raw,
    description: "one thread, one level-triggered epoll set, `accept4` in batches, served inline; no runtime, no tasks",
    serve: |_| bare::serve(bare::echo),
};

pub(super) static TOKIO: Row = Row {
    name: "tokio",
    protocol: Protocol::Raw,
    description: "plain `tokio::net::TcpListener` loop, multi-thread runtime",
    serve: |serving| raw::tokio_loop(&serving.multi_thread()?),
};

pub(super) static ANTEROOM: Row = Row {
    name: "anteroom",
    protocol: Protocol::Raw,
    description: "`anteroom::Server`, all defaults, multi-thread runtime",
    serve: |serving| raw::anteroom_server(&serving.multi_thread()?, serving.config(Config::default())),
};

pub(super) static ANTEROOM_SHARDED: Row = Row {
    name: "anteroom-sharded",
    protocol: Protocol::Raw,
    description: "`anteroom::Server`, all defaults, a shard for each core",
    serve: |serving| raw::anteroom_sharded(serving, serving.shards()),
};

pub(super) static BARE_HTTP: Row = Row {
    name: "bare-http",
    protocol: Protocol::Http,
    description: "the loop of `bare` with an answer that is ready and a request that is not parsed",
    serve: |_| bare::serve(bare::ready_answer),
};

pub(super) static ANTEROOM_AXUM: Row = Row {
    name: "anteroom-axum",
    protocol: Protocol::Http,
    description: "`axum::serve` on `anteroom_http::bind`, the drop-in",
    serve: |serving| http::anteroom_axum(&serving.multi_thread()?),
};

pub(super) static ANTEROOM_HTTP: Row = Row {
    name: "anteroom-http",
    protocol: Protocol::Http,
    description: "`anteroom::Server` with `anteroom_http::Http` and the same router: deadlines, HTTP/2, draining",
    serve: |serving| http::anteroom_http(&serving.multi_thread()?, serving.config(anteroom_http::config())),
};

pub(super) static ALL: [&Row; 20] = [
    &BARE,
    &TOKIO,
    &Row {
        name: "tokio-spawned",
        protocol: Protocol::Raw,
        description: "the same loop in a spawned task",
        serve: |serving| raw::tokio_loop_spawned(&serving.multi_thread()?),
    },
    &Row {
        name: "tokio-current",
        protocol: Protocol::Raw,
        description: "the same loop, current-thread runtime",
        serve: |serving| raw::tokio_loop(&serving.current_thread()?),
    },
    &Row {
        name: "tokio-reuseport",
        protocol: Protocol::Raw,
        description: "the same loop, a current-thread runtime for each core and an `SO_REUSEPORT` listener for each",
        serve: raw::tokio_reuseport,
    },
    &Row {
        name: "actix",
        protocol: Protocol::Raw,
        description: "`actix-server`: an accept thread, and a current-thread runtime for each core",
        serve: actix::serve,
    },
    &ANTEROOM,
    &ANTEROOM_SHARDED,
    &Row {
        name: "anteroom-shard",
        protocol: Protocol::Raw,
        description: "`anteroom::Server`, all defaults, one shard",
        serve: |serving| raw::anteroom_sharded(serving, 1),
    },
    &Row {
        name: "anteroom-thread",
        protocol: Protocol::Raw,
        description: "`anteroom::Server` that accepts on a thread of its own, always",
        serve: |serving| {
            let mut config = Config::default();
            config.accept_on = AcceptOn::Thread;
            raw::anteroom_server(&serving.multi_thread()?, serving.config(config))
        },
    },
    &Row {
        name: "anteroom-incoming",
        protocol: Protocol::Raw,
        description: "the plain loop over `anteroom::Incoming`, all defaults",
        serve: |serving| raw::anteroom_incoming(&serving.multi_thread()?),
    },
    &Row {
        name: "anteroom-task",
        protocol: Protocol::Raw,
        description: "`anteroom::Server` that accepts in a task of the runtime",
        serve: |serving| {
            let mut config = Config::default();
            config.accept_on = AcceptOn::Task;
            raw::anteroom_server(&serving.multi_thread()?, serving.config(config))
        },
    },
    &Row {
        name: "anteroom-unwatched",
        protocol: Protocol::Raw,
        description: "`anteroom::Server` without its stall watch",
        serve: |serving| {
            let mut config = Config::default();
            config.stall_watch = None;
            raw::anteroom_server(&serving.multi_thread()?, serving.config(config))
        },
    },
    &Row {
        name: "anteroom-unprotected",
        protocol: Protocol::Raw,
        description: "`anteroom::Server` with all its protections off",
        serve: |serving| {
            let mut config = Config::default();
            Protection::all_off(&mut config);
            raw::anteroom_server(&serving.multi_thread()?, config)
        },
    },
    &BARE_HTTP,
    &Row {
        name: "axum",
        protocol: Protocol::Http,
        description: "`axum::serve` on a plain `tokio::net::TcpListener`",
        serve: |serving| http::axum_plain(&serving.multi_thread()?),
    },
    &Row {
        name: "axum-spawned",
        protocol: Protocol::Http,
        description: "the same in a spawned task",
        serve: |serving| http::axum_spawned(&serving.multi_thread()?),
    },
    &ANTEROOM_AXUM,
    &Row {
        name: "anteroom-axum-spawned",
        protocol: Protocol::Http,
        description: "the drop-in in a spawned task",
        serve: |serving| http::anteroom_axum_spawned(&serving.multi_thread()?),
    },
    &ANTEROOM_HTTP,
];
